"""Responses whose connection breaks: a client must neither take a part for the whole nor lose a whole one."""

import asyncio
import os
import signal
import socket
import struct
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from tests.fakes.instance import PATIENCE, Balancer, get, running, until
from tests.proxy.real_sockets import on_uvloop, origin, read_head, real_sockets

pytestmark = pytest.mark.integration

RESET = struct.pack("ii", 1, 0)
BLOCK = bytes(16384)


def reset(writer: asyncio.StreamWriter) -> None:
    """End with a reset, as a machine does whose program has died."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()


@dataclass(frozen=True, slots=True)
class Seen:
    """What a client received, and whether a reset ended it."""

    answer: bytes
    cut: bool


async def ask(port: int, request: bytes, half_seen: asyncio.Event | None = None) -> Seen:
    """Send `request` and read until the end of the connection; `half_seen` is set when `half` has arrived."""
    loop = asyncio.get_running_loop()

    def on_half() -> None:
        if half_seen is not None:
            loop.call_soon_threadsafe(half_seen.set)

    def talk() -> Seen:
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
            client.sendall(request)
            return listen(client, on_half)

    return await asyncio.to_thread(talk)


def listen(client: socket.socket, on_half: Callable[[], None] = lambda: None) -> Seen:
    """On raw sockets, as event loops have been known to take a reset for a FIN."""
    answer = b""
    try:
        while data := client.recv(1 << 20):
            answer += data
            if b"half" in answer[:1000]:
                on_half()
    except ConnectionResetError:
        return Seen(answer, True)
    return Seen(answer, False)


@asynccontextmanager
async def before(port: int) -> AsyncIterator[Balancer]:
    """A balancer in front of the server at this port."""
    async with running(UPSTREAMS=f"127.0.0.1:{port}", HEALTH_CHECK__ENABLED="false") as balancer:
        yield balancer


async def counted_as_truncated(balancer: Balancer) -> None:
    """The failure is counted, logged, and shown where operators look for failures."""
    (record,) = await balancer.logs_access(1)
    assert (record["status"], record["reason"]) == (200, "response_truncated")

    async def it_is() -> bool:
        failures = (await get(balancer.admin_port, "/api/failures")).json()["failures"]
        return [one["reason"] for one in failures] == ["response_truncated"]

    await until(it_is)
    series = 'balancer_local_responses_total{code="502",reason="response_truncated"}'
    await balancer.shows(series, 1)


REQUESTS = {
    "HTTP/1.1": b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "HTTP/1.0": b"GET / HTTP/1.0\r\n\r\n",
}
every_version = pytest.mark.parametrize("version", REQUESTS)


@every_version
@pytest.mark.parametrize("seen_first", [True, False], ids=["then a reset", "with a reset at once"])
async def test_a_reset_does_not_complete_a_response_without_a_length(version: str, seen_first: bool) -> None:
    half_seen = asyncio.Event()

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.0 200 OK\r\n\r\nhalf of it")
        if seen_first:
            await half_seen.wait()
        reset(writer)

    async with origin(app) as port, before(port) as balancer:
        seen = await ask(balancer.port, REQUESTS[version], half_seen)
        assert seen.cut
        if seen_first:
            assert b"half of it" in seen.answer
        assert b"\r\n0\r\n" not in seen.answer
        await counted_as_truncated(balancer)


KILLED = """
import os, socket, sys
listening = socket.create_server(("127.0.0.1", 0))
print(listening.getsockname()[1], flush=True)
connection, _ = listening.accept()
received = b""
while b"\\r\\n\\r\\n" not in received:
    received += connection.recv(1)
connection.recv(1, socket.MSG_PEEK)  # what it leaves unread is here
connection.sendall(b"HTTP/1.1 200 OK\\r\\nConnection: close\\r\\n\\r\\nhalf of it")
sys.stdin.read()
"""


@every_version
async def test_nor_does_the_death_of_an_app_that_left_a_part_of_the_request_unread(version: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    half_seen = asyncio.Event()

    async def kill() -> None:
        await half_seen.wait()
        os.kill(process.pid, signal.SIGKILL)

    try:
        async with before(int(await process.stdout.readline())) as balancer:
            killing = asyncio.create_task(kill())
            post = b"POST / %b\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\n\r\n12345"
            seen = await ask(balancer.port, post % version.encode(), half_seen)
            await killing
            assert seen.cut
            assert b"half of it" in seen.answer
            assert b"\r\n0\r\n" not in seen.answer
            await counted_as_truncated(balancer)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


WHOLE = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf of it",
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nhalf of it\r\n0\r\n\r\n",
}


@every_version
@pytest.mark.parametrize("framing", WHOLE)
async def test_a_reset_after_a_whole_response_does_no_harm(version: str, framing: str) -> None:
    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(WHOLE[framing])
        reset(writer)

    async with origin(app) as port, before(port) as balancer:
        seen = await ask(balancer.port, REQUESTS[version])
        assert not seen.cut
        assert b"half of it" in seen.answer
        (record,) = await balancer.logs_access(1)
        assert record["status"] == 200
        assert "reason" not in record


@pytest.mark.parametrize("end", ["closed", "reset"])
@on_uvloop
async def test_the_end_of_a_response_is_kept_when_a_write_meets_the_reset(end: str) -> None:
    """The client does not read, so the app's FIN is unread behind its response when more of the request is
    written to it: after a FIN that is a broken pipe, and the whole response is there."""
    ended = asyncio.Event()
    sent = 0

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await read_head(reader)
        await reader.readexactly(5)
        writer.transport.set_write_buffer_limits(0)
        writer.write(b"HTTP/1.1 200 OK\r\nDate: x\r\n\r\n")
        while not any(client.exchange.client.paused for client in harness.proxy._clients):
            writer.write(BLOCK)
            sent += len(BLOCK)
            await writer.drain()
            await asyncio.sleep(0)  # the proxy's turn
        writer.write(BLOCK)  # it stays in the kernel
        sent += len(BLOCK)
        await writer.drain()
        if end == "reset":
            reset(writer)
        ended.set()

    async with real_sockets(app) as harness:
        client_socket = socket.socket()
        client_socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client_socket.connect(("127.0.0.1", harness.port))
        client_socket.send(b"POST / HTTP/1.0\r\nContent-Length: 15\r\n\r\n01234")
        await ended.wait()
        (client,) = harness.proxy._clients
        exchange = client.exchange
        if end == "closed":
            client_socket.send(b"56789")  # is answered with a reset, which the next write sees
            await harness.until(lambda: exchange.request_bytes == 10)
            assert exchange.active
        client_socket.send(b"01234")
        with client_socket:
            seen = await asyncio.to_thread(listen, client_socket)
        assert seen.cut is (end == "reset")
        if not seen.cut:
            assert len(seen.answer.partition(b"\r\n\r\n")[2]) == sent
        (record,) = harness.records.records
        assert (record["status"], record["reason"]) == (200, "response_truncated" if seen.cut else None)


@every_version
@on_uvloop
async def test_a_reset_that_arrives_with_the_last_bytes(version: str) -> None:
    """The event loop sees both in the same turn."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)

        async def app() -> None:
            connection, _ = await loop.sock_accept(listening)
            with connection:
                await loop.sock_recv(connection, 65536)
                connection.send(b"HTTP/1.0 200 OK\r\n\r\nhalf of it")
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

        async with real_sockets(listening.getsockname()[1]) as harness:
            serving = asyncio.create_task(app())
            seen = await ask(harness.port, REQUESTS[version])
            await serving
            assert seen.cut
            assert b"\r\n0\r\n" not in seen.answer
            (record,) = harness.records.records
            assert (record["status"], record["reason"]) == (200, "response_truncated")
