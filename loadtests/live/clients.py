"""The clients of what is long-lived: WebSockets with a message now and then, and slow downloads.

    python -m loadtests.live.clients PORT WEBSOCKETS DOWNLOADS FILE

A process of its own. A WebSocket stays open until the end, and a download is followed by the next; either is
opened again only if it failed, which is recorded. After USR1 the clients close their WebSockets, leave their
downloads, and write how each one ended.
"""

import asyncio
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from loadtests.live import long_lived
from loadtests.live.download import PIECE, piece
from loadtests.live.long_lived import LongLived, Sort

HOST = "127.0.0.1"
BEGINS = "all are open"
BETWEEN = 1.0  # seconds between two messages of a WebSocket
PATIENCE = 5.0  # seconds for an answer, and for the next bytes of a download
PAUSE = 0.2  # seconds before a client opens anew
PIECES = 40  # of a download: 2.6 MB
RATE = 200_000  # bytes a second of a download
RECEIVES = 16_384  # the receive buffer: what the client does not take stays with the balancer
LOOK = 0.1  # seconds between two reads of a download


class FailedError(Exception):
    """It did not come to its own end; the message says what the client saw."""


class Clients:
    """All of them, and how those that have ended did."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._stopping = asyncio.Event()
        self.open = 0
        self.ended: list[LongLived] = []

    def stop(self) -> None:
        """Come to an end."""
        self._stopping.set()

    async def websocket(self) -> None:
        """One WebSocket after the other."""
        while not self._stopping.is_set():
            begun = time.monotonic()
            client, answered, why = "", [0], ""
            try:
                async with asyncio.timeout(PATIENCE):
                    websocket = await connect(f"ws://{HOST}:{self._port}/ws", proxy=None, ping_interval=None)
                client = "{}:{}".format(*websocket.local_address)
                self.open += 1
                await self._converse(websocket, answered)
            except (OSError, TimeoutError, WebSocketException, FailedError) as error:
                why = f"{type(error).__name__}: {error}"
            self._note(LongLived(Sort.WEBSOCKET, client, begun, time.monotonic(), answered[0], why))
            if why:
                await self._rest()

    async def _converse(self, websocket: ClientConnection, answered: list[int]) -> None:
        async with websocket:
            while not self._stopping.is_set():
                await websocket.send(str(answered[0]))
                async with asyncio.timeout(PATIENCE):
                    said = await websocket.recv()
                if said != str(answered[0]):
                    raise FailedError(f"{said!r} came back for {answered[0]}")
                answered[0] += 1
                await self._wait(BETWEEN)

    async def download(self) -> None:
        """One download after the other."""
        while not self._stopping.is_set():
            begun = time.monotonic()
            client, received, why = "", [0], ""
            try:
                async with _connection(self._port) as connection:
                    client = "{}:{}".format(*connection.getsockname())
                    self.open += 1
                    await self._receive(connection, received)
            except (OSError, TimeoutError, FailedError) as error:
                why = f"{type(error).__name__}: {error}"
            whole = received[0] == PIECES * PIECE
            if why or whole:
                self._note(LongLived(Sort.DOWNLOAD, client, begun, time.monotonic(), received[0], why))
            if why:
                await self._rest()

    async def _receive(self, connection: socket.socket, received: list[int]) -> None:
        """Take the body at its rate, and compare each byte."""
        loop = asyncio.get_running_loop()
        request = f"GET /download/{PIECES} HTTP/1.1\r\nHost: load.test\r\nConnection: close\r\n\r\n"
        await loop.sock_sendall(connection, request.encode())
        ahead = await _head(connection)
        expected = bytearray()
        while received[0] < PIECES * PIECE and not self._stopping.is_set():
            due = loop.time() + LOOK
            left = int(RATE * LOOK)
            while left > 0 and received[0] < PIECES * PIECE:
                if not ahead:
                    async with asyncio.timeout(PATIENCE):
                        ahead = await loop.sock_recv(connection, left)
                if not ahead:
                    raise FailedError(f"it ended after {received[0]:,} of {PIECES * PIECE:,} bytes")
                while len(expected) < len(ahead):
                    expected += piece((received[0] + len(expected)) // PIECE)
                if not expected.startswith(ahead):
                    raise FailedError(f"wrong bytes after {received[0]:,}")
                del expected[: len(ahead)]
                received[0] += len(ahead)
                left -= len(ahead)
                ahead = b""
            await self._wait(due - loop.time())

    def _note(self, end: LongLived) -> None:
        self.ended.append(end)

    async def _rest(self) -> None:
        await self._wait(PAUSE)

    async def _wait(self, seconds: float) -> None:
        """Sleep, unless all come to an end."""
        if seconds > 0:
            try:
                async with asyncio.timeout(seconds):
                    await self._stopping.wait()
            except TimeoutError:
                pass


@asynccontextmanager
async def _connection(port: int) -> AsyncIterator[socket.socket]:
    with socket.socket() as connection:
        connection.setblocking(False)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVES)
        async with asyncio.timeout(PATIENCE):
            await asyncio.get_running_loop().sock_connect(connection, (HOST, port))
        yield connection


async def _head(connection: socket.socket) -> bytes:
    """Read the head; returns what came after it."""
    head = b""
    while b"\r\n\r\n" not in head:
        async with asyncio.timeout(PATIENCE):
            data = await asyncio.get_running_loop().sock_recv(connection, 4096)
        if not data:
            raise FailedError("it ended before a response")
        head += data
    head, _, ahead = head.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        raise FailedError(head.partition(b"\r\n")[0].decode(errors="replace"))
    return ahead


async def _run(port: int, websockets: int, downloads: int, file: Path) -> None:
    clients = Clients(port)
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, clients.stop)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(websockets):
            tasks.create_task(clients.websocket())
        for _ in range(downloads):
            tasks.create_task(clients.download())
        while clients.open < websockets + downloads:  # noqa: ASYNC110 - once, at the start
            await asyncio.sleep(0.01)
        print(BEGINS, flush=True)
    long_lived.write(file, clients.ended)


def main() -> None:
    """The process."""
    port, websockets, downloads, file = sys.argv[1:]
    asyncio.run(_run(int(port), int(websockets), int(downloads), Path(file)))


if __name__ == "__main__":
    main()
