"""The admin listener's connections: their limit, which is closed for a new one, and when."""

import asyncio
import os
import resource
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest
import uvloop

from balancer.admin.connections import (
    ANSWER_TIMEOUT,
    HEAD_TIMEOUT,
    IDLE_TIMEOUT,
    STALL_TIMEOUT,
    Connections,
    Peer,
    Phase,
    least_missed,
)
from balancer.admin.reading import READ
from balancer.admin.server import AdminServer
from tests.admin.harness import FakeInstance
from tests.fakes.loop import FakeClock
from tests.fakes.transport import FakeTransport

PATIENCE = 20.0
MOST = 3
ESTABLISHED = 1  # the state in TCP_INFO
READY = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Listener:
    """A real admin listener that may have `most` connections, and raw clients of it."""

    def __init__(self, stack: AsyncExitStack, most: int = MOST) -> None:
        self._stack = stack
        self._sock = socket.create_server(("127.0.0.1", 0))
        self.address = self._sock.getsockname()
        self.instance = FakeInstance()
        self.server = AdminServer(self.instance, "", "", most=most)

    async def start(self) -> None:
        await self.server.start(self._sock)

    async def connect(self, sends: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(*self.address)
        self._stack.callback(writer.close)
        writer.write(sends)
        return reader, writer

    async def readyz(self) -> bytes:
        reader, _ = await self.connect(READY)
        return await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    async with AsyncExitStack() as stack:
        made = Listener(stack)
        await made.start()
        stack.push_async_callback(made.server.stop)
        yield made


async def ended(reader: asyncio.StreamReader) -> None:
    with suppress(ConnectionError):
        assert await asyncio.wait_for(reader.read(), PATIENCE) == b""


async def test_at_the_limit_the_longest_idle_connection_is_closed_for_a_new_one(
    listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    readers = [(await listener.connect())[0] for _ in range(MOST)]
    for _ in range(2):
        assert (await listener.readyz()).startswith(b"HTTP/1.1 200 ")
    await ended(readers[0])
    await ended(readers[1])
    assert not readers[2].at_eof()
    (record,) = caplog.records
    assert "the admin listener is at its limit of" in record.getMessage()


async def test_a_waiting_request_is_kept_rather_than_idle_connections(listener: Listener) -> None:
    events, _ = await listener.connect(b"GET /api/events?after=0&wait=20 HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await listener.readyz()  # by now that request is being answered
    for _ in range(3 * MOST):
        await listener.connect()
    assert (await listener.readyz()).startswith(b"HTTP/1.1 200 ")
    listener.instance.events.close()  # releases the waiting requests
    assert (await asyncio.wait_for(events.readuntil(b"\r\n\r\n"), PATIENCE)).startswith(b"HTTP/1.1 200 ")


async def test_a_body_that_does_not_arrive_is_408(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("balancer.admin.answers.BODY_TIMEOUT", 0.05)
    reader, _ = await listener.connect(
        b"POST /api/pools/default/upstreams HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
    )
    said = await asyncio.wait_for(reader.read(), PATIENCE)  # up to the end of the connection
    assert said.startswith(b"HTTP/1.1 408 ")
    assert b"the body did not arrive within" in said


class Served(asyncio.Protocol):
    """Stands in for aiohttp's protocol of a connection: with room for `room` reads, when it has had them."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.reads: list[int] = []  # bytes
        self.room = 1_000_000

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # as asyncio's stub says

    def data_received(self, data: bytes) -> None:
        self.reads.append(len(data))
        if len(self.reads) == self.room:
            self.transport.pause_reading()


class Harness:
    """Connections over fake transports, by a fake clock."""

    def __init__(self, sock: socket.socket) -> None:
        self.clock = FakeClock()
        self.connections = Connections(sock, Served, self.clock, MOST)

    def peer(self) -> tuple[Peer, FakeTransport]:
        peer = Peer(Served(), self.connections)
        return peer, FakeTransport(asyncio.get_running_loop(), peer)

    def wait(self, seconds: float) -> None:
        """Time passes, with a sweep each second."""
        for _ in range(round(seconds)):
            self.clock.advance(1.0)
            self.connections.end_overdue()


@pytest.fixture
async def harness() -> AsyncIterator[Harness]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield Harness(sock)


def idle(peer: Peer, transport: FakeTransport) -> None:
    transport.receive(b"GET / HTTP/1.1\r\n\r\n")
    peer.enter(Phase.SERVED)
    peer.answered()


def part_of_a_head(peer: Peer, transport: FakeTransport) -> None:
    transport.receive(b"GET")


def answered(peer: Peer, transport: FakeTransport) -> None:
    idle(peer, transport)
    transport.buffered = 1000


def being_served(peer: Peer, transport: FakeTransport) -> None:
    peer.enter(Phase.SERVED)


PHASES = [
    pytest.param(being_served, None, id="a request is answered, by a handler that has an end"),
    pytest.param(lambda *_: None, HEAD_TIMEOUT, id="nothing was ever sent"),
    pytest.param(part_of_a_head, HEAD_TIMEOUT, id="an endless head"),
    pytest.param(idle, IDLE_TIMEOUT, id="idle after a request"),
    pytest.param(answered, STALL_TIMEOUT, id="nothing of the response is taken"),
]


@pytest.mark.parametrize(("act", "limit"), PHASES)
async def test_each_phase_has_its_timeout(
    harness: Harness, act: Callable[[Peer, FakeTransport], None], limit: float | None
) -> None:
    peer, transport = harness.peer()
    act(peer, transport)
    harness.wait(limit or 10 * IDLE_TIMEOUT)
    assert not transport.aborted
    harness.wait(2)  # a second to notice it, and one beyond the limit
    assert transport.aborted == (limit is not None)


async def test_a_head_has_its_timeout_from_its_first_byte(harness: Harness) -> None:
    peer, transport = harness.peer()
    idle(peer, transport)
    for _ in range(round(HEAD_TIMEOUT) + 1):
        assert not transport.aborted
        transport.receive(b"G")
        harness.wait(1)
    assert transport.aborted


async def test_a_slowly_read_response_has_a_timeout_as_well(harness: Harness) -> None:
    peer, transport = harness.peer()
    answered(peer, transport)
    for _ in range(round(ANSWER_TIMEOUT)):
        transport.buffered -= 1
        harness.wait(1)
    assert not transport.aborted
    harness.wait(1)
    assert transport.aborted


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_after_a_whole_piece_a_connection_rests_for_a_turn(harness: Harness) -> None:
    served = Served()
    peer = Peer(served, harness.connections)
    transport = FakeTransport(asyncio.get_running_loop(), peer)
    transport.receive(bytes(2 * READ + 1))
    assert served.reads == [READ]
    assert not transport.reading
    await turns(5)
    assert served.reads == [READ, READ, 1]
    assert transport.reading


async def test_what_aiohttp_has_no_room_for_is_not_read_when_its_turn_comes(harness: Harness) -> None:
    served = Served()
    served.room = 2
    transport = FakeTransport(asyncio.get_running_loop(), Peer(served, harness.connections))
    transport.receive(bytes(3 * READ))
    await turns(9)
    assert served.reads == [READ, READ]
    served.transport.resume_reading()
    await turns(5)
    assert served.reads == [READ, READ, READ]


async def test_a_turn_that_comes_after_the_end_reads_nothing(harness: Harness) -> None:
    _, transport = harness.peer()
    transport.receive(bytes(READ))
    transport.abort()
    await turns(5)
    assert not transport.reading


async def test_which_connection_is_closed_first(harness: Harness) -> None:
    order = [idle, lambda *_: None, part_of_a_head, answered, being_served, being_served]
    peers = []
    for act in order:
        peer = Peer(Served(), harness.connections)
        transport = FakeTransport(asyncio.get_running_loop(), peer)
        act(peer, transport)
        harness.clock.advance(1.0)
        peers.append(peer)
    left = peers[::-1]
    for peer in peers:
        assert least_missed(left, 0) is peer
        left.remove(peer)
    assert least_missed([], 0) is None


@pytest.mark.parametrize("act", [answered, being_served, part_of_a_head], ids=["answered", "served", "head"])
async def test_a_new_connection_is_admitted_whatever_the_others_do(
    harness: Harness, act: Callable[[Peer, FakeTransport], None]
) -> None:
    others = []
    for _ in range(MOST):
        others.append(harness.peer())
        act(*others[-1])
        harness.clock.advance(1.0)
    _, transport = harness.peer()
    assert not transport.aborted
    assert [other.aborted for _, other in others] == [True, False, False]


async def test_a_newcomer_is_kept_rather_than_those_that_ask_again_and_again(
    harness: Harness,
) -> None:
    stranger, _ = harness.peer()
    harness.clock.advance(1.0)
    again, transport = harness.peer()
    idle(again, transport)
    assert least_missed([stranger, again], 1) is again
    assert least_missed([stranger, again], 0) is stranger
    assert least_missed([stranger], 1) is stranger


async def test_a_request_sent_before_its_connection_is_accepted_is_answered_however_many_wait() -> None:
    async with AsyncExitStack() as stack:
        listener = Listener(stack, most=20)
        readers = [(await listener.connect(READY))[0] for _ in range(100)]
        await listener.start()
        stack.push_async_callback(listener.server.stop)
        for reader in readers:
            async with asyncio.timeout(PATIENCE):
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")


async def test_without_descriptors_the_spare_one_admits_a_probe(listener: Listener) -> None:
    # Clients are connected first: their descriptors are in this process too.
    waiting = [socket.create_connection(listener.address) for _ in range(2)]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = os.dup(0)  # the lowest free number
    os.close(used)
    resource.setrlimit(resource.RLIMIT_NOFILE, (used, hard))
    loop = asyncio.get_running_loop()
    try:
        for client in waiting:
            client.setblocking(False)
            await loop.sock_sendall(client, READY)
            async with asyncio.timeout(PATIENCE):
                assert (await loop.sock_recv(client, 1000)).startswith(b"HTTP/1.1 200 ")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for client in waiting:
            client.close()


REAL = [
    pytest.param(b"", "HEAD_TIMEOUT", id="says nothing"),
    pytest.param(b"GET /healthz HTTP/1.1\r\nHost: local", "HEAD_TIMEOUT", id="half a head"),
    pytest.param(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", "IDLE_TIMEOUT", id="asks once"),
    pytest.param(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", "STALL_TIMEOUT", id="reads nothing"),
]


@pytest.mark.parametrize(("sends", "limit"), REAL)
@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_each_limit_over_real_sockets(
    run: Callable[[Coroutine[Any, Any, None]], None],
    sends: bytes,
    limit: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only the tested limit is short, so it is the one that ends the connection."""
    monkeypatch.setattr(f"balancer.admin.connections.{limit}", 0.05)
    monkeypatch.setattr("balancer.admin.connections.SWEEP", 0.02)

    async def main() -> None:
        async with AsyncExitStack() as stack:
            listener = Listener(stack)
            listener.instance.scrape = scrape_much  # type: ignore[method-assign]  # more than socket buffers hold
            await listener.start()
            stack.push_async_callback(listener.server.stop)
            with socket.create_connection(listener.address) as client:
                client.sendall(sends)
                await is_closed(client)
            assert (await listener.readyz()).startswith(b"HTTP/1.1 200 ")

    run(main())


async def scrape_much() -> bytes:
    return b"x 1.0\n" * (16 << 20)


async def is_closed(client: socket.socket) -> None:
    """Wait for the end of a connection without reading from it."""
    async with asyncio.timeout(PATIENCE):
        while client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == ESTABLISHED:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.01)
