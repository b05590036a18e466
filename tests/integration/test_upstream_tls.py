"""TLS to upstreams, by real sockets: whom the balancer trusts, and what differs from plain TCP."""

import asyncio
import socket
import ssl
import struct
from contextlib import AsyncExitStack
from typing import Any

import pytest

from balancer.errors import (
    UPSTREAM_CERTIFICATE,
    UPSTREAM_TLS,
    UPSTREAM_TLS_ALERT,
    UPSTREAM_TLS_BROKEN,
    Failure,
)
from balancer.spec.tls import UpstreamTlsSpec
from balancer.telemetry.columns import (
    CONNECT_FAILURE_REASONS,
    RETRY_COLUMN,
    UPSTREAM_CONNECT_FAILURES,
    UPSTREAM_CONNECTS,
)
from tests.fakes.app_tls import (
    LONG_AGO,
    NAME,
    app_context,
    app_that_alerts,
    app_that_asks,
    context_of,
    own_certificate,
    upstream_tls,
)
from tests.fakes.certificates import made
from tests.proxy.real_sockets import (
    RealSockets,
    black_hole,
    on_uvloop,
    origin,
    read_head,
    real_sockets,
    unused_port,
)

pytestmark = pytest.mark.integration

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"
OK = b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 2\r\n\r\nok"
TLS: dict[str, Any] = {"app_tls": app_context(), "server_name": NAME, "upstream_tls": upstream_tls()}
OTHER = made("other authority").pem
OWN = made("shop_app", names=("shop_app",), begun=3000)
_TLS_FAILURES = UPSTREAM_CONNECT_FAILURES + CONNECT_FAILURE_REASONS.index("tls")


async def hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An app that answers every request without a body."""
    while True:
        head = await read_head(reader)
        if b"POST" in head:
            await reader.readexactly(2)
        writer.write(OK)


def asks_for(name: str) -> ssl.SSLContext:
    """An app that breaks off the handshake unless it is asked for this name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own = app_context()

    def chosen(handshake: ssl.SSLObject, asked: str | None, _: ssl.SSLContext) -> int | None:
        handshake.context = own
        return None if asked == name else ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME

    context.sni_callback = chosen
    return context


async def ask(one: RealSockets, request: bytes = GET) -> tuple[int, bytes]:
    """The status, and the head."""
    reader, writer = await one.connect()
    writer.write(request)
    head = await read_head(reader)
    writer.close()
    return int(head[9:12]), head


def detail_of(one: RealSockets) -> str:
    """What the last attempt of the last error made here says."""
    return one.proxy.take_failures()[-1].attempts[-1].detail


TRUST = {
    "its name": (app_context(), NAME, upstream_tls(), None, ""),
    "a wildcard": (app_context("*.app.test"), "a.app.test", upstream_tls(), None, ""),
    "its address": (app_context("127.0.0.1"), "127.0.0.1", upstream_tls(), None, ""),
    "a certificate of its own, with a name as in compose": (
        context_of(OWN), "shop_app", upstream_tls(ca=OWN.pem), None, ""
    ),
    "asked for by SNI": (asks_for(NAME), NAME, upstream_tls(), None, ""),
    "not verified": (app_context("other.test"), NAME, UpstreamTlsSpec(verify=False), None, ""),
    "not verified, but asked for": (asks_for(NAME), NAME, UpstreamTlsSpec(verify=False), None, ""),
    "another name": (
        app_context("other.test"), NAME, upstream_tls(), UPSTREAM_CERTIFICATE,
        "its certificate is refused: it is for another name",
    ),
    "another address": (
        app_context("127.0.0.2"), "127.0.0.1", upstream_tls(), UPSTREAM_CERTIFICATE,
        "its certificate is refused: it is for another name",
    ),
    "of another authority": (
        app_context(), NAME, upstream_tls(ca=OTHER), UPSTREAM_CERTIFICATE,
        "its certificate is refused: unable to get local issuer certificate",
    ),
    "not of the system's authorities": (
        app_context(), NAME, UpstreamTlsSpec(verify=True), UPSTREAM_CERTIFICATE,
        "its certificate is refused: unable to get local issuer certificate",
    ),
    "expired": (
        app_context(not_after=LONG_AGO), NAME, upstream_tls(), UPSTREAM_CERTIFICATE,
        "its certificate is refused: certificate has expired",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", TRUST)
@on_uvloop
async def test_whom_the_balancer_trusts(case: str) -> None:
    context, name, spec, failure, detail = TRUST[case]
    async with real_sockets(hello, app_tls=context, server_name=name, upstream_tls=spec) as one:
        status, head = await ask(one)
        if failure is None:
            assert status == 200
            return
        refused(head, failure)
        assert detail_of(one) == detail
        assert one.records.records[-1]["reason"] == "upstream_tls"
        (upstream,) = one.proxy.router.routes[0].side.pool.upstreams
        assert upstream.cells[_TLS_FAILURES] >= 1


def refused(head: bytes, failure: Failure) -> None:
    """It is the response to this failure, and names no upstream."""
    assert head.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
    said = f'Proxy-Status: balancer; error={failure.proxy_error}; details="upstream_tls"'
    assert said.encode() in head
    assert NAME.encode() not in head


@pytest.mark.parametrize("kind", ["one that speaks plain HTTP", "one that closes"])
@on_uvloop
async def test_an_app_that_speaks_no_tls(kind: str) -> None:
    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(5)
        if "HTTP" in kind:
            writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    async with real_sockets(app, server_name=NAME, upstream_tls=upstream_tls()) as one:
        _, head = await ask(one)
        refused(head, UPSTREAM_TLS)
        expected = {
            "one that speaks plain HTTP": "it does not speak TLS on this port",
            "one that closes": "it closed the connection in the TLS handshake",
        }
        assert detail_of(one) == expected[kind]


@on_uvloop
async def test_an_upstream_that_refuses_is_no_fault_of_tls() -> None:
    async with real_sockets(unused_port(), server_name=NAME, upstream_tls=upstream_tls()) as one:
        assert (await ask(one))[0] == 502
        assert one.records.records[-1]["reason"] == "connect_refused"


@on_uvloop
async def test_the_connect_timeout_includes_the_handshake() -> None:
    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()  # until the proxy gives up

    tls = upstream_tls()
    async with real_sockets(app, timeouts={"connect": 0.1}, server_name=NAME, upstream_tls=tls) as one:
        assert (await ask(one))[0] == 504
        assert one.records.records[-1]["reason"] == "connect_timeout"


@pytest.mark.parametrize("request_", [GET, POST], ids=["GET", "POST"])
@on_uvloop
async def test_another_upstream_serves_if_one_cannot_prove_who_it_is(request_: bytes) -> None:
    """Nothing was sent to the first one, so a POST goes to the other one too."""
    refusing = app_context("other.test")
    async with real_sockets(hello, app_tls=refusing, server_name=NAME) as other:
        port = other.proxy.router.routes[0].side.pool.upstreams[0].port
        async with real_sockets(port, hello, **TLS) as one:
            assert [(await ask(one, request_))[0] for _ in range(4)] == [200] * 4
            assert {record["reason"] for record in one.records.records} == {None}


@pytest.mark.parametrize("how", ["no SYN-ACK", "no ServerHello"])
@on_uvloop
async def test_another_upstream_is_tried_if_one_is_slow_to_connect(how: str) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with AsyncExitStack() as stack:
        if how == "no SYN-ACK":
            port = stack.enter_context(black_hole())
        else:
            port = await stack.enter_async_context(origin(silent))
        one = await stack.enter_async_context(real_sockets(port, hello, **TLS))
        loop = asyncio.get_running_loop()
        started = loop.time()
        assert [(await ask(one, POST))[0] for _ in range(2)] == [200, 200]
        assert 0.2 < loop.time() - started < 0.9  # 250 ms, and well below the connect timeout


@on_uvloop
async def test_connections_are_kept() -> None:
    async with real_sockets(hello, **TLS) as one:
        reader, writer = await one.connect()
        for _ in range(10):
            writer.write(GET)
            assert await reader.readexactly(len(OK)) == OK
        writer.close()
        (upstream,) = one.proxy.router.routes[0].side.pool.upstreams
        assert upstream.cells[UPSTREAM_CONNECTS] == 1


# --- certificates of the balancer

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.mark.parametrize("version", VERSIONS)
@on_uvloop
async def test_the_balancer_proves_who_it_is(version: ssl.TLSVersion) -> None:
    spec = upstream_tls(certificate=own_certificate())
    with app_that_alerts(app_that_asks(version)) as port:
        async with real_sockets(port, server_name=NAME, upstream_tls=spec) as one:
            assert (await ask(one, POST))[0] == 200


ALERTS = {
    # In TLS 1.3 it comes after the handshake, when the request has been sent.
    "no certificate, TLS 1.3": (app_that_asks(VERSIONS[1]), UPSTREAM_TLS_ALERT, "certificate required"),
    "no certificate, TLS 1.2": (app_that_asks(VERSIONS[0]), UPSTREAM_TLS, "handshake failure"),
    "another name by SNI": (asks_for("other.test"), UPSTREAM_TLS, "unrecognized name"),
}


@pytest.mark.parametrize("case", ALERTS)
@on_uvloop
async def test_the_alert_of_an_app_is_the_reason(case: str) -> None:
    context, failure, alert = ALERTS[case]
    with app_that_alerts(context) as port:
        async with real_sockets(port, server_name=NAME, upstream_tls=upstream_tls()) as one:
            _, head = await ask(one, POST)
            refused(head, failure)
            assert detail_of(one) == f"it refuses the connection (TLS alert: {alert})"
            assert one.records.records[-1]["reason"] == "upstream_tls"


@on_uvloop
async def test_another_upstream_answers_after_an_alert() -> None:
    with app_that_alerts(app_that_asks(ssl.TLSVersion.TLSv1_3)) as port:
        async with real_sockets(port, hello, **TLS) as one:
            assert [(await ask(one))[0] for _ in range(4)] == [200] * 4
            cells = one.proxy.router.routes[0].side.pool.cells
            assert cells[RETRY_COLUMN["upstream_tls"]] > 0


@pytest.mark.parametrize("request_", [GET, POST], ids=["GET", "POST"])
@on_uvloop
async def test_a_broken_record_instead_of_a_response_is_no_alert(request_: bytes) -> None:
    """The request may have been read: a POST does not go to the other upstream."""

    async def broken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        with writer.get_extra_info("socket").dup() as sock:
            sock.send(b"\x17\x03\x03\x00\x20" + bytes(32))
        with pytest.raises(ssl.SSLError, match="ALERT_BAD_RECORD_MAC"):
            await reader.read()

    async with real_sockets(broken, hello, **TLS) as one:
        answers = [await ask(one, request_) for _ in range(2)]
        if request_ == GET:
            assert [status for status, _ in answers] == [200, 200]
            return
        assert sorted(status for status, _ in answers) == [200, 502]
        refused(next(head for status, head in answers if status == 502), UPSTREAM_TLS_BROKEN)
        assert detail_of(one).startswith("TLS failed (")


# --- how responses end

HALF = b"HTTP/1.1 200 OK\r\nDate: x\r\n\r\nbody"
LENGTH = b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 4\r\n\r\nbody"
ENDS = {
    "closed with a close_notify": (HALF, "close_notify", None),
    "a FIN alone": (HALF, "fin", "response_truncated"),
    "a reset": (HALF, "reset", "response_truncated"),
    "a FIN alone after a whole response": (LENGTH, "fin", None),
    "a FIN alone before a response": (b"", "fin", "upstream_closed"),
    "a close_notify before a response": (b"", "close_notify", "upstream_closed"),
}


@pytest.mark.parametrize("case", ENDS)
@on_uvloop
async def test_a_body_that_ends_with_its_connection_is_whole_only_with_a_close_notify(case: str) -> None:
    """RFC 9112 section 9.8."""
    says, end, reason = ENDS[case]

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(says)
        await writer.drain()
        sock = writer.get_extra_info("socket")
        if end == "fin":
            with socket.socket(fileno=sock.dup().detach()) as own:
                own.shutdown(socket.SHUT_WR)
            await reader.read()
        elif end == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    async with real_sockets(app, retry={"max_attempts": 1}, **TLS) as one:
        reader, writer = await one.connect()
        writer.write(b"GET / HTTP/1.0\r\n\r\n")  # so that the response ends with the connection here too
        try:
            seen = await reader.read()
        except ConnectionResetError:
            seen = b""
        writer.close()
        await one.until(lambda: bool(one.records.records))
        assert one.records.records[-1]["reason"] == reason
        if reason is None:
            assert seen.endswith(b"\r\n\r\nbody")


# --- tunnels and bodies

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


@pytest.mark.parametrize("who", ["client", "app"])
@on_uvloop
async def test_a_tunnel_ends_in_both_directions(who: str) -> None:
    over = asyncio.Event()

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(SWITCH)
        while data := await reader.read(100):
            writer.write(data)
            if who == "app":
                break
        over.set()

    async with real_sockets(app, **TLS) as one:
        reader, writer = await one.connect()
        writer.write(UPGRADE)
        assert (await read_head(reader)).startswith(b"HTTP/1.1 101 ")
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        if who == "client":
            writer.close()
        else:
            assert await reader.read() == b""
        await over.wait()
        await one.until(lambda: one.proxy.connections == 0)
        writer.close()


SIZE = 8 << 20


@on_uvloop
async def test_large_bodies_go_both_ways_and_wait_for_slow_readers() -> None:
    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        uploading.set()
        await go_on.wait()
        body = await reader.readexactly(SIZE)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE + body)
        await writer.drain()
        await reader.read()

    async def upload(writer: asyncio.StreamWriter) -> None:
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % SIZE + sent)
        await writer.drain()

    sent = bytes(range(256)) * (SIZE // 256)
    uploading, go_on = asyncio.Event(), asyncio.Event()
    async with real_sockets(app, **TLS) as one:
        reader, writer = await one.connect(receive_buffer=65536)
        task = asyncio.create_task(upload(writer))
        await uploading.wait()
        await one.until(lambda: any(client.exchange.upstream_paused for client in one.proxy._clients))
        (client,) = one.proxy._clients
        assert client.exchange.attempt is not None
        assert client.exchange.attempt.connection.untaken() < 1 << 20
        go_on.set()
        await task
        await read_head(reader)
        assert await reader.readexactly(SIZE) == sent
        writer.close()


@on_uvloop
async def test_an_early_answer_of_an_app_that_resets_reaches_the_client() -> None:
    """It is read and decrypted even if the reset was noticed first, by the next write."""

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
        await writer.drain()
        writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        writer.transport.abort()

    async with real_sockets(app, **TLS) as one:
        for _ in range(10):
            reader, writer = await one.connect()
            writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % SIZE)
            writer.write(bytes(SIZE))
            assert (await read_head(reader)).startswith(b"HTTP/1.1 403 ")
            writer.close()
