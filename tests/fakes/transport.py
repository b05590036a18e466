"""A fake transport: a protocol's writes are recorded, its reads come from the test."""

import asyncio
import errno
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, cast

from balancer.connections.roles import Outlet
from balancer.connections.tcp_info import send_room

CLIENT_ADDRESS = "198.51.100.7"
_SO_MEMINFO = 55


class Soon(Protocol):
    """The part of an event loop that a transport needs to report events later."""

    def call_soon(self, callback: Callable[[], object], /) -> object: ...


class FakeSocket:
    """The result of `get_extra_info("socket")`: it records the options that were set. Its `fileno` is -1.

    TCP_INFO returns `acked` and `state` (7 is CLOSE), SO_ERROR returns `error`, once, and SO_MEMINFO a send
    buffer with `room` bytes free. `unread` is what a duplicate can still read when the connection is lost. As
    with the kernel it ends in `b""`, an end of file, whatever the cause of the loss: that error has been
    reported already.
    """

    def __init__(self) -> None:
        self.options: list[tuple[int, int, bytes | int]] = []
        self.acked = 0
        self.state = 1
        self.error = 0
        self.room = 4 << 20
        self.unread: deque[bytes] = deque()

    def getsockopt(self, level: int, option: int, size: int = 0) -> bytes | int:
        if (level, option) == (socket.SOL_SOCKET, socket.SO_ERROR):
            error, self.error = self.error, 0
            return error
        if (level, option) == (socket.SOL_SOCKET, _SO_MEMINFO):
            sent = 1000
            return struct.pack("=12xI4xI", sent + self.room, sent)[:size]
        assert (level, option) == (socket.IPPROTO_TCP, socket.TCP_INFO)
        return (bytes([self.state]).ljust(120, b"\0") + self.acked.to_bytes(8, "little"))[:size]

    def setsockopt(self, level: int, option: int, value: bytes | int) -> None:
        self.options.append((level, option, value))

    def fileno(self) -> int:
        return -1

    def dup(self) -> "FakeSocket":
        return self

    def recv(self, size: int, flags: int) -> bytes:
        if not self.unread:
            return b""
        data = self.unread.popleft()
        if len(data) > size:
            self.unread.appendleft(data[size:])
        return data[:size]

    def close(self) -> None:
        """Close the duplicate."""


class FakeTransport(asyncio.Transport):
    """One end of a connection, as seen by a protocol of ours.

    What the protocol did: `written` (all of it; `take` returns the new part, from `taken` on), `writes` (call
    by call), `reading`, `eof_written`, `closed` (by `close`), `aborted`, `late_writes` (after either,
    discarded). What the test does: `receive`, `receive_eof`, `lose`, `pause_writing`, `resume_writing`;
    `buffered` is the number of bytes not yet read by the peer, `eofs` how often the protocol was told of its
    FIN.
    """

    def __init__(
        self,
        loop: Soon,
        protocol: asyncio.Protocol | asyncio.BufferedProtocol,
        *,
        peername: tuple[str, int] = (CLIENT_ADDRESS, 50000),
        socket: object | None = None,
    ) -> None:
        super().__init__()
        self._extra_info = {"peername": peername, "socket": FakeSocket() if socket is None else socket}
        self._loop = loop
        self.taken = 0
        self._unread: deque[bytes] = deque()
        self._eof_unread = False
        self._eof_received = False
        self.eofs = 0
        self.protocol = cast(asyncio.Protocol, protocol)  # what tests look at
        self._receiver: asyncio.BaseProtocol = protocol  # the same, or what precedes it
        self.high_water: int | None = None
        self.written = bytearray()
        self.writes: list[bytes] = []
        self.late_writes: list[bytes] = []
        self.writes_after_loss = 0  # uvloop raises an error for these
        self.reading = True
        self.eof_written = False
        self.closed = False
        self.aborted = False
        self.lost = False
        self.buffered = 0
        protocol.connection_made(self)

    # --- the test's side

    def receive(self, data: bytes) -> None:
        """Bytes arrive. While reading is paused they wait, after the transport has closed they are dropped,
        and after the peer's FIN there are none."""
        if self.is_closing() or self._eof_received:
            return
        if self.reading:
            self._read(data)
        else:
            self._unread.append(data)

    def receive_eof(self) -> None:
        """The peer's FIN arrives (after waiting bytes); the transport closes itself, as uvloop's does, unless
        the protocol wants to go on writing."""
        if self.is_closing() or self._eof_received:
            return
        if not self.reading:
            self._eof_unread = True
            return
        self._eof_received = True
        self.eofs += 1
        self.reading = False
        if not self._reader.eof_received():
            self.close()

    def receive_reset(self, data: bytes) -> None:
        """A reset right behind `data`: libuv before 1.52 reads both at once and takes the reset for a FIN."""
        self.receive(data)
        self.socket.error = errno.ECONNRESET
        self.receive_eof()

    def lose(self, exc: Exception | None = None, unread: bytes = b"") -> None:
        """The connection is lost at once, by `exc` (None: closed from this side), with `unread` behind the
        waiting bytes (nothing is behind a FIN): the error of a write is reported before the unread bytes are
        read."""
        if not self.lost:
            self.lost = True
            if isinstance(self.socket, FakeSocket) and not self._eof_received:
                self.socket.unread.extend(piece for piece in (*self._unread, unread) if piece)
            self._receiver.connection_lost(exc)

    def pause_writing(self, buffered: int = 65536) -> None:
        """The peer does not keep up: `buffered` bytes wait to be sent."""
        self.buffered = buffered
        self._receiver.pause_writing()

    def resume_writing(self) -> None:
        """The peer has read everything."""
        self.buffered = 0
        if self.closed:
            self._loop.call_soon(self.lose)
        else:
            self._receiver.resume_writing()

    def take(self) -> bytes:
        """The bytes written since the last `take`."""
        start, self.taken = self.taken, len(self.written)
        return bytes(self.written[start:])

    def has_socket(self, socket: object) -> None:
        """Use a real socket: from now on the kernel answers for it."""
        self._extra_info["socket"] = socket

    @property
    def socket(self) -> Any:
        return self.get_extra_info("socket")

    @property
    def _reader(self) -> asyncio.Protocol | asyncio.BufferedProtocol:
        return cast(asyncio.Protocol | asyncio.BufferedProtocol, self._receiver)

    def _read(self, data: bytes) -> None:
        """Bytes that do not fit the protocol's own buffer are read next, if reading is still wanted."""
        reader = self._reader
        if not hasattr(reader, "get_buffer"):
            reader.data_received(data)
            return
        assert not isinstance(reader, asyncio.Protocol)
        buffer = memoryview(reader.get_buffer(-1))
        size = min(len(buffer), len(data))
        buffer[:size] = data[:size]
        reader.buffer_updated(size)
        if size < len(data) and not self.is_closing():
            if self.reading:
                self._read(data[size:])
            else:
                self._unread.appendleft(data[size:])

    # --- asyncio's interface

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.eof_written:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self.closed or self.aborted or self.lost:
            self.late_writes.append(bytes(data))
            self.writes_after_loss += self.lost
            return
        self.writes.append(bytes(data))
        self.written += data

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._extra_info.get(name, default)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high_water = high

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._receiver

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        alike = hasattr(protocol, "get_buffer") == hasattr(self._receiver, "get_buffer")
        assert alike or not self.reading, "uvloop would go on reading as before"
        self._receiver = protocol

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if self.lost:
            raise RuntimeError("unable to perform operation; the handler is closed")
        self.eof_written = True

    def get_write_buffer_size(self) -> int:
        return self.buffered

    def is_closing(self) -> bool:
        return self.closed or self.aborted or self.lost

    def is_reading(self) -> bool:
        return self.reading

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True
        if self._eof_received:  # uvloop reads again, and the kernel says the same again
            self._eof_received, self._eof_unread = False, True
        if self._unread or self._eof_unread:
            self._loop.call_soon(self._deliver)

    def close(self) -> None:
        if not self.closed and not self.aborted:
            self.closed = True
            if not self.buffered and not self.lost:
                self._loop.call_soon(self.lose)

    def abort(self) -> None:
        if not self.aborted and not self.lost:
            self.aborted = True
            self._loop.call_soon(self.lose)

    def _deliver(self) -> None:
        while self._unread and self.reading:
            self.receive(self._unread.popleft())
        if self._eof_unread and self.reading:
            self._eof_unread = False
            self.receive_eof()


class TransportOutlet(Outlet):
    """A transport, as needed by reads."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def room(self) -> int:
        return send_room(self._transport)

    def untaken(self) -> int:
        return self._transport.get_write_buffer_size()
