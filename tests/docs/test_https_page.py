"""Every command and file of docs/https.md does what it says."""

import asyncio
import http.server
import os
import re
import ssl
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509

from balancer.config.loader import load
from balancer.config.settings import Settings
from balancer.policies import registry
from tests.fakes.app_replica import app_replica
from tests.fakes.body_app import body_app
from tests.fakes.https import Authority
from tests.fakes.instance import Balancer, running
from tests.fakes.pebble import free_port, pebble
from tests.fakes.tools import run, tool

pytestmark = pytest.mark.integration

ANY = "127.0.0.1:0"
ACME = "Automatic certificates (ACME)"
_ROOT = Path(__file__).parents[2]
_PAGE = (_ROOT / "docs/https.md").read_text(encoding="utf-8")
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_VARIABLE = re.compile(r"^BALANCER_(\w+)='?([^'\n]*?)'? \\$", re.MULTILINE)
SECTIONS = dict(re.findall(r"^##+ (.*)\n((?:(?!##).*\n)*)", _PAGE, re.MULTILINE))


def blocks(heading: str, language: str) -> list[str]:
    return [text for kind, text in _BLOCK.findall(SECTIONS[heading]) if kind == language]


def starts(heading: str) -> dict[str, str]:
    """The settings with which a section starts a balancer, without BALANCER_."""
    (text,) = (block for block in blocks(heading, "sh") if block.endswith("\nbalancer\n"))
    return dict(_VARIABLE.findall(text))


def commands(heading: str) -> list[tuple[str, list[str]]]:
    """Each command with the lines that it prints; `...` stands for any others."""
    found: list[tuple[str, list[str]]] = []
    for line in "".join(blocks(heading, "console")).splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found


def matches(lines: list[str], shown: list[str]) -> bool:
    parts = [re.escape(line) + "\n" if line != "..." else "(?:.*\n)*" for line in shown]
    return re.fullmatch("".join(parts), "".join(f"{line}\n" for line in lines)) is not None


async def shell(command: str, directory: Path) -> list[str]:
    """What a command prints when it runs in a directory."""
    own = f"{sys.executable} -m balancer "
    command = re.sub(r"(?<![/\w])balancer (?=check|status)", own, command)
    done = await run("bash", "-c", f"cd {directory} && {command}")
    return [line.rstrip() for line in (done.stdout + done.stderr).decode().splitlines()]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which all certificates of the page have been made by its commands."""
    tool("openssl", "openssl")
    directory = tmp_path_factory.mktemp("page")
    for heading in SECTIONS:
        for block in blocks(heading, "sh"):
            if block.startswith("openssl "):
                asyncio.run(shell(f"set -e; {block}", directory))
    return directory


@asynccontextmanager
async def started(heading: str, files: Path, app: str) -> AsyncIterator[tuple[Balancer, int]]:
    """The balancer of a section, and its port for TLS."""
    settings = starts(heading)
    assert settings.pop("UPSTREAMS") == "127.0.0.1:8000"
    for name in ("TLS__CERTIFICATES", "TLS__CLIENT_CA"):
        if name in settings:
            settings[name] = re.sub(r"\b(?=\w+\.(pem|key))", f"{files}/", settings[name])
    async with running(UPSTREAMS=app, TLS__LISTEN=ANY, HEALTH_CHECK__ENABLED="false", **settings) as one:
        yield one, one.tls_port


@pytest.mark.parametrize(
    "heading", ["Serve it", "Several sites", "From HTTP to HTTPS", "Client certificates"]
)
async def test_the_commands_of_a_section_print_what_is_shown(heading: str, files: Path) -> None:
    tool("curl", "curl")
    async with body_app() as app, started(heading, files, app.address) as (balancer, port):
        for command, shown in commands(heading):
            command = command.replace(":8443", f":{port}").replace(":8080", f":{balancer.port}")
            lines = await shell(command, files)
            assert matches(lines, shown), f"{command}\n" + "\n".join(lines)


async def test_the_app_is_reached_by_tls(files: Path) -> None:
    tool("curl", "curl")
    heading = "TLS to your app"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files / "app.pem", files / "app.key")
    settings = starts(heading)
    settings["UPSTREAM_TLS__CA"] = f"{files}/{settings['UPSTREAM_TLS__CA']}"
    (curl, shown), (status, says) = commands(heading)
    async with body_app(context) as app:
        upstreams = settings.pop("UPSTREAMS").replace(":9443", f":{app.port}")
        async with running(UPSTREAMS=upstreams, HEALTH_CHECK__ENABLED="false", **settings) as one:
            assert matches(await shell(curl.replace(":8080", f":{one.port}"), files), shown)
        del settings["UPSTREAM_TLS__SERVER_NAME"]  # the mistake
        async with running(UPSTREAMS=upstreams, **settings) as one:
            await one.says("ejected: its first check failed")
            admin = f"COLUMNS=200 BALANCER_ADMIN_LISTEN=127.0.0.1:{one.admin_port}"
            lines = await shell(f"{admin} {status}", files)
            assert says[1].strip() in " ".join(line.strip() for line in lines)


async def test_a_certificate_comes_by_itself_as_shown(tmp_path: Path) -> None:
    tool("curl", "curl")
    port, tls_port = free_port(), free_port()
    settings = starts(ACME)
    assert (settings["LISTEN"], settings["TLS__LISTEN"]) == ("0.0.0.0:80", "0.0.0.0:443")
    assert settings["TLS__ACME__STORAGE"] == "certificates"
    async with body_app() as app, pebble(tmp_path, port, tls_port) as authority:
        settings |= {
            **authority.settings(settings["TLS__ACME__DOMAINS"], UPSTREAMS=app.address),
            "LISTEN": f"127.0.0.1:{port}",
            "TLS__LISTEN": f"127.0.0.1:{tls_port}",
        }
        async with running(**settings) as balancer:
            await balancer.says("certificate shop.example issued")
            for command, shown in commands(ACME):
                to = f"--connect-to ::127.0.0.1:{port} http://"
                command = command.replace("http://", to)
                command = command.replace(
                    "shop.example:443", f"127.0.0.1:{tls_port} -servername shop.example"
                )
                lines = await shell(command, tmp_path)
                assert matches(lines, shown), f"{command}\n" + "\n".join(lines)


def test_the_compose_file_with_a_volume_is_valid(tmp_path: Path) -> None:
    (text,) = blocks(ACME, "yaml")
    file = yaml.safe_load(text)
    service: dict[str, Any] = file["services"]["balancer"]
    (volume,) = service["volumes"]
    name, _, place = volume.partition(":")
    assert name in file["volumes"]
    # The image makes that directory for its user.
    assert f"install -d -m 700 -o 10001 -g 10001 {place}\n" in (_ROOT / "Dockerfile").read_text()
    environment = {key: value.replace(place, str(tmp_path)) for key, value in service["environment"].items()}
    settings = load(environment, None, registry)
    assert settings.tls.acme.domains == ("shop.example",)
    assert settings.tls.redirect


def settings_of(environment: dict[str, str], directory: Path) -> Settings:
    """Those of a container, whose files are in this directory."""
    certificate, key = map(Path, Authority(directory).site("shop.test"))
    for name, file in (
        ("shop.pem", certificate),
        ("shop.key", key),
        ("tls.crt", certificate),
        ("tls.key", key),
    ):
        (directory / name).write_bytes(file.read_bytes())
    named = {key: value.replace("/run/tls", str(directory)) for key, value in environment.items()}
    return load(named, None, registry)


def test_the_compose_file_is_valid(tmp_path: Path) -> None:
    (text,) = blocks("Serve it", "yaml")
    service: dict[str, Any] = yaml.safe_load(text)["services"]["balancer"]
    settings = settings_of(service["environment"], tmp_path)
    assert settings.tls.is_on
    assert settings.tls.redirect
    assert service["ports"] == ["80:8080", "443:8443"]


def test_the_pod_is_valid(tmp_path: Path) -> None:
    (text,) = blocks("Kubernetes", "yaml")
    pod: dict[str, Any] = yaml.safe_load(text)["spec"]
    (container,) = pod["containers"]
    environment = {one["name"]: one["value"] for one in container["env"]}
    assert settings_of(environment, tmp_path).tls.is_on
    (mount,) = container["volumeMounts"]
    assert [mount["name"]] == [volume["name"] for volume in pod["volumes"]]
    assert "subPath" not in mount


async def test_a_secret_that_is_renewed_is_taken_up(tmp_path: Path) -> None:
    """As the kubelet does it: the files are links into a directory that is a link, which is swapped."""
    authority = Authority(tmp_path)
    mount = tmp_path / "mount"
    for number, name in enumerate(("old.test", "new.test")):
        version = mount / f"..{number}"
        version.mkdir(parents=True)
        for path, target in zip(authority.site("shop.test", name), ("tls.crt", "tls.key"), strict=True):
            os.rename(path, version / target)
    (mount / "..data").symlink_to("..0")
    for target in ("tls.crt", "tls.key"):
        (mount / target).symlink_to(f"..data/{target}")
    pair = f"{mount}/tls.crt:{mount}/tls.key"
    async with (
        app_replica() as app,
        running(UPSTREAMS=app.address, TLS__LISTEN=ANY, TLS__CERTIFICATES=pair) as balancer,
    ):
        assert "old.test" in await names(balancer.tls_port)
        (mount / "..data_tmp").symlink_to("..1")
        (mount / "..data_tmp").rename(mount / "..data")
        async with asyncio.timeout(10.0):
            while "new.test" not in await names(balancer.tls_port):  # noqa: ASYNC110 - no event comes from another process
                await asyncio.sleep(0.1)


async def names(port: int) -> list[str]:
    """The DNS names in the certificate of a new connection."""
    text = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", port))
    extensions = x509.load_pem_x509_certificate(text.encode()).extensions
    found = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return found.get_values_for_type(x509.DNSName)


class Proof(http.server.BaseHTTPRequestHandler):
    """What certbot answers while it renews."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"proof")

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def certbot() -> Iterator[int]:
    """The port of one that renews."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proof) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


async def test_certbot_gets_its_challenges_and_writes_one_file(tmp_path: Path) -> None:
    curl = tool("curl", "curl")
    settings = starts("certbot")
    authority = Authority(tmp_path)
    live, place = tmp_path / "live", tmp_path / "place"
    live.mkdir()
    place.mkdir()
    certificate, key = map(Path, authority.site("shop.example"))
    certificate.rename(live / "fullchain.pem")
    key.rename(live / "privkey.pem")
    (hook,) = blocks("certbot", "bash")
    hook = hook.replace("/srv/tls", str(place)).replace("10001", str(os.getgid()))
    (tmp_path / "hook").write_text(hook, encoding="utf-8")
    done = await run("sh", str(tmp_path / "hook"), RENEWED_LINEAGE=str(live))
    assert (done.code, done.text) == (0, "")
    assert (place / "shop.pem").stat().st_mode & 0o777 == 0o640
    with certbot() as proof:
        settings |= {
            "TLS__LISTEN": ANY,
            "TLS__CERTIFICATES": settings["TLS__CERTIFICATES"].replace("/srv/tls", str(place)),
            "POOLS__CERTBOT__UPSTREAMS": f"127.0.0.1:{proof}",
        }
        async with app_replica() as app, running(**(settings | {"UPSTREAMS": app.address})) as balancer:
            plain = f"http://127.0.0.1:{balancer.port}"
            found = await run(curl, "--silent", f"{plain}/.well-known/acme-challenge/token")
            other = await run(curl, "--silent", "--write-out", "%{redirect_url}", f"{plain}/page")
            served = await names(balancer.tls_port)
    assert found.stdout == b"proof"
    assert other.text.endswith("https://127.0.0.1/page")
    assert served == ["shop.example"]


async def test_the_app_reads_who_the_client_is(files: Path) -> None:
    (text,) = blocks("Client certificates", "python")
    space: dict[str, Any] = {}
    exec(text, space)
    curl = tool("curl", "curl")
    async with body_app() as app, started("Client certificates", files, app.address) as (_, port):
        done = await run(
            curl, "--silent", "--cacert", f"{files}/shop.pem", "--cert", f"{files}/ann.pem", "--key",
            f"{files}/ann.key", f"https://shop.localhost:{port}/head",
        )  # fmt: skip
    (value,) = re.findall(r"(?im)^client-cert: (.*)\r$", done.text)
    assert space["client_name"](value) == "CN=ann"
