"""A worker's listening sockets (L7). At the end the rest of their queues is accepted by hand."""

import asyncio
import socket
from collections.abc import Callable, Collection, Sequence

from balancer.messages import Adopt, Release

ALL_LISTENERS = (0, 1)  # the plain one, and that for TLS
BACKLOG = 4096  # uvloop listens again, and would choose its own backlog

ProtocolFactory = Callable[[], asyncio.Protocol]


class Acceptor:
    """Serves one listening socket, with a protocol of `factory` for each client; may be stopped and started
    again."""

    __slots__ = ("_factory", "_server", "_sock")

    def __init__(self, sock: socket.socket, factory: ProtocolFactory) -> None:
        self._sock = sock
        self._factory = factory
        self._server: asyncio.AbstractServer | None = None

    async def start(self) -> None:
        """Start to accept clients."""
        # uvloop closes its socket object with its server; ours stays open.
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._factory, sock=self._sock.dup(), backlog=BACKLOG)

    @property
    def accepting(self) -> bool:
        """Whether clients are being accepted."""
        return self._server is not None

    def stop(self) -> None:
        """Leave the socket, and the clients in its queue, to another worker."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def serve(self, client: socket.socket) -> None:
        """Serve a client that was taken from the queue."""
        await asyncio.get_running_loop().connect_accepted_socket(self._factory, client)

    def take_waiting(self, *, and_end: bool) -> list[socket.socket]:
        """Stop, and accept all clients that wait in the queue.

        `and_end` ends the listening for every process that holds the socket, right after the last accept:
        later clients are refused instead of waiting in a queue that no worker serves.
        """
        if not self.accepting:
            return []
        self.stop()
        taken = []
        while (client := self._accept()) is not None:
            taken.append(client)
        if and_end:
            self._sock.shutdown(socket.SHUT_RDWR)
        return taken

    def close(self) -> None:
        """Close this worker's descriptors of the socket."""
        self.stop()
        self._sock.close()

    def _accept(self) -> socket.socket | None:
        """The next client in the queue."""
        while True:
            try:
                client = self._sock.accept()[0]
            except BlockingIOError:
                return None
            except ConnectionAbortedError:  # the client left while it waited
                continue
            except OSError:  # no descriptors left: the rest cannot be served
                return None
            client.setblocking(False)
            return client


class Listeners:
    """All listening sockets of the instance in one worker: it serves those of its own slot, and those of
    slots it has adopted."""

    def __init__(self, slots: Sequence[Sequence[Acceptor]]) -> None:
        """For each slot, the acceptors of its sockets."""
        self._slots = slots
        self._wanted: set[int] = set()  # the slots to serve; opening one is asynchronous
        self._opening = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, slot: int) -> None:
        """Serve the sockets of a slot."""
        self._wanted.add(slot)
        await self._open(slot)

    def adopt(self, message: Adopt) -> None:
        """Serve the sockets of a slot that has no worker."""
        self._wanted.add(message.slot)
        task = asyncio.get_running_loop().create_task(self._open(message.slot), name="adopt")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def release(self, message: Release) -> None:
        """Stop serving that slot: it has its own worker again."""
        self._wanted.discard(message.slot)
        for acceptor in self._slots[message.slot]:
            acceptor.stop()

    async def shut(self, ends: Collection[int] = ()) -> None:
        """Stop accepting on all sockets; clients that wait in their queues are still served. `ends`: the
        listeners, by their place among a slot's sockets, that end for all processes."""
        self._wanted.clear()
        taken = [
            (acceptor, acceptor.take_waiting(and_end=at in ends))
            for acceptors in self._slots
            for at, acceptor in enumerate(acceptors)
        ]
        for acceptor, _ in taken:
            acceptor.close()
        await asyncio.gather(
            *(acceptor.serve(client) for acceptor, clients in taken for client in clients),
            return_exceptions=True,
        )

    async def _open(self, slot: int) -> None:
        async with self._opening:
            for acceptor in self._slots[slot]:
                if slot in self._wanted and not acceptor.accepting:
                    await acceptor.start()
                    if slot not in self._wanted:  # it was released, or all were shut, meanwhile
                        acceptor.stop()
