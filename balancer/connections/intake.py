"""Bounds what reading one connection may cost in one turn of the event loop (L3).

libuv reads a socket up to 32 times in a row as long as each read fills its buffer, and a protocol may have a
thousand pieces in one read. So after a large read, or so many pieces, a connection rests: reading goes on in
the next turn, after all others had theirs.
"""

import asyncio
from collections.abc import Callable

# Bytes after which a connection rests. uvloop reads 256,000 at once, and only such reads are repeated.
LARGE_READ = 128 * 1024


class Intake:
    """Whether a transport is being read: not while it is held (by back-pressure), nor while it rests.

    `go_on` is called in the next turn after `rest`, or when reading is no longer held after that: it takes up
    what was left of the last read, and may `rest` again. It must not raise.
    """

    __slots__ = ("_go_on", "_loop", "_owes", "_rests", "_transport", "held")

    def __init__(
        self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, go_on: Callable[[], None]
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._go_on = go_on
        self._rests = False
        self._owes = False  # its turn came while it was held
        self.held = False

    def hold(self) -> None:
        """Read no more, until `resume`."""
        if not self.held and not self._transport.is_closing():
            self.held = True
            if not self._rests:
                self._transport.pause_reading()

    def resume(self) -> None:
        """Read on, if it does not rest."""
        if not self.held or self._transport.is_closing():
            return
        self.held = False
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
        self._loop.call_soon(self._turn)

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
