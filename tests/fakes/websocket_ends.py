"""Both ends of WebSockets in the hands of a test, on real sockets: through a balancer, or directly."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from tests.fakes.instance import PATIENCE

# What an end does once the WebSocket is open; returns what it has seen, for comparison.
End: TypeAlias = Callable[[Any], Awaitable[Sequence[object]]]


@dataclass(frozen=True)
class Play:
    """What the two ends do, and the options with which they open the WebSocket."""

    client: End
    server: End
    both: dict[str, Any] = field(default_factory=dict)
    of_client: dict[str, Any] = field(default_factory=dict)
    of_server: dict[str, Any] = field(default_factory=dict)


class App:
    """The server of a play. `saw`: what its end has seen, one play after the other."""

    def __init__(self, play: Play) -> None:
        self._play = play
        self.port = 0
        self.saw: asyncio.Queue[Sequence[object]] = asyncio.Queue()
        self._acting: set[asyncio.Task[Any]] = set()

    async def serve(self, websocket: ServerConnection) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._acting.add(task)
        try:
            self.saw.put_nowait(await self._play.server(websocket))
        finally:
            self._acting.discard(task)

    def stop(self) -> None:
        """End what still acts, as after a failure: the server would wait for it."""
        for task in self._acting:
            task.cancel()


@asynccontextmanager
async def app(play: Play, listening: socket.socket | None = None) -> AsyncIterator[App]:
    """A server that takes the server's part in a play with each client: on a free port, or on a listening
    socket, which stays open for the next server."""
    made = App(play)
    options: dict[str, Any] = {"ping_interval": None, "max_size": None, **play.both, **play.of_server}
    sock = socket.create_server(("127.0.0.1", 0)) if listening is None else listening.dup()
    async with serve(made.serve, sock=sock, **options) as server:
        made.port = next(iter(server.sockets)).getsockname()[1]
        try:
            yield made
        finally:
            made.stop()


async def acted(play: Play, port: int, saw: asyncio.Queue[Sequence[object]]) -> list[Sequence[object]]:
    """Take the client's part at this port; returns what the client saw, and what the server saw."""
    async with asyncio.timeout(PATIENCE):
        client = await joined(play, port)
        return [await client, await saw.get()]


async def joined(play: Play, port: int) -> "asyncio.Task[Sequence[object]]":
    """Open a WebSocket at this port, and begin to take the client's part."""
    options: dict[str, Any] = {"ping_interval": None, "max_size": None, **play.both, **play.of_client}
    websocket = await connect(f"ws://127.0.0.1:{port}/", proxy=None, **options)

    async def part(websocket: ClientConnection) -> Sequence[object]:
        async with websocket:
            return await play.client(websocket)

    return asyncio.create_task(part(websocket))


async def hears(websocket: Connection) -> list[object]:
    """All messages until the end, and then how it ended."""
    messages: list[object] = []
    try:
        while True:
            messages.append(await websocket.recv())
    except ConnectionClosed:
        return [*messages, *closing(websocket)]


def closing(websocket: Connection) -> tuple[object, ...]:
    """The code and reason, and whether a Close frame came first."""
    return websocket.close_code, websocket.close_reason
