"""Tunnels over real sockets: the end of one direction is passed on, and the other continues until its own."""

import asyncio
import hashlib
import select
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TypeAlias

import pytest

from tests.fakes.instance import PATIENCE, running
from tests.proxy.real_sockets import RealSockets, on_uvloop, origin, read_head, real_sockets

pytestmark = pytest.mark.integration

UPGRADE = b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
CLOSE = b"\x88\x02\x03\xe8"
MUCH = 8 << 20  # more than all the buffers on the way
BLOCK = bytes(range(256)) * 256

Reader: TypeAlias = asyncio.StreamReader
Writer: TypeAlias = asyncio.StreamWriter
# One end of a tunnel: its actions once the protocols are switched.
End = Callable[[Reader, Writer], Awaitable[object]]


async def says_goodbye(reader: Reader, writer: Writer) -> bytes:
    """End this direction at once; returns what the other end then sends."""
    writer.write(CLOSE)
    writer.write_eof()
    return await reader.read()


async def has_last_words(reader: Reader, writer: Writer) -> bytes:
    """Read until the other end's FIN, and only then send."""
    heard = await reader.read()
    writer.write(b"last words")
    await writer.drain()
    writer.write(CLOSE)
    return heard


async def sends_much(reader: Reader, writer: Writer) -> bytes:
    """Sends more than all buffers hold, and ends its direction."""
    for _ in range(MUCH // len(BLOCK)):
        writer.write(BLOCK)
        await writer.drain()
    writer.write_eof()
    return await reader.read()


async def reads_slowly_and_answers(reader: Reader, writer: Writer) -> bytes:
    """Read everything, then send how much it was."""
    digest, size = hashlib.sha256(), 0
    while data := await reader.read(100_000):
        digest.update(data)
        size += len(data)
        await asyncio.sleep(0)
    assert digest.digest() == hashlib.sha256(BLOCK * (MUCH // len(BLOCK))).digest()
    writer.write(b"%d bytes" % size)
    return b""


PLAYS: dict[str, tuple[End, End, bytes, bytes]] = {
    "last words": (says_goodbye, has_last_words, b"last words" + CLOSE, CLOSE),
    "back-pressure": (sends_much, reads_slowly_and_answers, b"%d bytes" % MUCH, b""),
}


@pytest.mark.parametrize("play", PLAYS)
@pytest.mark.parametrize("first", ["client", "server"])
async def test_a_half_close_is_passed_on_by_a_whole_balancer(play: str, first: str) -> None:
    one, other, one_hears, other_hears = PLAYS[play]
    server_end, client_end = (other, one) if first == "client" else (one, other)
    heard: asyncio.Future[object] = asyncio.get_running_loop().create_future()

    async def server(reader: Reader, writer: Writer) -> None:
        await read_head(reader)
        writer.write(SWITCH)
        heard.set_result(await server_end(reader, writer))

    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(origin(server))
        balancer = await stack.enter_async_context(
            running(UPSTREAMS=f"127.0.0.1:{port}", HEALTH_CHECK__ENABLED="false")
        )
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection("127.0.0.1", balancer.port)
            writer.write(UPGRADE)
            await read_head(reader)
            client_heard = await client_end(reader, writer)
            writer.close()
            await writer.wait_closed()
            server_heard = await heard
        wanted = {"client": (one_hears, other_hears), "server": (other_hears, one_hears)}
        assert (client_heard, server_heard) == wanted[first]
        (record,) = await balancer.logs_access(1)
        assert record["status"] == 101
        assert "reason" not in record


class Tunnelling:
    """A server that switches protocols. `said` is what it received, `ended` the client's FIN; then it sends
    the test's bytes, and stays."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self.let_go = asyncio.Event()
        self.says: asyncio.Queue[bytes] = asyncio.Queue()
        self.heard = b""

    async def __call__(self, reader: Reader, writer: Writer) -> None:
        await read_head(reader)
        writer.write(SWITCH)
        self.heard = await reader.read()
        self.ended.set()
        while words := await self.says.get():
            writer.write(words)


async def tunnel(harness: RealSockets) -> socket.socket:
    """A client on a raw socket that is not read."""
    client = socket.create_connection(("127.0.0.1", harness.port))
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(client, UPGRADE)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += await loop.sock_recv(client, 1)
    return client


def has_ended(fd: int) -> bool:
    """Whether the peer's FIN has arrived, read or not."""
    poll = select.poll()
    poll.register(fd, select.POLLRDHUP)
    return bool(poll.poll(0))


@on_uvloop
async def test_a_server_that_closes_after_its_client_ends_the_tunnel_at_once() -> None:
    server = Tunnelling()
    async with real_sockets(server) as harness:
        (await tunnel(harness)).close()
        await server.ended.wait()
        assert harness.inflight == [1]
        server.says.put_nowait(b"")  # it closes
        await harness.until(lambda: harness.inflight == [0])
        await harness.until(lambda: harness.proxy.connections == 0)


@on_uvloop
async def test_a_client_that_fully_closed_is_detected_by_the_servers_next_bytes() -> None:
    """Its kernel answers them with a reset; then the server's end is not waited for."""
    server = Tunnelling()
    async with real_sockets(server) as harness:
        (await tunnel(harness)).close()
        await server.ended.wait()
        assert harness.inflight == [1]
        server.says.put_nowait(b"are you there?")
        await harness.until(lambda: harness.inflight == [0])
        await harness.until(lambda: harness.proxy.connections == 0)
        (record,) = harness.records.records
        assert (record["status"], record["reason"]) == (101, None)


@on_uvloop
async def test_data_sent_before_a_client_closes_arrives() -> None:
    server = Tunnelling()
    async with real_sockets(server) as harness:
        client = await tunnel(harness)
        await asyncio.get_running_loop().sock_sendall(client, CLOSE)
        client.close()
        await server.ended.wait()
        assert server.heard == CLOSE
        server.says.put_nowait(b"")


@on_uvloop
async def test_a_client_reset_ends_the_tunnel_at_once() -> None:
    server = Tunnelling()
    async with real_sockets(server) as harness:
        client = await tunnel(harness)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        await harness.until(lambda: harness.inflight == [0])
        await server.ended.wait()
        server.says.put_nowait(b"")


@on_uvloop
async def test_a_silent_server_is_left_after_the_idle_timeout_once_its_client_has_ended() -> None:
    server = Tunnelling()
    async with real_sockets(server, timeouts={"idle": 0.2, "tunnel_idle": 3600.0}) as harness:
        with await tunnel(harness) as client:
            client.shutdown(socket.SHUT_WR)
            await server.ended.wait()
            await harness.until(lambda: harness.inflight == [0])
            assert await asyncio.get_running_loop().sock_recv(client, 1) == b""
        server.says.put_nowait(b"")


@on_uvloop
async def test_a_client_reset_is_noticed_while_the_server_reads_nothing() -> None:
    """It is not read then, and its earlier bytes are unread in front of its end."""
    listening = asyncio.Event()

    async def server(reader: Reader, writer: Writer) -> None:
        await read_head(reader)
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # it is a full transport
        writer.write(SWITCH)
        await listening.wait()

    async with real_sockets(server) as harness:
        client = await tunnel(harness)
        (connection,) = harness.proxy._clients
        while connection.paused_fd < 0:
            try:
                client.send(BLOCK)
            except BlockingIOError:
                await asyncio.sleep(0)
            await asyncio.sleep(0)
        client.shutdown(socket.SHUT_WR)
        await harness.until(lambda: has_ended(connection.paused_fd))
        await harness.sweeps(3)
        assert harness.inflight == [1]  # a FIN alone does not mean that it has left
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        await harness.until(lambda: harness.inflight == [0])
        listening.set()
