"""A TLS listener without sockets: the test decides what clients have sent, and when handshakes end."""

import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any

from tests.fakes.loop import FakeClock, FakeLoop


class ArrivingSocket(socket.socket):
    """A connection as accepted. `sent` is what has arrived and is not taken; `ended`: a FIN behind it."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number
        self.sent = b""
        self.ended = False
        self.low_water = 1
        self.is_closed = False

    def fileno(self) -> int:
        return -1 if self.is_closed else self.number

    def recv(self, size: int, flags: int = 0) -> bytes:
        assert flags == socket.MSG_PEEK
        if not self.sent and not self.ended:
            raise BlockingIOError
        return self.sent[:size]

    def getsockopt(self, *option: Any) -> Any:
        assert option == (socket.IPPROTO_TCP, socket.TCP_INFO, 1)
        return b"\x08" if self.ended else b"\x01"

    def setsockopt(self, *option: Any) -> None:
        assert option[:2] == (socket.SOL_SOCKET, socket.SO_RCVLOWAT)
        self.low_water = option[2]

    def close(self) -> None:
        self.is_closed = True
        super().close()


class Handshake:
    """One `connect_accepted_socket`."""

    def __init__(
        self, loop: "ArrivalLoop", sock: ArrivingSocket, factory: Callable[[], Any], ssl: object
    ) -> None:
        self.sock = sock
        self.context = ssl
        self.factory = factory
        self.future: asyncio.Future[None] = asyncio.Future(loop=loop)

    def fail(self, error: Exception | None) -> None:
        """It ends without a client; None as where uvloop has lost the connection."""
        if error is None:
            self.future.set_result(None)
        else:
            self.future.set_exception(error)


class ArrivalLoop(FakeLoop):
    """`handshakes` are those that have begun; `polled` are the sockets that wait for bytes."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.handshakes: list[Handshake] = []
        self.polled: dict[int, Callable[[], None]] = {}

    def add_reader(self, fd: int, callback: Callable[[], None]) -> None:  # type: ignore[override]  # as used
        assert fd not in self.polled
        self.polled[fd] = callback

    def remove_reader(self, fd: int) -> bool:  # type: ignore[override]  # as used
        return self.polled.pop(fd, None) is not None

    def arrives(self, sock: ArrivingSocket, data: bytes = b"", *, ended: bool = False) -> None:
        """The kernel has `data`, and wakes the worker if there is as much as it waits for."""
        sock.sent += data
        sock.ended |= ended
        if sock.fileno() in self.polled and (len(sock.sent) >= sock.low_water or sock.ended):
            self.polled[sock.fileno()]()

    def connect_accepted_socket(  # type: ignore[override]  # as used
        self, factory: Callable[[], Any], sock: ArrivingSocket, *, ssl: object = None, **_: float
    ) -> Coroutine[Any, Any, None]:
        return self._connect(Handshake(self, sock, factory, ssl))

    async def _connect(self, handshake: Handshake) -> None:
        self.handshakes.append(handshake)
        await handshake.future
