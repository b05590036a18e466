"""Connections over real sockets: clients that leave, hanging dials, stale connections, limits, drain."""

import asyncio
import socket
import struct

import pytest

from tests.proxy.real_sockets import black_hole, on_uvloop, read_head, real_sockets, unused_port

pytestmark = pytest.mark.integration

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 2\r\n\r\nok"
BLOCK = bytes(65536)


async def hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An app that immediately answers each request without a body."""
    while True:
        await read_head(reader)
        writer.write(OK)


class Listening:
    """An app that waits in a request, and reports when the proxy has closed it."""

    def __init__(self, say: bytes = b"", read: bool = True) -> None:
        self.asked = asyncio.Event()
        self.let_go = asyncio.Event()
        self._say = say
        self._read = read

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(self._say)
        self.asked.set()
        try:
            if self._read:
                while await reader.read(65536):
                    pass
            else:
                await asyncio.Event().wait()
        except ConnectionError:
            pass
        self.let_go.set()


LEAVES = {
    "closes while it waits": (b"", b"", False),
    "resets while it waits": (b"", b"", True),
    "closes while it sends": (b"", b"x" * 100, False),
    "resets in the response": (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nx", b"", True),
    "closes in the response": (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nx", b"", False),
}


@pytest.mark.parametrize("case", LEAVES)
@on_uvloop
async def test_a_client_that_leaves_cancels_its_request(case: str) -> None:
    say, body, reset = LEAVES[case]
    app = Listening(say)
    async with real_sockets(app) as harness:
        reader, writer = await harness.connect()
        length = b"Content-Length: 9999\r\n" if body else b""
        writer.write(b"PUT / HTTP/1.1\r\nHost: a\r\n" + length + b"\r\n" + body)
        await app.asked.wait()
        if say:
            await read_head(reader)
        if reset:
            writer.transport.abort()
        else:
            writer.close()
        await app.let_go.wait()
        await harness.until(lambda: harness.proxy.connections == 0)
        assert harness.inflight == [0]
        assert [record["status"] for record in harness.records.records] == [499]


@pytest.mark.parametrize("how", ["FIN", "RST"])
@on_uvloop
async def test_a_client_that_leaves_while_unread_is_noticed(how: str) -> None:
    """Its upload is paused, since the app does not read: only POLLRDHUP in the sweep can notice it."""
    app = Listening(read=False)
    async with real_sockets(app) as harness:
        with socket.create_connection(("127.0.0.1", harness.port)) as client:
            loop = asyncio.get_running_loop()
            client.setblocking(False)
            await loop.sock_sendall(client, b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999\r\n\r\n")
            await harness.until(lambda: harness.proxy.connections == 1)
            (connection,) = harness.proxy._clients
            sent = 0
            # No more than is read: behind unread bytes a FIN would not arrive.
            while connection.paused_fd < 0:
                await loop.sock_sendall(client, BLOCK)
                sent += len(BLOCK)
                await harness.until(
                    lambda: connection.exchange.request_bytes == sent or connection.paused_fd >= 0  # noqa: B023
                )
            if how == "FIN":
                client.shutdown(socket.SHUT_WR)
            else:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.close()
            await harness.until(lambda: harness.proxy.connections == 0)
        assert harness.inflight == [0]
        assert [record["status"] for record in harness.records.records] == [499]


@on_uvloop
async def test_a_client_that_leaves_without_reading_its_response() -> None:
    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n")
        while True:
            writer.write(BLOCK)
            await writer.drain()

    async with real_sockets(app) as harness:
        _, writer = await harness.connect(receive_buffer=4096)
        writer.write(GET)
        await harness.until(lambda: any(client.exchange.client.paused for client in harness.proxy._clients))
        writer.transport.abort()
        await harness.until(lambda: harness.proxy.connections == 0)
        assert harness.inflight == [0]


# --- dialling


@pytest.mark.parametrize("method", [b"GET", b"POST"], ids=["GET", "POST"])
@on_uvloop
async def test_connect_race(method: bytes) -> None:
    with black_hole() as port:
        async with real_sockets(port, hello) as harness:
            loop = asyncio.get_running_loop()
            reader, writer = await harness.connect()
            started = loop.time()
            writer.write(method + b" / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
            assert await reader.readexactly(len(OK)) == OK
            assert 0.2 < loop.time() - started < 0.9  # 250 ms, and well below the connect timeout
            assert harness.inflight == [0, 0]
            writer.close()


@on_uvloop
async def test_connect_timeout() -> None:
    with black_hole() as port:
        async with real_sockets(port, timeouts={"connect": 0.1}) as harness:
            reader, writer = await harness.connect()
            writer.write(GET)
            assert (await read_head(reader)).startswith(b"HTTP/1.1 504 ")
            writer.close()


@on_uvloop
async def test_after_a_refusal_another_upstream_serves_and_if_all_refuse_it_is_502() -> None:
    async with real_sockets(unused_port(), hello) as harness:
        reader, writer = await harness.connect()
        for _ in range(4):
            writer.write(GET)
            assert await reader.readexactly(len(OK)) == OK
        writer.close()
    async with real_sockets(unused_port(), unused_port()) as harness:
        reader, writer = await harness.connect()
        writer.write(GET)
        assert (await read_head(reader)).startswith(b"HTTP/1.1 502 ")
        writer.close()


@pytest.mark.parametrize("speaks", [b"", OK], ids=["closes", "speaks"])
@on_uvloop
async def test_an_app_that_closes_or_sends_at_once(speaks: bytes) -> None:
    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(speaks)

    async with real_sockets(app) as harness:
        reader, writer = await harness.connect()
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
        status = (await read_head(reader))[9:12]
        assert status == b"502" or (
            speaks and status == b"200"
        )  # the request may have been sent before it spoke
        writer.close()


# --- reuse


@on_uvloop
async def test_stale_connections_are_retried() -> None:
    """The app closes after each response without announcing it: the proxy may find out only at the next
    request."""
    served = 0

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        await read_head(reader)
        served += 1
        writer.write(OK)

    async with real_sockets(app) as harness:
        reader, writer = await harness.connect()
        for _ in range(200):
            writer.write(GET)
            assert await reader.readexactly(len(OK)) == OK
        assert served == 200
        writer.close()


@on_uvloop
async def test_a_thousand_pipelined_requests_are_answered_in_order() -> None:
    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            target = (await read_head(reader)).split(b" ")[1]
            writer.write(b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: %d\r\n\r\n" % len(target) + target)

    async with real_sockets(app) as harness:
        reader, writer = await harness.connect()
        for number in range(1000):
            writer.write(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number)
        for number in range(1000):
            await read_head(reader)
            target = b"/%d" % number
            assert await reader.readexactly(len(target)) == target
        writer.close()


# --- limits and the end


@on_uvloop
async def test_surplus_clients_can_read_their_refusal() -> None:
    """They have sent a request by then: a reset would destroy the response."""
    async with real_sockets(hello, limits={"max_connections": 1}) as harness:
        _, first = await harness.connect()
        first.write(GET[:9])
        await harness.until(lambda: harness.proxy.connections == 1)
        for _ in range(20):
            reader, writer = await harness.connect()
            writer.write(GET)
            answer = await reader.read()
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert answer.endswith(b"shortly.\n")
            writer.close()
        first.close()


@on_uvloop
async def test_a_client_can_read_the_refusal_of_a_malformed_request() -> None:
    async with real_sockets(hello) as harness:
        reader, writer = await harness.connect()
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" + BLOCK * 4)
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 400 ")
        writer.close()


@on_uvloop
async def test_a_drain_closes_idle_clients_and_lets_running_requests_end() -> None:
    go_on = asyncio.Event()
    asked = asyncio.Event()

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await read_head(reader)
            if b"/slow" in head:
                asked.set()
                await go_on.wait()
            writer.write(OK)

    async with real_sockets(app) as harness:
        idle, idle_writer = await harness.connect()
        idle_writer.write(GET)
        await idle.readexactly(len(OK))
        running, running_writer = await harness.connect()
        running_writer.write(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        await asked.wait()
        harness.proxy.drain()
        assert await idle.read() == b""
        go_on.set()
        answer = await running.read()
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"\r\nConnection: close\r\n" in answer
        assert answer.endswith(b"\r\n\r\nok")
        await harness.until(lambda: harness.proxy.connections == 0)
        idle_writer.close()
        running_writer.close()


@on_uvloop
async def test_the_end_of_the_drain_time_is_a_reset() -> None:
    app = Listening(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nx")
    async with real_sockets(app) as harness:
        reader, writer = await harness.connect()
        writer.write(GET)
        await read_head(reader)
        harness.proxy.drain()
        harness.proxy.abort_all()
        with pytest.raises(ConnectionResetError):
            await reader.read()
        await app.let_go.wait()
        writer.close()


@on_uvloop
async def test_many_clients_at_once_need_few_connections_and_none_is_refused() -> None:
    made = 0

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal made
        made += 1
        await hello(reader, writer)

    async with real_sockets(app) as harness:
        clients = [await harness.connect() for _ in range(600)]
        for _, writer in clients:
            writer.write(GET)
        for reader, writer in clients:
            assert await reader.readexactly(len(OK)) == OK
            writer.close()
        assert made < 600
