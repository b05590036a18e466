"""Bounds the time that reading one connection takes in one turn of the event loop, and the memory (L3).

libuv reads a socket up to 32 times in a row while each read fills its buffer, and one read may hold a
thousand protocol pieces. So after a large read, or that many pieces, a connection rests: reading goes on in
the next turn, after all others had theirs. From then until its message has ended it is read no faster than
the other side takes data, because what the other side does not take, or we cannot use yet, stays in memory.
"""

import asyncio
from collections import deque
from typing import Final, Protocol

from balancer.clock import Clock
from balancer.connections.roles import Outlet

# Bytes. uvloop reads up to MOST_READ at once. After a read of LARGE_READ a connection rests, and is read into
# our own buffer from then on: that costs 3,000 instructions a read, which is much for a small message and
# negligible for a large one. A chunked body is then read LARGE_READ at a time: one turn can decode as much.
MOST_READ: Final = 256_000
LARGE_READ: Final = 64 * 1024
LEAST_READ: Final = 16 * 1024

# Limits per turn for all resting connections: at most this many go on, and none after this time. Each of them
# is also read once.
_GO_ON_AT_ONCE: Final = 8
_TURN_NS: Final = 500_000
_MORE: Final = 4096  # bytes by which the read size grows after each read that was taken

# Shared by all connections: what has been read is copied at once.
_buffer: Final = bytearray(MOST_READ)
_view: Final = memoryview(_buffer)


class Owner(Protocol):
    """The protocol whose connection is read. It must not raise."""

    transport: asyncio.Transport

    def go_on(self) -> None:
        """The next turn has come: process what was left of the last read."""

    def outlet(self) -> Outlet | None:
        """Where data read now is written at once; None if it is kept."""


class _Closed(asyncio.Transport):
    """The transport of a connection that is gone."""

    __slots__ = ()

    def is_closing(self) -> bool:
        return True


class _Gone:
    """The owner of an intake whose connection is gone."""

    __slots__ = ("transport",)

    def __init__(self) -> None:
        self.transport: asyncio.Transport = _Closed()

    def go_on(self) -> None:
        return

    def outlet(self) -> Outlet | None:
        return None


_gone: Final = _Gone()


class _PacedReads(asyncio.BufferedProtocol):
    """Replaces a connection's protocol while it is read at the pace of the other side.

    A read is at most `most` bytes, and at most seven eighths of the room in the other side's kernel, which
    counts overhead too. So all of it can be written at once; if not, all of it is kept until its last byte is
    taken.
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
        """Its turn has come: read it again."""


class Turns:
    """The resting connections of one event loop: in each turn those that have waited longest go on, as many
    as there is time for. `most`: the read size of each, in bytes."""

    __slots__ = ("_clock", "_coming", "_resting", "loop", "most")

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock) -> None:
        self.loop = loop
        self._clock = clock
        self._resting: deque[Resting] = deque()
        self._coming = False  # the next turn is scheduled
        self.most = MOST_READ

    def was_taken(self, whole: bool) -> None:
        """`whole`: the kernel took all that it had room for. If not, it is short of memory: read less from
        all connections then, because what is not taken stays in our memory."""
        if whole:
            self.most = min(self.most + _MORE, MOST_READ)
        else:
            self.most = max(self.most // 2, LEAST_READ)

    def add(self, connection: Resting) -> None:
        """Let this connection rest until a later turn."""
        self._resting.append(connection)
        self._await_turn()

    def _await_turn(self) -> None:
        if not self._coming:
            self._coming = True
            self.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._coming = False
        resting = self._resting
        end = self._clock.monotonic_ns() + _TURN_NS
        for _ in range(min(len(resting), _GO_ON_AT_ONCE)):
            resting.popleft().go_on()  # if it rests again, it goes to the end of the queue
            if self._clock.monotonic_ns() >= end:
                break
        if resting:
            self._await_turn()


class Intake:
    """Whether and how a connection is being read: not while it is held (by back-pressure) or rests.

    After `rest`, `owner.go_on` is called in a later turn, or once reading is no longer held; it may `rest`
    again. `strained`: it is held, or read at the other side's pace.
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
        """Stop reading until `resume`."""
        transport = self.owner.transport
        if not self.held and not transport.is_closing():
            self.held = self.strained = True
            if not self._rests:
                transport.pause_reading()

    def resume(self) -> None:
        """Continue reading, unless it rests."""
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
        """Read no more in this turn of the loop, and at most `most` bytes at once until the message ends."""
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
        """The message has ended: read normally again, as the next one may be small."""
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

    def leave(self) -> None:
        """The connection is gone: further calls do nothing. This breaks the reference cycles; else only the
        garbage collector would free the owner, and it stops a worker for 20 to 80 ms when thousands of
        connections to a pool that hangs have been closed."""
        self.owner = _gone
        self._paced = None

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
