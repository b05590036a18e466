"""Bounds what reading one connection may cost in one turn of the event loop, and take in memory (L3).

libuv reads a socket up to 32 times in a row as long as each read fills its buffer, and a protocol may have a
thousand pieces in one read. So after a large read, or so many pieces, a connection rests: reading goes on in
the next turn, after all others had theirs. From then on it is read no faster than the other side takes,
until its message has ended: what a peer does not take, or we cannot use yet, is kept in memory.
"""

import asyncio
from collections import deque
from typing import Protocol

from balancer.clock import Clock
from balancer.connections.roles import Outlet

# Bytes. uvloop reads up to MOST_READ at once. After a read of LARGE_READ a connection rests, and is read into
# a buffer of our own from then on: that costs 3,000 instructions a read, which is much for a small message,
# and nothing for a large one. Of chunks no more than LARGE_READ are read then: one turn can decode as much.
MOST_READ = 256_000
LARGE_READ = 64 * 1024
LEAST_READ = 16 * 1024

# What all that rest may cost in one turn: so many go on, and no more once so much time is over. Each of them
# is read once, as well.
_GO_ON_AT_ONCE = 8
_TURN_NS = 500_000
_MORE = 4096  # bytes by which reads grow with each one that is taken

# Of all connections: what has been read is copied at once.
_buffer = bytearray(MOST_READ)
_view = memoryview(_buffer)


class Owner(Protocol):
    """The protocol whose connection is read. It must not raise."""

    transport: asyncio.Transport

    def go_on(self) -> None:
        """The next turn: take up what was left of the last read."""

    def outlet(self) -> Outlet | None:
        """Where what is read now goes to at once; None where it is kept."""


class _PacedReads(asyncio.BufferedProtocol):
    """Stands before a connection's protocol while that is read as the other side takes.

    No more is read than `most`, nor than seven eighths of what the other side's kernel has room for, as that
    counts more than bytes. So a read is written at once; of one that is not, all is kept until its last byte
    is taken.
    """

    __slots__ = ("_intake", "_read", "most", "protocol")

    def __init__(self, protocol: asyncio.Protocol, intake: "Intake") -> None:
        self.protocol = protocol
        self.most = MOST_READ
        self._intake = intake
        self._read = 0

    def get_buffer(self, sizehint: int) -> memoryview:
        intake = self._intake
        outlet = intake.owner.outlet()
        room = 0 if outlet is None else outlet.room()
        self._read = min(max(room - room // 8, LEAST_READ), self.most, intake.turns.most)
        return _view[: self._read]

    def buffer_updated(self, nbytes: int) -> None:
        intake = self._intake
        outlet = intake.owner.outlet()
        self.protocol.data_received(bytes(_view[:nbytes]))
        if outlet is not None and nbytes >= LEAST_READ:
            intake.turns.was_taken(outlet.untaken() < LEAST_READ)
        if nbytes == self._read:
            intake.rest()

    def eof_received(self) -> bool | None:
        return self.protocol.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self.protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        self.protocol.pause_writing()

    def resume_writing(self) -> None:
        self.protocol.resume_writing()


class Resting(Protocol):
    """A connection that waits for its turn."""

    def go_on(self) -> None:
        """It has come: be read again."""


class Turns:
    """The connections of one event loop that rest: in each turn those go on that have waited for longest, as
    many as there is time for. `most` bytes of each are read at once."""

    __slots__ = ("_clock", "_coming", "_loop", "_resting", "most")

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock) -> None:
        self._loop = loop
        self._clock = clock
        self._resting: deque[Resting] = deque()
        self._coming = False  # the next turn
        self.most = MOST_READ

    def was_taken(self, whole: bool) -> None:
        """Whether the kernel took what it had room for. Where it did not it is short of memory: then less is
        read of all, as what is not taken is kept."""
        if whole:
            self.most = min(self.most + _MORE, MOST_READ)
        else:
            self.most = max(self.most // 2, LEAST_READ)

    def add(self, connection: Resting) -> None:
        """This one rests."""
        self._resting.append(connection)
        self._await_turn()

    def _await_turn(self) -> None:
        if not self._coming:
            self._coming = True
            self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._coming = False
        resting = self._resting
        end = self._clock.monotonic_ns() + _TURN_NS
        for _ in range(min(len(resting), _GO_ON_AT_ONCE)):
            resting.popleft().go_on()  # one that rests again comes behind all others
            if self._clock.monotonic_ns() >= end:
                break
        if resting:
            self._await_turn()


class Intake:
    """Whether, and how, a connection is being read: not while it is held (by back-pressure) or rests.

    `owner.go_on` is called in a later turn after `rest`, or when reading is no longer held after that; it may
    `rest` again. `strained`: it is held, or read at the other side's pace.
    """

    __slots__ = ("_owes", "_paced", "_rests", "held", "owner", "strained", "turns")

    def __init__(self, owner: Owner, turns: Turns) -> None:
        self.owner = owner
        self.turns = turns
        self._rests = False
        self._owes = False  # its turn came while it was held
        self._paced: _PacedReads | None = None
        self.held = False
        self.strained = False

    def hold(self) -> None:
        """Read no more, until `resume`."""
        transport = self.owner.transport
        if not self.held and not transport.is_closing():
            self.held = self.strained = True
            if not self._rests:
                transport.pause_reading()

    def resume(self) -> None:
        """Read on, if it does not rest."""
        if not self.held or self.owner.transport.is_closing():
            return
        self.held = False
        self.strained = self._paced is not None
        if self._owes:
            self._owes = False
            self._rests = True
            self.turns.add(self)
        elif not self._rests:
            self.owner.transport.resume_reading()

    def rest(self, most: int = MOST_READ) -> None:
        """Enough for this turn of the loop. Until the message ends no more than `most` bytes are read at
        once."""
        transport = self.owner.transport
        if transport.is_closing():
            return
        if not self._rests:
            self._rests = True
            if not self.held:
                transport.pause_reading()
            self.turns.add(self)
        if self._paced is None:
            self._paced = _PacedReads(transport.get_protocol(), self)  # type: ignore[arg-type]  # it is none yet
            transport.set_protocol(self._paced)
            self.strained = True
        if most < self._paced.most:
            self._paced.most = most

    def relax(self) -> None:
        """The message has ended: the next one may be small."""
        paced, self._paced = self._paced, None
        self.strained = self.held
        transport = self.owner.transport
        if paced is None or transport.is_closing():
            return
        reads = not self.held and not self._rests
        if reads:
            transport.pause_reading()
        transport.set_protocol(paced.protocol)
        if reads:
            transport.resume_reading()

    def go_on(self) -> None:
        """Its turn has come."""
        self._rests = False
        transport = self.owner.transport
        if transport.is_closing():
            return
        if self.held:
            self._owes = True
            return
        self.owner.go_on()
        if not self.held and not self._rests and not transport.is_closing():
            transport.resume_reading()
