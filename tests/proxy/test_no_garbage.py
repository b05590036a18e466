"""A closed connection is freed at once, without the garbage collector, which would stop the worker."""

import gc
from collections.abc import Iterator

import pytest

from balancer.clients.connection import ClientConnection
from balancer.connections.upstream_connection import UpstreamConnection
from balancer.proxy.exchange import Exchange
from tests.fakes.transport import FakeTransport
from tests.proxy.harness import GET, Harness

UPGRADE = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"


@pytest.fixture
def no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def alive() -> int:
    return sum(isinstance(one, ClientConnection | Exchange) for one in gc.get_objects())


def leave(harness: Harness, client: FakeTransport, error: Exception | None = None) -> None:
    """The connection is lost; the transport forgets its protocol then, as uvloop's does."""
    client.lose(error)
    harness.settle()
    harness.clients.remove(client)
    del client.protocol, client._receiver


@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize(
    "when", ["silent", "in a head", "idle", "in a request", "in an upload", "in a tunnel"]
)
def test_a_closed_connection_is_freed_without_the_garbage_collector(harness: Harness, when: str) -> None:
    before = alive()
    client = harness.client()
    match when:
        case "in a head":
            client.receive(GET[:10])
        case "idle":
            harness.ask(client=client)
            harness.answer()
        case "in a request":
            harness.ask(client=client)
        case "in an upload":
            harness.ask(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n", client)
            client.receive(bytes(100_000))
        case "in a tunnel":
            harness.ask(UPGRADE, client)
            harness.answer(SWITCHING)
    assert alive() == before + 2
    leave(harness, client, ConnectionResetError() if when == "in an upload" else None)
    del client
    harness.loop.transports[:] = [one for one in harness.loop.transports if not one.is_closing()]
    assert alive() == before


def upstreams_alive() -> int:
    return sum(isinstance(one, UpstreamConnection) for one in gc.get_objects())


LARGE = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + bytes(100_000)


@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize("when", ["idle", "in a request", "in a response", "in a tunnel"])
@pytest.mark.parametrize("first", ["the client", "the upstream"])
def test_a_closed_connection_to_an_upstream_is_too(harness: Harness, when: str, first: str) -> None:
    before = upstreams_alive()
    client = harness.ask(UPGRADE if when == "in a tunnel" else GET)
    match when:
        case "idle":
            harness.answer()
        case "in a response":
            harness.answer(LARGE)  # it is read at the client's pace
        case "in a tunnel":
            harness.answer(SWITCHING)
    assert upstreams_alive() == before + 1
    if first == "the upstream" or when == "idle":
        harness.upstream.lose(ConnectionResetError())
        harness.settle()
    leave(harness, client)
    harness.settle()
    for transport in harness.loop.transports:
        assert transport.lost or transport.is_closing()
        transport.lose()
        del transport.protocol, transport._receiver  # as uvloop's does
    harness.loop.transports.clear()
    del client, transport
    harness.advance(31.0)  # until then the timeouts of connecting and closing know it
    assert upstreams_alive() == before
