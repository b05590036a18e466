"""A worker's listening sockets (L7): uvloop accepts; at the end the rest of the queue is accepted by hand."""

import asyncio
import socket
from collections.abc import Callable

from balancer.messages import Adopt, Release

BACKLOG = 4096  # uvloop listens again, and would choose its own backlog

ProtocolFactory = Callable[[], asyncio.Protocol]


class Acceptor:
    """Serves one listening socket; may be stopped and started again."""

    __slots__ = ("_server", "_sock")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._server: asyncio.AbstractServer | None = None

    async def start(self, factory: ProtocolFactory) -> None:
        """Start to accept clients."""
        # uvloop closes its socket object with its server; ours stays open.
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(factory, sock=self._sock.dup(), backlog=BACKLOG)

    @property
    def accepting(self) -> bool:
        """Whether clients are being accepted."""
        return self._server is not None

    def stop(self) -> None:
        """Leave the socket, and the clients in its queue, to another worker."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def take_waiting(self, *, and_end: bool) -> list[socket.socket]:
        """Stop, and accept all clients that wait in the queue.

        `and_end` ends the listening for every process that holds the socket, right after the last accept:
        later clients are refused instead of waiting in a queue that no worker serves.
        """
        if self._server is None:
            return []
        self.stop()
        taken = []
        while (client := self._accept()) is not None:
            client.setblocking(False)
            taken.append(client)
        if and_end:
            self._sock.shutdown(socket.SHUT_RDWR)
        return taken

    def close(self) -> None:
        """Close this worker's descriptors of the socket."""
        self.stop()
        self._sock.close()

    def _accept(self) -> socket.socket | None:
        while True:
            try:
                return self._sock.accept()[0]
            except BlockingIOError:
                return None
            except ConnectionAbortedError:  # the client left while it waited
                continue
            except OSError:  # no descriptors left: the rest cannot be served
                return None


class Listeners:
    """All listening sockets of the instance in one worker: it serves its own, and those it has adopted."""

    def __init__(self, sockets: list[socket.socket], factory: ProtocolFactory) -> None:
        self._acceptors = [Acceptor(sock) for sock in sockets]
        self._factory = factory
        self._wanted: set[int] = set()  # the slots to serve; opening one is asynchronous
        self._opening = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, slot: int) -> None:
        """Serve the socket of a slot."""
        self._wanted.add(slot)
        await self._open(slot)

    def adopt(self, message: Adopt) -> None:
        """Serve the socket of a slot that has no worker."""
        self._wanted.add(message.slot)
        task = asyncio.get_running_loop().create_task(self._open(message.slot), name="adopt")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def release(self, message: Release) -> None:
        """Stop serving that slot: it has its own worker again."""
        self._wanted.discard(message.slot)
        self._acceptors[message.slot].stop()

    async def shut(self, *, and_end: bool) -> None:
        """Stop accepting on all sockets; clients that wait in their queues are still served."""
        loop = asyncio.get_running_loop()
        self._wanted.clear()
        taken = [client for acceptor in self._acceptors for client in acceptor.take_waiting(and_end=and_end)]
        for acceptor in self._acceptors:
            acceptor.close()
        await asyncio.gather(
            *(loop.connect_accepted_socket(self._factory, client) for client in taken), return_exceptions=True
        )

    async def _open(self, slot: int) -> None:
        acceptor = self._acceptors[slot]
        async with self._opening:
            if slot in self._wanted and not acceptor.accepting:
                await acceptor.start(self._factory)
                if slot not in self._wanted:  # it was released, or all were shut, meanwhile
                    acceptor.stop()
