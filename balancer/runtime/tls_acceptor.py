"""Accepts on a TLS listening socket (L7): not uvloop, as it calls nothing for a handshake that never ends.

So a connection counts from its accept, and has a deadline (`clients/arrival.py`).
"""

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import Final

from balancer.errors import EXHAUSTED
from balancer.runtime.acceptor import BACKLOG, Acceptor

_A_TURN: Final = 16  # accepts in one turn of the loop: about a millisecond
_PAUSE: Final = 0.1  # seconds without an accept, if there are no descriptors or no memory for it

# Takes a client, and its address.
Accepted = Callable[[socket.socket, str], None]


class TlsAcceptor(Acceptor):
    """Passes each client to `accepted`."""

    __slots__ = ("_accepted", "_loop", "_pause")

    def __init__(self, sock: socket.socket, accepted: Accepted) -> None:
        super().__init__(sock)
        self._accepted = accepted
        self._loop: asyncio.AbstractEventLoop | None = None  # while it accepts
        self._pause: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        self._sock.listen(BACKLOG)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._sock.fileno(), self._read)

    @property
    def accepting(self) -> bool:
        return self._loop is not None

    def stop(self) -> None:
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.remove_reader(self._sock.fileno())
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None

    async def serve(self, client: socket.socket) -> None:
        try:
            address = client.getpeername()[0]
        except OSError:  # it left while it waited
            client.close()
            return
        self._accepted(client, address)

    def _read(self) -> None:
        """Clients wait."""
        for _ in range(_A_TURN):
            try:
                client, address = self._sock.accept()
            except OSError as error:
                if error.errno in EXHAUSTED:
                    self._rest()
                    return
                if error.errno in (errno.EAGAIN, errno.EBADF, errno.EINVAL):
                    return
                continue  # accept(2): errors of the new connection are reported here
            client.setblocking(False)
            self._accepted(client, address[0])

    def _rest(self) -> None:
        """The queue stays readable: looking again at once would be a busy loop."""
        assert self._loop is not None
        self._loop.remove_reader(self._sock.fileno())
        self._pause = self._loop.call_later(_PAUSE, self._go_on)

    def _go_on(self) -> None:
        self._pause = None
        if self._loop is not None:
            self._loop.add_reader(self._sock.fileno(), self._read)
