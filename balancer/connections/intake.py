"""Bounds what reading one connection may cost in one turn of the event loop, and take in memory (L3).

libuv reads a socket up to 32 times in a row as long as each read fills its buffer, and a protocol may have a
thousand pieces in one read. So after a large read, or so many pieces, a connection rests: reading goes on in
the next turn, after all others had theirs. From then on it is read in smaller pieces, until its message has
ended: what a peer does not take, or we cannot use yet, is kept in memory.
"""

import asyncio
from collections.abc import Callable

# Bytes after which a connection rests, and which it is read at a time from then on. uvloop reads up to
# 256,000 otherwise; a buffer of our own costs 3,000 instructions a read, which is much for a small message,
# and nothing for a large one.
LARGE_READ = 64 * 1024

# Of all connections: what has been read is copied at once.
_buffer = bytearray(LARGE_READ)
_view = memoryview(_buffer)


class _SmallReads(asyncio.BufferedProtocol):
    """Stands before a connection's protocol while that is read in small pieces."""

    __slots__ = ("protocol",)

    def __init__(self, protocol: asyncio.Protocol) -> None:
        self.protocol = protocol

    def get_buffer(self, sizehint: int) -> bytearray:
        return _buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.protocol.data_received(bytes(_view[:nbytes]))

    def eof_received(self) -> bool | None:
        return self.protocol.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self.protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        self.protocol.pause_writing()

    def resume_writing(self) -> None:
        self.protocol.resume_writing()


class Intake:
    """Whether, and how, a transport is being read: not while it is held (by back-pressure) or rests.

    `go_on` is called in the next turn after `rest`, or when reading is no longer held after that: it takes up
    what was left of the last read, and may `rest` again. It must not raise. `strained`: it is held, or read
    in small pieces.
    """

    __slots__ = ("_go_on", "_loop", "_owes", "_rests", "_small", "_transport", "held", "strained")

    def __init__(
        self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, go_on: Callable[[], None]
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._go_on = go_on
        self._rests = False
        self._owes = False  # its turn came while it was held
        self._small: _SmallReads | None = None
        self.held = False
        self.strained = False

    def hold(self) -> None:
        """Read no more, until `resume`."""
        if not self.held and not self._transport.is_closing():
            self.held = self.strained = True
            if not self._rests:
                self._transport.pause_reading()

    def resume(self) -> None:
        """Read on, if it does not rest."""
        if not self.held or self._transport.is_closing():
            return
        self.held = False
        self.strained = self._small is not None
        if self._owes:
            self._owes = False
            self._rests = True
            self._loop.call_soon(self._turn)
        elif not self._rests:
            self._transport.resume_reading()

    def rest(self) -> None:
        """Enough for this turn of the loop."""
        if self._rests or self._transport.is_closing():
            return
        self._rests = True
        if not self.held:
            self._transport.pause_reading()
        if self._small is None:
            self._small = _SmallReads(self._transport.get_protocol())  # type: ignore[arg-type]  # it is none yet
            self._transport.set_protocol(self._small)
            self.strained = True
        self._loop.call_soon(self._turn)

    def relax(self) -> None:
        """The message has ended: the next one may be small."""
        small, self._small = self._small, None
        self.strained = self.held
        if small is None or self._transport.is_closing():
            return
        reads = not self.held and not self._rests
        if reads:
            self._transport.pause_reading()
        self._transport.set_protocol(small.protocol)
        if reads:
            self._transport.resume_reading()

    def _turn(self) -> None:
        self._rests = False
        if self._transport.is_closing():
            return
        if self.held:
            self._owes = True
            return
        self._go_on()
        if not self.held and not self._rests and not self._transport.is_closing():
            self._transport.resume_reading()
