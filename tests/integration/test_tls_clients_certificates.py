"""Clients with a certificate of their own: who gets in, and what the app is told (RFC 9440)."""

import base64
import re
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.fakes.body_app import body_app
from tests.fakes.https import Authority, Https, https
from tests.fakes.tools import run, tool

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

NODE = """
const fs = require("fs");
const [url, ...files] = process.argv.slice(1);
const [ca, cert, key] = files.map((file) => fs.readFileSync(file));
const options = { ca, cert, key, servername: "shop.test", agent: false };
require("https").get(url, options, (response) => response.pipe(process.stdout))
  .on("error", (error) => { console.error(error.message); process.exitCode = 4; });
"""
Pair = tuple[str, str]
# curl: a failed handshake. With TLS 1.3 the client has finished by then, and fails to receive.
REFUSED = (35, 56)
# The alerts of RFC 8446 section 6.2; in TLS 1.2 there is none for a certificate that is missing.
MISSING = {"--tls-max 1.2": "handshake failure", "--tlsv1.3": "certificate required"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Of the site and of the clients that may come in."""
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def required(authority: Authority) -> AsyncIterator[Https]:
    """A balancer that lets nobody in without a certificate."""
    pair = authority.site("shop.test")
    async with (
        body_app() as app,
        https(authority, pair, UPSTREAMS=app.address, TLS__CLIENT_CA=authority.file) as site,
    ):
        yield site


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def optional(authority: Authority) -> AsyncIterator[Https]:
    """A balancer whose app decides."""
    settings = {"TLS__CLIENT_CA": authority.file, "TLS__CLIENT_CERTIFICATES": "optional"}
    pair = authority.site("shop.test")
    async with body_app() as app, https(authority, pair, UPSTREAMS=app.address, **settings) as site:
        yield site


def curl(site: Https, *options: str) -> list[str]:
    return [
        tool("curl", "curl"), "--silent", "--show-error", "--cacert", site.authority.file, "--resolve",
        f"shop.test:{site.port}:127.0.0.1", *options, f"https://shop.test:{site.port}/head",
    ]  # fmt: skip


def client_certs(head: bytes) -> list[bytes]:
    """The values of Client-Cert that the app has seen."""
    return re.findall(rb"(?im)^client-cert: *([^\r]*)\r$", head)


def der(certificate: str) -> bytes:
    """The first certificate of a file as in Client-Cert."""
    text = Path(certificate).read_text().partition("-----END CERTIFICATE-----")
    return b":" + base64.b64encode(ssl.PEM_cert_to_DER_cert(text[0] + text[1])) + b":"


@pytest.fixture(scope="module")
def ann(authority: Authority) -> Pair:
    return authority.site("ann@shop.test")


async def test_curl_gets_in_with_a_certificate(required: Https, ann: Pair) -> None:
    done = await run(*curl(required, "--cert", ann[0], "--key", ann[1]))
    assert (done.code, client_certs(done.stdout)) == (0, [der(ann[0])]), done.text


@pytest.mark.parametrize("version", MISSING)
async def test_curl_does_not_get_in_without_one(required: Https, version: str) -> None:
    done = await run(*curl(required, *version.split()))
    assert done.code in REFUSED, done.text
    assert f"alert {MISSING[version]}" in done.text
    assert done.stdout == b""


async def test_curl_does_not_get_in_with_one_of_another_authority(required: Https, tmp_path: Path) -> None:
    certificate, key = Authority(tmp_path, "stranger").site("ann@shop.test")
    done = await run(*curl(required, "--cert", certificate, "--key", key))
    assert done.code in REFUSED, done.text
    assert "alert unknown ca" in done.text
    assert done.stdout == b""


async def test_node_gets_in_with_a_certificate(required: Https, ann: Pair) -> None:
    url = f"https://127.0.0.1:{required.port}/head"
    done = await run(tool("nodejs", "node"), "-e", NODE, url, required.authority.file, *ann)
    assert (done.code, client_certs(done.stdout)) == (0, [der(ann[0])]), done.text


async def test_a_certificate_is_optional_if_the_app_decides(optional: Https, ann: Pair) -> None:
    without = await run(*curl(optional))
    with_one = await run(*curl(optional, "--cert", ann[0], "--key", ann[1]))
    assert (without.code, client_certs(without.stdout)) == (0, [])
    assert (with_one.code, client_certs(with_one.stdout)) == (0, [der(ann[0])])


async def test_an_optional_certificate_must_be_of_the_authority(optional: Https, tmp_path: Path) -> None:
    certificate, key = Authority(tmp_path, "stranger").site("ann@shop.test")
    done = await run(*curl(optional, "--cert", certificate, "--key", key))
    assert done.code in REFUSED, done.text
    assert "alert unknown ca" in done.text


@pytest.mark.parametrize("name", ["Client-Cert", "client-cert", "Client-Cert-Chain", "CLIENT-CERT"])
async def test_nobody_can_forge_a_certificate(optional: Https, ann: Pair, name: str) -> None:
    forged = ("--header", f"{name}: {der(ann[0]).decode()}")
    without = await run(*curl(optional, *forged))
    assert b"client-cert" not in without.stdout.lower()
    with_one = await run(*curl(optional, *forged, "--cert", ann[0], "--key", ann[1]))
    assert client_certs(with_one.stdout) == [der(ann[0])]
    assert b"client-cert-chain" not in with_one.stdout.lower()


async def test_a_session_keeps_its_client_certificate(required: Https, ann: Pair, tmp_path: Path) -> None:
    """A resumed handshake sends no certificate: the app is told the same as before."""
    session = str(tmp_path / "session")
    connect = [
        tool("openssl", "openssl"), "s_client", "-connect", f"127.0.0.1:{required.port}", "-servername",
        "shop.test", "-cert", ann[0], "-key", ann[1], "-ign_eof",
    ]  # fmt: skip
    says = b"GET /head HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n"
    first = await run(*connect, "-sess_out", session, says=says)
    second = await run(*connect, "-sess_in", session, says=says)
    assert client_certs(first.stdout) == [der(ann[0])]
    assert client_certs(second.stdout) == [der(ann[0])]
    assert b"\nReused, " in second.stdout
