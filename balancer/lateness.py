"""What a worker does about its own lateness (L0): it reads before it judges, and gives back time.

While one turn of the event loop takes long, answers, connects and requests stand unread in the kernel, and
deadlines pass. When it is over, timers run before anything is read. So two rules hold for deadlines:

* It is judged only when everything that was readable has been read since it was found to have passed
  (`look_first`).
* Where the sweep is late, the time since the one before is given back to those who wait (`Lateness`).
"""

import asyncio
from collections.abc import Callable
from typing import TypeVarTuple

Ts = TypeVarTuple("Ts")

SWEEP = 0.25  # seconds between two sweeps
# Turns of the loop between a deadline and its judgement. What is readable is read in the first two; a dial
# that has connected ends up to three later, as it goes on by tasks and futures. The rest is for what follows.
TURNS = 8
LATE_NS = 50_000_000  # less is given back to nobody: limits are coarser than that
MOST_OWED_NS = 60_000_000_000
_SWEEP_NS = round(SWEEP * 1e9)


def look_first(loop: asyncio.AbstractEventLoop, judge: Callable[[*Ts], object], *args: *Ts) -> None:
    """Call `judge` in TURNS turns of the loop. It must look again whether there is anything to judge."""
    _turn(loop, TURNS, judge, args)


def _turn(
    loop: asyncio.AbstractEventLoop, left: int, judge: Callable[[*Ts], object], args: tuple[*Ts]
) -> None:
    if left:
        loop.call_soon(_turn, loop, left - 1, judge, args)
    else:
        judge(*args)


class Lateness:
    """How much of its lateness a worker gives back to those who wait.

    A loop that is late all the time must not put off deadlines for ever: what is given back beyond
    MOST_OWED_NS has to be earned by time that was kept. So in the long run no limit lasts more than twice as
    long.
    """

    __slots__ = ("_left_ns",)

    def __init__(self) -> None:
        self._left_ns = MOST_OWED_NS

    def swept(self, late_ns: int) -> int:
        """The sweep is late by `late_ns`: by how much deadlines move. Where it is late, all the time since
        the one before may have gone in long turns; where it is not, that time was kept."""
        if late_ns < LATE_NS:
            self._left_ns = min(self._left_ns + _SWEEP_NS, MOST_OWED_NS)
            return 0
        return self._spend(late_ns + _SWEEP_NS)

    def looked(self, took_ns: int) -> bool:
        """A look took so long: whether it is as if there had been none."""
        return took_ns >= LATE_NS and self._spend(took_ns) > 0

    def _spend(self, late_ns: int) -> int:
        given = min(late_ns, self._left_ns)
        self._left_ns -= given
        return given
