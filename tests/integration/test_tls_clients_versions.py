"""Which versions, cipher suites and features of TLS a client gets: ClientHellos made by hand, and openssl."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import trustme

from tests.fakes.body_app import body_app
from tests.fakes.client_hello import (
    CLOSED,
    SSL_3,
    TLS_1_0,
    TLS_1_1,
    TLS_1_2,
    TLS_1_3,
    Reply,
    client_hello,
    said,
)
from tests.fakes.https import Authority, Https, https
from tests.fakes.tools import run, tool

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

NAMES = ("ecdsa.test", "rsa.test")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Https]:
    """A balancer with two certificates, as each kind of key has cipher suites of its own."""
    authority = Authority(tmp_path_factory.mktemp("tls"))
    sites = [authority.site("ecdsa.test"), authority.site("rsa.test", key=trustme.KeyType.RSA)]
    async with body_app() as app, https(authority, *sites, UPSTREAMS=app.address) as found:
        yield found


ACCEPTED = [
    (TLS_1_3, 0x1301, "ecdsa.test", "TLS_AES_128_GCM_SHA256"),
    (TLS_1_3, 0x1302, "ecdsa.test", "TLS_AES_256_GCM_SHA384"),
    (TLS_1_3, 0x1303, "ecdsa.test", "TLS_CHACHA20_POLY1305_SHA256"),
    (TLS_1_3, 0x1302, "rsa.test", "TLS_AES_256_GCM_SHA384"),
    (TLS_1_2, 0xC02B, "ecdsa.test", "ECDHE-ECDSA-AES128-GCM-SHA256"),
    (TLS_1_2, 0xC02C, "ecdsa.test", "ECDHE-ECDSA-AES256-GCM-SHA384"),
    (TLS_1_2, 0xCCA9, "ecdsa.test", "ECDHE-ECDSA-CHACHA20-POLY1305"),
    (TLS_1_2, 0xC02F, "rsa.test", "ECDHE-RSA-AES128-GCM-SHA256"),
    (TLS_1_2, 0xC030, "rsa.test", "ECDHE-RSA-AES256-GCM-SHA384"),
    (TLS_1_2, 0xCCA8, "rsa.test", "ECDHE-RSA-CHACHA20-POLY1305"),
]
# No forward secrecy, no authentication, no encryption, broken ciphers, and those with a weak padding (CBC).
REFUSED = [
    (0x0035, "rsa.test", "AES256-SHA"),
    (0x003C, "rsa.test", "AES128-SHA256"),
    (0x009C, "rsa.test", "AES128-GCM-SHA256"),
    (0x009D, "rsa.test", "AES256-GCM-SHA384"),
    (0x000A, "rsa.test", "DES-CBC3-SHA"),
    (0x0016, "rsa.test", "DHE-RSA-DES-CBC3-SHA"),
    (0xC012, "rsa.test", "ECDHE-RSA-DES-CBC3-SHA"),
    (0xC008, "ecdsa.test", "ECDHE-ECDSA-DES-CBC3-SHA"),
    (0x0004, "rsa.test", "RC4-MD5"),
    (0x0005, "rsa.test", "RC4-SHA"),
    (0xC011, "rsa.test", "ECDHE-RSA-RC4-SHA"),
    (0xC007, "ecdsa.test", "ECDHE-ECDSA-RC4-SHA"),
    (0x0003, "rsa.test", "EXP-RC4-MD5"),
    (0x0014, "rsa.test", "EXP-DHE-RSA-DES-CBC-SHA"),
    (0x0009, "rsa.test", "DES-CBC-SHA"),
    (0x0002, "rsa.test", "NULL-SHA"),
    (0xC010, "rsa.test", "ECDHE-RSA-NULL-SHA"),
    (0xC006, "ecdsa.test", "ECDHE-ECDSA-NULL-SHA"),
    (0x0034, "rsa.test", "ADH-AES128-SHA"),
    (0xC018, "ecdsa.test", "AECDH-AES128-SHA"),
    (0xC009, "ecdsa.test", "ECDHE-ECDSA-AES128-SHA"),
    (0xC013, "rsa.test", "ECDHE-RSA-AES128-SHA"),
    (0xC023, "ecdsa.test", "ECDHE-ECDSA-AES128-SHA256"),
    (0xC028, "rsa.test", "ECDHE-RSA-AES256-SHA384"),
]


def refused(reply: Reply, alert: str) -> bool:
    """Whether a server has refused with this alert."""
    return reply == Reply(alert)


EVERY_REFUSED = [suite for suite, _, _ in REFUSED]


@pytest.mark.parametrize(
    ("version", "suite", "name"),
    [pytest.param(*row[:3], id=f"{row[0]:x} {row[3]} {row[2]}") for row in ACCEPTED],
)
async def test_a_suite_with_forward_secrecy_is_accepted(
    site: Https, version: int, suite: int, name: str
) -> None:
    reply = await said(site.port, client_hello(version, [suite], name))
    assert (reply.alert, reply.version, reply.suite) == ("", version, suite)


@pytest.mark.parametrize(("suite", "name"), [pytest.param(*row[:2], id=row[2]) for row in REFUSED])
async def test_a_suite_without_forward_secrecy_or_with_a_weak_cipher_is_refused(
    site: Https, suite: int, name: str
) -> None:
    assert refused(await said(site.port, client_hello(TLS_1_2, [suite], name)), "handshake_failure")


@pytest.mark.parametrize("name", NAMES)
async def test_all_weak_suites_together_are_refused(site: Https, name: str) -> None:
    reply = await said(site.port, client_hello(TLS_1_2, EVERY_REFUSED, name))
    assert refused(reply, "handshake_failure")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("version", "alert"),
    [
        pytest.param(SSL_3, "handshake_failure", id="SSL 3.0"),  # it has no other alert
        pytest.param(TLS_1_0, "protocol_version", id="TLS 1.0"),
        pytest.param(TLS_1_1, "protocol_version", id="TLS 1.1"),
    ],
)
async def test_an_old_version_is_refused(site: Https, version: int, alert: str, name: str) -> None:
    every = [suite for _, suite, _, _ in ACCEPTED] + EVERY_REFUSED
    assert refused(await said(site.port, client_hello(version, every, name)), alert)


async def test_a_client_that_was_made_to_fall_back_is_refused(site: Https) -> None:
    """RFC 7507: it says 1.2, and that it could do better."""
    hello = client_hello(TLS_1_2, [0xC02B, 0x5600], "ecdsa.test")
    assert refused(await said(site.port, hello), "inappropriate_fallback")


async def test_nothing_is_compressed(site: Https) -> None:
    reply = await said(site.port, client_hello(TLS_1_2, [0xC02B], "ecdsa.test", compressions=b"\1\0"))
    assert (reply.alert, reply.compression) == ("", 0)


async def test_renegotiation_is_signalled_as_secure(site: Https) -> None:
    """RFC 5746; clients refuse a server that does not know it. It is refused all the same, see below."""
    reply = await said(site.port, client_hello(TLS_1_2, [0xC02B], "ecdsa.test"))
    assert dict(reply.extensions)[0xFF01] == b"\0"


async def test_min_version_1_3_refuses_1_2(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.site("ecdsa.test")
    async with (
        body_app() as app,
        https(authority, pair, UPSTREAMS=app.address, TLS__MIN_VERSION="1.3") as newest,
    ):
        old = await said(newest.port, client_hello(TLS_1_2, [0xC02B], "ecdsa.test"))
        new = await said(newest.port, client_hello(TLS_1_3, [0x1301], "ecdsa.test"))
    assert refused(old, "protocol_version")
    assert (new.version, new.suite) == (TLS_1_3, 0x1301)


@pytest.mark.parametrize(
    ("padding", "pieces"),
    [(0, 20), (4_000, 1), (4_000, 3)],
    ids=["small pieces", "large", "large, in pieces"],
)
async def test_a_client_hello_may_come_in_pieces_and_be_large(site: Https, padding: int, pieces: int) -> None:
    """As those with keys that withstand quantum computers are."""
    hello = client_hello(TLS_1_3, [0x1301], "ecdsa.test", padding=padding)
    assert (await said(site.port, hello, pieces)).version == TLS_1_3


async def test_a_hello_of_ssl_2_is_not_answered(site: Https) -> None:
    hello = b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + bytes(37)
    assert await said(site.port, hello) == Reply(CLOSED)


def connect(site: Https, *options: str) -> list[str]:
    """The command of a client of openssl's."""
    return [
        tool("openssl", "openssl"), "s_client", "-connect", f"127.0.0.1:{site.port}",
        "-servername", "ecdsa.test", "-CAfile", site.authority.file, "-verify_return_error", *options,
    ]  # fmt: skip


CLOSING = b"GET /5 HTTP/1.1\r\nHost: ecdsa.test\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize("version", ["1_2", "1_3"])
async def test_openssl_reports_a_sound_session(site: Https, version: str) -> None:
    done = await run(*connect(site, f"-tls{version}", "-ign_eof"), says=CLOSING)
    assert done.code == 0, done.text
    assert "Verify return code: 0 (ok)" in done.text
    assert "Compression: NONE" in done.text
    assert (
        f"Protocol  : TLSv{version.replace('_', '.')}" in done.text
        or f"TLSv{version.replace('_', '.')}" in done.text
    )
    assert re.search(r"Server Temp Key: (X25519|ECDH)", done.text)
    assert "Secure Renegotiation IS supported" in done.text or version == "1_3"


async def test_a_client_cannot_renegotiate(site: Https) -> None:
    """A line with R makes openssl ask for it."""
    done = await run(*connect(site, "-tls1_2"), says=b"R\n" + CLOSING)
    assert "RENEGOTIATING" in done.text
    assert done.code != 0
    assert "no renegotiation" in done.text


async def test_early_data_is_not_taken(site: Https, tmp_path: Path) -> None:
    """It could be replayed (RFC 8446 section 8). The ticket allows none, so openssl keeps it."""
    session, early = tmp_path / "session", tmp_path / "early"
    early.write_bytes(CLOSING)
    first = await run(*connect(site, "-tls1_3", "-ign_eof", "-sess_out", str(session)), says=CLOSING)
    assert "Max Early Data: 0" in first.text
    options = ("-tls1_3", "-ign_eof", "-sess_in", str(session), "-early_data", str(early))
    second = await run(*connect(site, *options), says=CLOSING)
    assert "Early data was not sent" in second.text
    assert "\nReused, TLSv1.3" in second.text
