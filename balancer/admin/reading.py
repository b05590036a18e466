"""How a connection of the admin listener is read (L5): in small pieces, and in turns with the others.

aiohttp takes whatever it is given at once, however long that takes and however much it makes of it, and the
supervisor must not be late for strangers. So it gets READ bytes at a time; after such a piece the connection
rests until the others had their turn.
"""

import asyncio
from typing import Any

from balancer.connections.intake import Turns

READ = 4096  # bytes; of nothing but small chunks aiohttp takes about a millisecond for that

_buffer = bytearray(READ)  # of all connections: what has been read is copied at once
_view = memoryview(_buffer)


class Reading:
    """Whether `transport` is being read: not while aiohttp holds it, nor while it rests."""

    __slots__ = ("_held", "_rests", "_transport", "_turns")

    def __init__(self, transport: asyncio.Transport, turns: Turns) -> None:
        self._transport = transport
        self._turns = turns
        self._held = False
        self._rests = False

    def buffer(self) -> memoryview:
        """Where the next piece goes."""
        return _view

    def read(self, size: int) -> bytes:
        """The piece that has come; after a whole one the connection rests."""
        if size == READ and not self._rests and not self._transport.is_closing():
            self._rests = True
            self._transport.pause_reading()
            self._turns.add(self)
        return bytes(_view[:size])

    def hold(self) -> None:
        """aiohttp has no room for more."""
        self._held = True
        if not self._rests:
            self._transport.pause_reading()

    def resume(self) -> None:
        """It has."""
        self._held = False
        if not self._rests:
            self._transport.resume_reading()

    def go_on(self) -> None:
        """Its turn has come."""
        self._rests = False
        if not self._held and not self._transport.is_closing():
            self._transport.resume_reading()


class Facade:
    """The transport as aiohttp has it: all of it, but that two have to agree on whether it is read."""

    def __init__(self, transport: asyncio.Transport, reading: Reading) -> None:
        self._transport = transport
        self.pause_reading = reading.hold
        self.resume_reading = reading.resume

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
