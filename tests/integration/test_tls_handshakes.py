"""Which certificate a TLS client gets, and which clients get none: over real sockets."""

import asyncio
import base64
import ssl
import warnings
from collections.abc import Callable

import pytest

from balancer.messages import TlsUpdate
from balancer.spec.part import replaced
from balancer.spec.tls import TlsSpec
from balancer.telemetry.columns import HANDSHAKE_RESULTS, LISTENER_TLS_HANDSHAKES
from tests.fakes.messages import TLS_ROW
from tests.fakes.tls_client import tls_client
from tests.fakes.tls_specs import (
    certificate,
    client_ca,
    client_context,
    tls_spec,
    with_client_certificate,
)
from tests.proxy.real_sockets import RealSockets, on_uvloop, read_head, real_sockets

pytestmark = pytest.mark.integration

ALERTS = "ALERT_PROTOCOL_VERSION|ALERT_HANDSHAKE_FAILURE"
GET = b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

NAMES = tls_spec(
    certificate("shop.example", "www.shop.example"),
    certificate("*.shop.example"),
    certificate("*.other.example", "exact.other.example"),
)


async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers every request without a body."""
    while True:
        await read_head(reader)
        writer.write(OK)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers with the request's head."""
    while True:
        head = await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(head), head))


def results(proxy: RealSockets) -> dict[str, int]:
    """How handshakes ended."""
    cells = proxy.segment.page(1).row(TLS_ROW)[LISTENER_TLS_HANDSHAKES:]
    return {result: count for result, count in zip(HANDSHAKE_RESULTS, cells, strict=False) if count}


def update(proxy: RealSockets, spec: TlsSpec) -> None:
    proxy.proxy.take_tls(TlsUpdate(revision=1, tls=spec))


def unverified() -> ssl.SSLContext:
    """A client that checks the certificate, but not its names."""
    context = client_context()
    context.check_hostname = False
    return context


# --- which certificate


@pytest.mark.parametrize(
    ("name", "found"),
    [
        pytest.param("shop.example", "shop.example", id="exact"),
        pytest.param("WWW.Shop.Example", "shop.example", id="exact, in any case, before a wildcard"),
        pytest.param("cart.shop.example", "*.shop.example", id="wildcard"),
        pytest.param("a.cart.shop.example", "shop.example", id="a wildcard is one label: the default"),
        pytest.param("other.example", "shop.example", id="a wildcard is not its own domain: the default"),
        pytest.param("exact.other.example", "*.other.example", id="one of two names"),
        pytest.param("unknown.test", "shop.example", id="unknown: the default"),
        pytest.param(None, "shop.example", id="no name: the default"),
    ],
)
@on_uvloop
async def test_the_certificate_is_chosen_by_server_name(name: str | None, found: str) -> None:
    async with (
        real_sockets(app, tls=NAMES) as proxy,
        tls_client(proxy.tls_port, name, unverified()) as client,
    ):
        assert found in client.names()
        assert (await client.ask(GET)).endswith(b"ok")
        assert results(proxy) == {"ok": 1}


@on_uvloop
async def test_http_1_1_is_agreed_upon() -> None:
    context = client_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    async with real_sockets(app, tls=NAMES) as proxy:
        async with tls_client(proxy.tls_port, context=context) as client:
            assert client.tls.selected_alpn_protocol() == "http/1.1"
        async with tls_client(proxy.tls_port, "cart.shop.example", context=context) as client:
            assert client.tls.selected_alpn_protocol() == "http/1.1"


# --- versions, ciphers


def only(version: ssl.TLSVersion) -> ssl.SSLContext:
    context = client_context()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of old versions, which are tried here
        context.minimum_version = context.maximum_version = version
    if version < ssl.TLSVersion.TLSv1_2:
        context.set_ciphers("ALL:@SECLEVEL=0")  # else it would not even try
    return context


def with_ciphers(ciphers: str) -> ssl.SSLContext:
    context = only(ssl.TLSVersion.TLSv1_2)
    context.set_ciphers(ciphers)
    return context


@pytest.mark.parametrize(
    ("least", "context", "agreed"),
    [
        pytest.param("1.2", lambda: only(ssl.TLSVersion.TLSv1_2), "TLSv1.2", id="1.2"),
        pytest.param("1.2", lambda: only(ssl.TLSVersion.TLSv1_3), "TLSv1.3", id="1.3"),
        pytest.param("1.2", lambda: only(ssl.TLSVersion.TLSv1_1), "", id="1.1"),
        pytest.param("1.2", lambda: only(ssl.TLSVersion.TLSv1), "", id="1.0"),
        pytest.param("1.3", lambda: only(ssl.TLSVersion.TLSv1_2), "", id="1.2 where 1.3 is the least"),
        pytest.param("1.2", lambda: with_ciphers("ECDHE+AESGCM"), "TLSv1.2", id="AES-GCM"),
        pytest.param("1.2", lambda: with_ciphers("ECDHE+CHACHA20"), "TLSv1.2", id="ChaCha20"),
        pytest.param("1.2", lambda: with_ciphers("kRSA:@SECLEVEL=0"), "", id="no forward secrecy"),
        pytest.param("1.2", lambda: with_ciphers("ECDHE+AES+SHA:@SECLEVEL=0"), "", id="CBC"),
    ],
)
@on_uvloop
async def test_only_modern_versions_and_ciphers_are_agreed_upon(
    least: str, context: Callable[[], ssl.SSLContext], agreed: str
) -> None:
    async with real_sockets(app, tls=tls_spec(min_version=least)) as proxy:
        for name in ("shop.example", "unknown.test"):
            one = context()
            one.check_hostname = False
            if agreed:
                async with tls_client(proxy.tls_port, name, one) as client:
                    assert client.tls.version() == agreed
                    assert client.tls.compression() is None
                    assert (await client.ask(GET)).endswith(b"ok")
            else:
                with pytest.raises(ssl.SSLError, match=ALERTS):
                    async with tls_client(proxy.tls_port, name, one):
                        pass
        assert results(proxy) == ({"ok": 2} if agreed else {"failed": 2})


@on_uvloop
async def test_a_client_that_does_not_trust_the_certificate_is_counted_as_failed() -> None:
    async with real_sockets(app, tls=NAMES) as proxy:
        with pytest.raises(ssl.SSLCertVerificationError):
            async with tls_client(proxy.tls_port, context=ssl.create_default_context()) as client:
                await client.receive()
        await proxy.until(lambda: bool(results(proxy)))
        assert set(results(proxy)) <= {"failed", "left"}


# --- client certificates


@on_uvloop
async def test_a_client_without_the_required_certificate_is_refused() -> None:
    spec = tls_spec(
        certificate("shop.example"), certificate("b.example"), client_ca=client_ca(), client_required=True
    )
    async with real_sockets(echo, tls=spec) as proxy:
        for name in ("shop.example", "b.example"):
            with pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"):
                async with tls_client(proxy.tls_port, name) as client:
                    await client.receive()  # under TLS 1.3 a client learns it only now
        await proxy.until(lambda: sum(results(proxy).values()) == 2)
        assert results(proxy) == {"client_certificate": 2}


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("required", [True, False], ids=["required", "optional"])
@on_uvloop
async def test_the_certificate_of_a_client_is_handed_on(version: ssl.TLSVersion, required: bool) -> None:
    spec = tls_spec(
        certificate("shop.example"), certificate("b.example"), client_ca=client_ca(), client_required=required
    )
    async with real_sockets(echo, tls=spec) as proxy:
        for name in ("shop.example", "b.example"):
            context = only(version)
            der = with_client_certificate(context)
            async with tls_client(proxy.tls_port, name, context) as client:
                head = await client.ask(GET, b"X-Request-ID")
        line = next(line for line in head.split(b"\r\n") if line.startswith(b"Client-Cert:"))
        assert base64.b64decode(line.removeprefix(b"Client-Cert: :").removesuffix(b":")) == der


@on_uvloop
async def test_nobody_can_forge_a_client_certificate() -> None:
    request = b"GET / HTTP/1.1\r\nHost: a\r\nClient-Cert: :AAAA:\r\nClient_Cert: :AAAA:\r\n\r\n"
    async with (
        real_sockets(echo, tls=tls_spec(client_ca=client_ca())) as proxy,
        tls_client(proxy.tls_port) as client,
    ):
        assert b"AAAA" not in await client.ask(request, b"X-Request-ID")


# --- other certificates, while it runs


@on_uvloop
async def test_new_certificates_serve_new_connections_and_old_ones_go_on() -> None:
    async with real_sockets(app, tls=tls_spec()) as proxy, tls_client(proxy.tls_port) as old:
        assert (await old.ask(GET)).endswith(b"ok")
        update(proxy, tls_spec(certificate("shop.example", "new.example")))
        assert (await old.ask(GET)).endswith(b"ok")
        async with tls_client(proxy.tls_port) as new:
            assert new.names() == {"shop.example", "new.example"}
            assert (await new.ask(GET)).endswith(b"ok")
        assert results(proxy) == {"ok": 2}


@on_uvloop
async def test_certificates_that_cannot_be_used_leave_the_old_ones() -> None:
    async with real_sockets(app, tls=tls_spec()) as proxy:
        broken = replaced(certificate("shop.example"), key=certificate("b.example").key)
        with pytest.raises(ssl.SSLError):
            update(proxy, tls_spec(broken))
        async with tls_client(proxy.tls_port) as client:
            assert (await client.ask(GET)).endswith(b"ok")


@on_uvloop
async def test_no_request_fails_while_certificates_change() -> None:
    async with real_sockets(app, tls=tls_spec()) as proxy:
        done = asyncio.Event()

        async def ask_again_and_again() -> int:
            served = 0
            while not done.is_set():
                async with tls_client(proxy.tls_port) as client:
                    for _ in range(3):
                        assert (await client.ask(GET)).endswith(b"ok")
                        served += 1
            return served

        async def change() -> None:
            for number in range(20):
                update(proxy, tls_spec(certificate("shop.example", f"{number}.example")))
                await proxy.sweeps(1)
            done.set()

        *served, _ = await asyncio.gather(*(ask_again_and_again() for _ in range(4)), change())
        assert min(filter(None, served)) >= 3
        assert set(results(proxy)) == {"ok"}


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(
    ("changes", "resumed"),
    [
        pytest.param({}, True, id="the same"),
        pytest.param(
            {"certificates": (certificate("shop.example", "new.example"),)}, True, id="certificates"
        ),
        pytest.param({"client_ca": client_ca()}, False, id="client_ca"),
    ],
)
@on_uvloop
async def test_sessions_are_resumed_unless_the_rules_for_clients_change(
    version: ssl.TLSVersion, changes: dict[str, object], resumed: bool
) -> None:
    context = only(version)
    async with real_sockets(app, tls=tls_spec()) as proxy:
        async with tls_client(proxy.tls_port, context=context) as client:
            await client.ask(GET)
            session = client.tls.session
        values = {"certificates": (certificate("shop.example"),), **changes}
        update(proxy, tls_spec(*values.pop("certificates"), **values))  # type: ignore[misc]  # the table's
        async with tls_client(proxy.tls_port, context=context, begin=False) as client:
            client.tls.session = session
            await client.shake_hands()
            assert client.tls.session_reused is resumed
            assert (await client.ask(GET)).endswith(b"ok")
