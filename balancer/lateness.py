"""How a worker corrects for its own lateness (L0): it reads before it enforces deadlines, and extends them.

While one turn of the event loop takes long, responses, connects and requests wait unread in the kernel, and
deadlines pass. After that turn, timers run before anything is read. So two rules hold for deadlines:

* A deadline that has passed is enforced only after everything readable has been read (`look_first`).
* If a sweep is late, pending deadlines are extended by the time since the previous sweep (`Lateness`).
"""

import asyncio
from collections.abc import Callable
from typing import Final, TypeVarTuple

Ts = TypeVarTuple("Ts")

SWEEP: Final = 0.25  # seconds between two sweeps
# Turns of the loop between finding a deadline passed and enforcing it. Readable data is read in the first
# two. A dial that has connected completes up to two turns later, through its future. The rest is for what
# follows from these.
TURNS: Final = 8
LATE_NS: Final = 50_000_000  # less lateness is ignored: deadlines are coarser than that
MOST_OWED_NS: Final = 60_000_000_000
_SWEEP_NS: Final = round(SWEEP * 1e9)


def look_first(loop: asyncio.AbstractEventLoop, judge: Callable[[*Ts], object], *args: *Ts) -> None:
    """Call `judge` after TURNS turns of the loop. It must check the deadline again."""
    _turn(loop, TURNS, judge, args)


def _turn(
    loop: asyncio.AbstractEventLoop, left: int, judge: Callable[[*Ts], object], args: tuple[*Ts]
) -> None:
    if left:
        loop.call_soon(_turn, loop, left - 1, judge, args)
    else:
        judge(*args)


class Lateness:
    """How far a worker extends deadlines for its own lateness.

    A loop that is always late must not postpone deadlines for ever: extensions are limited to a credit of at
    most MOST_OWED_NS, which sweeps on time refill. So in the long run no time limit more than doubles.
    """

    __slots__ = ("_left_ns",)

    def __init__(self) -> None:
        self._left_ns = MOST_OWED_NS

    def swept(self, late_ns: int) -> int:
        """Returns by how much to move deadlines after a sweep that was late by `late_ns`. If it was late, all
        the time since the previous sweep may have been spent in long turns; if not, that time is credited."""
        if late_ns < LATE_NS:
            self._left_ns = min(self._left_ns + _SWEEP_NS, MOST_OWED_NS)
            return 0
        return self._spend(late_ns + _SWEEP_NS)

    def looked(self, took_ns: int) -> bool:
        """Whether a check that took `took_ns` was itself late, so that the next sweep must repeat it."""
        return took_ns >= LATE_NS and self._spend(took_ns) > 0

    def _spend(self, late_ns: int) -> int:
        given = min(late_ns, self._left_ns)
        self._left_ns -= given
        return given
