"""Connections to the TLS listener before they are clients: floods, strangers, deadlines; by real sockets."""

import asyncio
import socket
import ssl
from contextlib import ExitStack, suppress

import pytest

from balancer.clients.handshakes import Handshakes
from balancer.telemetry.columns import (
    HANDSHAKE_RESULTS,
    LISTENER_CONNECTIONS,
    LISTENER_CONNECTIONS_RECLAIMED,
    LISTENER_TLS_HANDSHAKES,
)
from tests.fakes.messages import TLS_ROW
from tests.fakes.tls_client import TlsClient, tls_client
from tests.fakes.tls_specs import client_context, tls_spec
from tests.proxy.real_sockets import RealSockets, on_uvloop, read_head, real_sockets

pytestmark = pytest.mark.integration

GET = b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
TLS = tls_spec()
FEW = 16


async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers every request."""
    while True:
        await read_head(reader)
        writer.write(OK)


def results(proxy: RealSockets) -> dict[str, int]:
    cells = proxy.segment.page(1).row(TLS_ROW)[LISTENER_TLS_HANDSHAKES:]
    return {result: count for result, count in zip(HANDSHAKE_RESULTS, cells, strict=False) if count}


def cell(proxy: RealSockets, column: int) -> int:
    return proxy.segment.page(1).row(TLS_ROW)[column]


def handshakes(proxy: RealSockets) -> Handshakes:
    assert proxy.proxy.handshakes is not None
    return proxy.proxy.handshakes


async def connection(proxy: RealSockets, stack: ExitStack, data: bytes = b"") -> socket.socket:
    """A connection that sends `data`, and nothing more."""
    sock = stack.enter_context(socket.socket())
    sock.setblocking(False)
    await proxy.loop.sock_connect(sock, ("127.0.0.1", proxy.tls_port))
    await proxy.loop.sock_sendall(sock, data)
    return sock


async def is_served(proxy: RealSockets, context: ssl.SSLContext | None = None) -> bool:
    async with tls_client(proxy.tls_port, context=context) as client:
        return (await client.ask(GET)).endswith(b"ok")


def a_hello() -> bytes:
    with socket.socket() as unused:
        return TlsClient(unused, "shop.example", client_context()).hello()


# --- floods


@pytest.mark.parametrize("flood", ["silent", "half a hello", "a hello, and nothing more"])
@on_uvloop
async def test_a_flood_of_half_open_handshakes_costs_no_good_client(flood: str) -> None:
    hello = a_hello()
    data = {"silent": b"", "half a hello": hello[:100], "a hello, and nothing more": hello}[flood]
    async with real_sockets(app, tls=TLS) as proxy:
        with ExitStack() as stack:
            for _ in range(300):
                await connection(proxy, stack, data)
            for _ in range(5):
                assert await is_served(proxy)
            assert cell(proxy, LISTENER_CONNECTIONS) >= 300
            assert results(proxy) == {"ok": 5}
        await proxy.until(lambda: cell(proxy, LISTENER_CONNECTIONS) == 0)
        assert results(proxy) == {"ok": 5, "left": 300}


@on_uvloop
async def test_handshakes_that_stall_in_all_places_make_room_for_good_clients() -> None:
    hello = a_hello()
    async with real_sockets(app, tls=TLS) as proxy:
        handshakes(proxy)._most = FEW
        with ExitStack() as stack:
            for _ in range(FEW):
                await connection(proxy, stack, hello)
            await proxy.until(lambda: len(handshakes(proxy)._running) == FEW)
            begun = proxy.loop.time()
            assert await is_served(proxy)
            assert proxy.loop.time() - begun < 5
            assert results(proxy)["dropped"] >= 1


@on_uvloop
async def test_where_all_connections_are_taken_silent_ones_make_room() -> None:
    async with real_sockets(app, tls=TLS, limits={"max_connections": FEW}) as proxy:
        with ExitStack() as stack:
            for _ in range(FEW):
                await connection(proxy, stack)
            for _ in range(5):
                assert await is_served(proxy)
            assert cell(proxy, LISTENER_CONNECTIONS_RECLAIMED) >= 1


@on_uvloop
async def test_connections_in_a_handshake_count_for_the_limit_of_a_client() -> None:
    async with real_sockets(app, tls=TLS, limits={"connections_per_client": 3}) as proxy:
        with ExitStack() as stack:
            for _ in range(3):
                await connection(proxy, stack)
            one_more = await connection(proxy, stack)
            assert await proxy.loop.sock_recv(one_more, 1) == b""
            assert results(proxy) == {"dropped": 1}


@on_uvloop
async def test_many_good_clients_at_once_are_all_served() -> None:
    async with real_sockets(app, tls=TLS) as proxy:
        handshakes(proxy)._most = 4
        context = client_context()  # making one takes longer than a handshake
        assert await asyncio.gather(*(is_served(proxy, context) for _ in range(12))) == [True] * 12
        assert results(proxy) == {"ok": 12}


# --- deadlines


@pytest.mark.parametrize("sent", [0, 1, 4, 100, 10_000], ids=lambda size: f"{size} bytes")
@on_uvloop
async def test_one_deadline_holds_from_the_accept_to_the_end_of_the_handshake(sent: int) -> None:
    async with real_sockets(app, tls=TLS, timeouts={"request_head": 0.2}) as proxy:
        with ExitStack() as stack:
            sock = await connection(proxy, stack, a_hello()[:sent])
            with suppress(ConnectionError):  # a close with unread bytes is a reset
                while await proxy.loop.sock_recv(sock, 65536):
                    pass
            assert results(proxy) == {"timeout": 1}


@on_uvloop
async def test_a_hello_in_pieces_is_a_good_hello() -> None:
    async with (
        real_sockets(app, tls=TLS) as proxy,
        tls_client(proxy.tls_port, begin=False) as client,
    ):
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        hello = client.hello()
        for at in range(0, len(hello), 50):
            await proxy.loop.sock_sendall(client.sock, hello[at : at + 50])
            await proxy.sweeps(1)
        await client.shake_hands()
        assert (await client.ask(GET)).endswith(b"ok")


@on_uvloop
async def test_a_client_that_leaves_in_its_handshake_is_no_failure() -> None:
    async with real_sockets(app, tls=TLS) as proxy:
        for size in (0, 1, 100, 10_000):
            with ExitStack() as stack:
                await connection(proxy, stack, a_hello()[:size])
        await proxy.until(lambda: results(proxy) == {"left": 4})
        assert cell(proxy, LISTENER_CONNECTIONS) == 0


# --- strangers


@pytest.mark.parametrize(
    ("request_", "advice"),
    [
        pytest.param(
            b"GET /a?b HTTP/1.1\r\nHost: shop.example:8443\r\n\r\n", b"(https://shop.example/a?b)", id="GET"
        ),
        pytest.param(b"POST / HTTP/1.1\r\nHost: [::1]:8\r\n\r\n", b"(https://[::1]/)", id="POST, IPv6"),
        pytest.param(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", b"use https.\n", id="without a path"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a<b\r\n\r\n", b"use https.\n", id="not a host"),
        pytest.param(b"GET / HTTP/1.1\r\n", b"use https.\n", id="without a host"),
    ],
)
@on_uvloop
async def test_plain_http_is_told_to_use_https(request_: bytes, advice: bytes) -> None:
    async with real_sockets(app, tls=TLS) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.tls_port)
        for at in range(0, len(request_), 5):  # its method too may come in pieces
            writer.write(request_[at : at + 5])
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 400")
        assert advice in answer
        assert b"Strict-Transport-Security" not in answer
        writer.close()
        assert results(proxy) == {"plain_http": 1}
        assert [record["reason"] for record in proxy.records.records] == ["plain_http"]


@on_uvloop
async def test_the_advice_names_the_public_port() -> None:
    async with real_sockets(app, tls=tls_spec(public_port=8443, hsts="max-age=5")) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.tls_port)
        writer.write(GET)
        answer = await reader.read()
        assert b"(https://shop.example:8443/)" in answer
        assert b"Strict-Transport-Security" not in answer  # by plain HTTP it must not be sent
        writer.close()


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", id="SSH"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="HTTP/2 without TLS"),
        pytest.param(b"\x00\x01\x02", id="bytes"),
        pytest.param(b"\x16\x02\x00\x00\x10", id="a record of SSL 2"),
        pytest.param(b"\x16\x03\x01\x00\x00", id="an empty record"),
        pytest.param(b"\x16\x03\x01\xff\xff" + b"x" * 70000, id="a record that is too large"),
    ],
)
@on_uvloop
async def test_anything_else_is_closed(data: bytes) -> None:
    async with real_sockets(app, tls=TLS) as proxy:
        with ExitStack() as stack:
            sock = await connection(proxy, stack)
            with suppress(ConnectionError):  # a close with unread bytes is a reset
                await proxy.loop.sock_sendall(sock, data)
                assert await proxy.loop.sock_recv(sock, 1) == b""
        await proxy.until(lambda: results(proxy) == {"not_tls": 1})


# --- the end of the worker


@on_uvloop
async def test_nothing_is_left_of_handshakes_when_a_worker_ends() -> None:
    hello = a_hello()
    async with real_sockets(app, tls=TLS) as proxy:
        with ExitStack() as stack:
            for data in (b"", hello[:100], hello):
                await connection(proxy, stack, data)
            await proxy.until(lambda: len(handshakes(proxy)._running) == 1)
            await proxy.until(lambda: proxy.proxy.connections == 3)
            proxy.proxy.abort_all()
            await proxy.until(lambda: proxy.proxy.connections == 0)
            assert results(proxy) == {"dropped": 3}
