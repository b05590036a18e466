"""What a worker does about its own lateness (L0): it reads before it judges, and gives back time.

While one turn of the event loop takes long, answers, connects and requests stand unread in the kernel, and
deadlines pass. When it is over, timers run before anything is read. So two rules hold for deadlines:

* It is judged only when everything that was readable has been read since it was found to have passed
  (`look_first`).
* The time that the sweep was late is given back to those who wait (`Lateness.given_back`).
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

    def given_back(self, late_ns: int) -> int:
        """By how much deadlines move, as the sweep is late by `late_ns`."""
        if late_ns < LATE_NS:
            self._left_ns = min(self._left_ns + round(SWEEP * 1e9), MOST_OWED_NS)
            return 0
        given = min(late_ns, self._left_ns)
        self._left_ns -= given
        return given
