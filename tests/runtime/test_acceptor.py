"""A worker's listeners on real sockets and uvloop: clients in a queue are served, whichever worker
accepts."""

import asyncio
import socket
from collections.abc import Callable, Coroutine, Iterator
from typing import cast

import pytest
import uvloop

from balancer.config.address import Address
from balancer.messages import Adopt, Release
from balancer.runtime.acceptor import ALL_LISTENERS, Acceptor, Listeners
from balancer.runtime.sockets import open_listeners
from balancer.runtime.worker import acceptors
from balancer.spec.tls import TlsSpec
from tests.fakes.tls_specs import tls_spec
from tests.fakes.wire import Wire, start_message

PATIENCE = 10.0


class Greeter(asyncio.Protocol):
    """Sends its name to every client."""

    def __init__(self, name: bytes) -> None:
        self._name = name

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        writing = cast(asyncio.Transport, transport)
        writing.write(self._name)
        writing.close()


# Starts a worker of that name.
Serve = Callable[[list[socket.socket], bytes], Listeners]
Scenario = Callable[[list[socket.socket], Serve], Coroutine[None, None, None]]


@pytest.fixture
def listeners() -> Iterator[list[socket.socket]]:
    opened = open_listeners(Address("127.0.0.1", 0), 2)
    yield opened
    for sock in opened:
        sock.close()


def worker(sockets: list[socket.socket], name: bytes) -> Listeners:
    """A worker's own descriptors of all listening sockets."""
    return Listeners([[Acceptor(sock.dup(), lambda: Greeter(name))] for sock in sockets])


async def greeting(client: socket.socket) -> bytes:
    reader, writer = await asyncio.open_connection(sock=client)
    async with asyncio.timeout(PATIENCE):
        said = await reader.read()
    writer.close()
    await writer.wait_closed()
    return said


def connected(sock: socket.socket, count: int) -> list[socket.socket]:
    """Clients waiting in a queue; the kernel has chosen which of the two."""
    clients = [socket.create_connection(sock.getsockname(), PATIENCE) for _ in range(count)]
    for client in clients:
        client.setblocking(False)
    return clients


async def greetings(clients: list[socket.socket]) -> list[bytes]:
    return list(await asyncio.gather(*(greeting(client) for client in clients)))


async def serves_its_own_and_what_it_adopts(listeners: list[socket.socket], serve: Serve) -> None:
    one = serve(listeners, b"one")
    await one.open(0)
    one.adopt(Adopt(slot=1))
    assert await greetings(connected(listeners[0], 20)) == [b"one"] * 20
    await one.shut()


async def leaves_a_released_queue_to_its_worker(listeners: list[socket.socket], serve: Serve) -> None:
    sibling, replacement = serve(listeners, b"sibling"), serve(listeners, b"replacement")
    await sibling.open(1)
    sibling.release(Release(slot=1))
    clients = connected(listeners[0], 20)
    await replacement.open(0)
    await replacement.open(1)
    assert await greetings(clients) == [b"replacement"] * 20
    await sibling.shut()
    await replacement.shut()


async def adopts_nothing_that_is_released_before_it_is_open(
    listeners: list[socket.socket], serve: Serve
) -> None:
    sibling, replacement = serve(listeners, b"sibling"), serve(listeners, b"replacement")
    sibling.adopt(Adopt(slot=1))
    sibling.release(Release(slot=1))
    await asyncio.gather(*(task for task in asyncio.all_tasks() if task.get_name() == "adopt"))
    clients = connected(listeners[0], 20)
    await sibling.shut()  # would serve clients waiting on an adopted socket
    for slot in (0, 1):
        await replacement.open(slot)
    assert await greetings(clients) == [b"replacement"] * 20
    await replacement.shut()


async def adopts_again_what_it_had_released(listeners: list[socket.socket], serve: Serve) -> None:
    one = serve(listeners, b"one")
    await one.open(0)
    one.adopt(Adopt(slot=1))
    one.release(Release(slot=1))
    one.adopt(Adopt(slot=1))
    assert await greetings(connected(listeners[0], 20)) == [b"one"] * 20
    await one.shut()


async def serves_who_waits_when_it_shuts(listeners: list[socket.socket], serve: Serve) -> None:
    one = serve(listeners, b"one")
    for slot in (0, 1):
        await one.open(slot)
    clients = connected(listeners[0], 20)  # synchronous: the loop has not accepted one of them yet
    await one.shut(ALL_LISTENERS)
    assert await greetings(clients) == [b"one"] * 20


async def ends_the_listening_for_all_who_hold_the_socket(
    listeners: list[socket.socket], serve: Serve
) -> None:
    one = serve(listeners, b"one")
    for slot in (0, 1):
        await one.open(slot)
    address = listeners[0].getsockname()
    await one.shut(ALL_LISTENERS)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, PATIENCE)


async def keeps_the_queue_for_others_when_only_it_leaves(
    listeners: list[socket.socket], serve: Serve
) -> None:
    first, second = serve(listeners, b"first"), serve(listeners, b"second")
    for slot in (0, 1):
        await first.open(slot)
    await first.shut()
    clients = connected(listeners[0], 20)
    for slot in (0, 1):
        await second.open(slot)
    assert await greetings(clients) == [b"second"] * 20
    await second.shut()


@pytest.mark.parametrize(
    "scenario",
    [
        serves_its_own_and_what_it_adopts,
        leaves_a_released_queue_to_its_worker,
        adopts_nothing_that_is_released_before_it_is_open,
        adopts_again_what_it_had_released,
        serves_who_waits_when_it_shuts,
        ends_the_listening_for_all_who_hold_the_socket,
        keeps_the_queue_for_others_when_only_it_leaves,
    ],
    ids=lambda scenario: scenario.__name__.replace("_", " "),
)
@pytest.mark.integration
def test_a_worker_accepts_from_its_own_and_adopted_queues(
    listeners: list[socket.socket], scenario: Scenario
) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario(listeners, worker))


@pytest.mark.parametrize("tls", [None, tls_spec()], ids=["plain", "TLS"])
@pytest.mark.integration
def test_the_descriptors_of_a_worker_are_plain_ones_of_all_slots_and_then_those_for_tls(
    tls: TlsSpec | None,
) -> None:
    wire = Wire(start_message(tls=tls))
    sockets = [socket.socket() for _ in range(2 if tls is None else 4)]
    slots = acceptors(sockets, wire.proxy)
    factories = [wire.proxy.client_protocol]
    if wire.proxy.handshakes is not None:
        factories.append(wire.proxy.handshakes.protocol)
    assert [[one._factory for one in slot] for slot in slots] == [factories] * 2
    of_slots = [sockets[:1], sockets[1:]] if tls is None else [sockets[0::2], sockets[1::2]]
    assert [[one._sock for one in slot] for slot in slots] == of_slots
    for sock in sockets:
        sock.close()
    wire.close()
