"""Clients as people have them, at a TLS listener: what they verify, and what they get."""

import asyncio
import hashlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from tests.fakes.body_app import body_app
from tests.fakes.https import Authority, Https, https
from tests.fakes.tools import run, tool

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

NODE = """
const [url, servername, file] = process.argv.slice(1);
const ca = require("fs").readFileSync(file);
const options = { ca, servername, headers: { Host: servername }, agent: false };
require("https").get(url, options, (response) => {
  response.pipe(process.stdout);
  response.on("close", () => { process.exitCode = response.complete ? 0 : 3; });
}).on("error", (error) => { console.error(error.message); process.exitCode = 4; });
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Https]:
    """A balancer with a certificate for shop.test and its address, and one for any name below it."""
    authority = Authority(tmp_path_factory.mktemp("tls"))
    sites = [authority.site("shop.test", "127.0.0.1"), authority.site("*.shop.test")]
    async with body_app() as app, https(authority, *sites, UPSTREAMS=app.address) as found:
        yield found


async def by_curl(site: Https, name: str, target: str, ca: str) -> tuple[bool, bytes]:
    done = await run(
        tool("curl", "curl"), "--silent", "--show-error", "--cacert", ca, "--resolve",
        f"{name}:{site.port}:127.0.0.1", f"https://{name}:{site.port}{target}",
    )  # fmt: skip
    return done.code == 0, done.stdout


async def by_openssl(site: Https, name: str, target: str, ca: str) -> tuple[bool, bytes]:
    request = f"GET {target} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode()
    done = await run(
        tool("openssl", "openssl"), "s_client", "-connect", f"127.0.0.1:{site.port}", "-servername", name,
        "-CAfile", ca, "-verify_return_error", "-verify_hostname", name, "-quiet", says=request,
    )  # fmt: skip
    return done.code == 0, done.stdout.partition(b"\r\n\r\n")[2]


async def by_python(site: Https, name: str, target: str, ca: str) -> tuple[bool, bytes]:
    context = ssl.create_default_context(cafile=ca)
    try:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", site.port, ssl=context, server_hostname=name
        )
    except ssl.SSLCertVerificationError:
        return False, b""
    writer.write(f"GET {target} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
    async with asyncio.timeout(20):
        answer = await reader.read()
    writer.close()
    return True, answer.partition(b"\r\n\r\n")[2]


async def by_node(site: Https, name: str, target: str, ca: str) -> tuple[bool, bytes]:
    url = f"https://127.0.0.1:{site.port}{target}"
    done = await run(tool("nodejs", "node"), "-e", NODE, url, name, ca)
    return done.code == 0, done.stdout


Client = Callable[[Https, str, str, str], Awaitable[tuple[bool, bytes]]]
CLIENTS = [
    pytest.param(by_curl, id="curl"),
    pytest.param(by_openssl, id="openssl"),
    pytest.param(by_python, id="python"),
    pytest.param(by_node, id="node"),
]


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    "name", ["shop.test", "help.shop.test", "SHOP.test"], ids=["by its name", "by a wildcard", "in capitals"]
)
async def test_a_client_verifies_the_certificate_of_the_name_that_it_asks_for(
    site: Https, client: Client, name: str
) -> None:
    assert await client(site, name, "/5", site.authority.file) == (True, b"xxxxx")


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_client_refuses_the_default_certificate_for_a_name_that_none_has(
    site: Https, client: Client
) -> None:
    assert await client(site, "other.test", "/5", site.authority.file) == (False, b"")


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_client_refuses_an_authority_that_it_does_not_know(
    site: Https, client: Client, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path, "stranger")
    assert await client(site, "shop.test", "/5", stranger.file) == (False, b"")


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_large_response_arrives_whole(site: Https, client: Client) -> None:
    size = 3 << 20
    went_well, body = await client(site, "shop.test", f"/{size}", site.authority.file)
    assert went_well
    assert hashlib.sha256(body).digest() == hashlib.sha256(b"x" * size).digest()


async def test_the_app_learns_that_the_client_used_https(site: Https) -> None:
    _, head = await by_curl(site, "shop.test", "/head", site.authority.file)
    lines = head.decode().lower().split("\r\n")
    assert "x-forwarded-proto: https" in lines
    assert "x-forwarded-port: 443" in lines


async def test_a_client_that_speaks_plain_http_is_told(site: Https) -> None:
    done = await run(tool("curl", "curl"), "--silent", "-i", f"http://127.0.0.1:{site.port}/")
    assert done.stdout.startswith(b"HTTP/1.1 400 ")
    assert b"https" in done.stdout.lower()


async def test_a_client_that_names_no_site_gets_the_first_certificate(site: Https) -> None:
    """A client that connects to an address sends no name (RFC 6066 section 3)."""
    url = f"https://127.0.0.1:{site.port}/5"
    done = await run(tool("curl", "curl"), "--silent", "--cacert", site.authority.file, url)
    assert (done.code, done.stdout) == (0, b"xxxxx")


async def test_curl_reuses_its_connection(site: Https) -> None:
    url = f"https://shop.test:{site.port}/5"
    done = await run(
        tool("curl", "curl"), "--silent", "--cacert", site.authority.file, "--resolve",
        f"shop.test:{site.port}:127.0.0.1", "--write-out", "%{num_connects} ", url, url,
    )  # fmt: skip
    assert done.text == "xxxxx1 xxxxx0 "


async def test_http_1_1_is_what_curl_agrees_on(site: Https) -> None:
    url = f"https://shop.test:{site.port}/5"
    done = await run(
        tool("curl", "curl"), "--silent", "--http2", "--cacert", site.authority.file, "--resolve",
        f"shop.test:{site.port}:127.0.0.1", "--verbose", "--write-out", " by HTTP %{http_version}", url,
    )  # fmt: skip
    assert done.stdout == b"xxxxx by HTTP 1.1"
    assert b"ALPN: server accepted http/1.1" in done.stderr
