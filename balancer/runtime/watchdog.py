"""Tells a worker that is stuck from one that is late (L7). Pure: what it finds `Workers` acts on.

A worker sends a heartbeat from a timer of its loop, so silence means that one turn of the loop has not ended.
In that turn it may be stuck, in code that never returns, or late, as very many connections have something for
it to do. One that is late goes on counting in its page of the stats segment; one that is stuck does not.

    well ---(STACK_TICKS of silence)---> SILENT: it is asked for its stack
    SILENT ---(SILENT_TICKS, and counting)---> LATE: it is left alone
    SILENT, LATE ---(SILENT_TICKS, and nothing counted for STILL_TICKS; or MOST_TICKS)---> STUCK
    any ---(heard)---> well
"""

from collections.abc import Callable
from enum import Enum, auto

# In ticks of `slot.TICK` (0.25 s), not in time: when the supervisor itself was stopped for a while, one tick
# has passed, and no worker is blamed for it.
HEARTBEAT_TICKS = 4
STACK_TICKS = 20  # of silence, after which it is asked what it is doing
SILENT_TICKS = 40  # of silence, after which it may be stuck
STILL_TICKS = 16  # without anything counted: no single call of ours takes 4 s
MOST_TICKS = 240  # of silence, after which being late is no better than being stuck
STARTING_TICKS = 120  # of silence, for one that has never been ready: it counts nothing yet


class Finding(Enum):
    """What a tick has shown; each is found once for each silence."""

    NOTHING = auto()
    SILENT = auto()  # it shall tell its stack
    LATE = auto()  # silent for as long as one that is stuck, but at work
    STUCK = auto()


class Watchdog:
    """Watches one incarnation. `progress` returns a number that is another one when the worker has counted
    anything; it is called only while the worker is silent."""

    __slots__ = ("_found", "_mark", "_progress", "_silent", "_still", "ready")

    def __init__(self, progress: Callable[[], int]) -> None:
        self._progress = progress
        self._silent = 0
        self._still = 0
        self._mark = 0
        self._found = Finding.NOTHING
        self.ready = False

    @property
    def is_well(self) -> bool:
        """Whether it has been heard lately."""
        return self._silent <= 2 * HEARTBEAT_TICKS

    def heard(self) -> None:
        """The worker has said something."""
        self._silent = self._still = 0
        self._found = Finding.NOTHING

    def tick(self) -> Finding:
        """A quarter of a second has passed; what is new."""
        self._silent += 1
        finding = self._look()
        if finding is self._found or self._found is Finding.STUCK:
            return Finding.NOTHING
        self._found = finding
        return finding

    def _look(self) -> Finding:
        silent = self._silent
        if not self.ready:
            return Finding.STUCK if silent >= STARTING_TICKS else Finding.NOTHING
        if silent < STACK_TICKS:
            return Finding.NOTHING
        mark = self._progress()
        self._still = self._still + 1 if mark == self._mark else 0
        self._mark = mark
        if silent < SILENT_TICKS:
            return Finding.SILENT
        return Finding.STUCK if self._still >= STILL_TICKS or silent >= MOST_TICKS else Finding.LATE
