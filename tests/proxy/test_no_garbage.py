"""What a closed connection held is free at once, without the garbage collector, which stops everything."""

import gc
from collections.abc import Iterator

import pytest

from balancer.clients.connection import ClientConnection
from balancer.proxy.exchange import Exchange
from tests.fakes.transport import FakeTransport
from tests.proxy.harness import GET, Stage

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


def leave(stage: Stage, client: FakeTransport, error: Exception | None = None) -> None:
    """The connection is lost; the transport forgets its protocol then, as uvloop's does."""
    client.lose(error)
    stage.settle()
    stage.clients.remove(client)
    del client.protocol, client._receiver


@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize(
    "when", ["silent", "in a head", "idle", "in a request", "in an upload", "in a tunnel"]
)
def test_a_client_that_has_left_is_free_at_once(stage: Stage, when: str) -> None:
    before = alive()
    client = stage.client()
    match when:
        case "in a head":
            client.receive(GET[:10])
        case "idle":
            stage.ask(client=client)
            stage.answer()
        case "in a request":
            stage.ask(client=client)
        case "in an upload":
            stage.ask(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n", client)
            client.receive(bytes(100_000))
        case "in a tunnel":
            stage.ask(UPGRADE, client)
            stage.answer(SWITCHING)
    assert alive() == before + 2
    leave(stage, client, ConnectionResetError() if when == "in an upload" else None)
    del client
    stage.loop.transports[:] = [one for one in stage.loop.transports if not one.is_closing()]
    assert alive() == before
