"""Reads a connection of the admin listener (L5) in small pieces, taking turns with the others.

aiohttp processes all that it is given at once, however long that takes and however much memory, and clients
must not make the supervisor late. So it gets READ bytes at a time; after a full piece the connection rests
until the others had their turn.
"""

import asyncio
from typing import Any

from balancer.connections.intake import Turns

READ = 4096  # bytes; if they are nothing but small chunks, aiohttp needs about a millisecond for them

_buffer = bytearray(READ)  # shared by all connections: what has been read is copied at once
_view = memoryview(_buffer)


class Reading:
    """Whether `transport` is being read: neither while aiohttp holds it, nor while it rests."""

    __slots__ = ("_held", "_rests", "_transport", "_turns")

    def __init__(self, transport: asyncio.Transport, turns: Turns) -> None:
        self._transport = transport
        self._turns = turns
        self._held = False
        self._rests = False

    def buffer(self) -> memoryview:
        """The buffer for the next piece."""
        return _view

    def read(self, size: int) -> bytes:
        """The piece that has arrived; after a full one the connection rests."""
        if size == READ and not self._rests and not self._transport.is_closing():
            self._rests = True
            self._transport.pause_reading()
            self._turns.add(self)
        return bytes(_view[:size])

    def hold(self) -> None:
        """aiohttp pauses reading."""
        self._held = True
        if not self._rests:
            self._transport.pause_reading()

    def resume(self) -> None:
        """aiohttp resumes reading."""
        self._held = False
        if not self._rests:
            self._transport.resume_reading()

    def go_on(self) -> None:
        """Its turn has come: read on."""
        self._rests = False
        if not self._held and not self._transport.is_closing():
            self._transport.resume_reading()


class Facade:
    """The transport for aiohttp: unchanged, but aiohttp's pauses and our rests are combined by `reading`."""

    def __init__(self, transport: asyncio.Transport, reading: Reading) -> None:
        self._transport = transport
        self.pause_reading = reading.hold
        self.resume_reading = reading.resume

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
