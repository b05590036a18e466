"""Distinguishes a stuck worker from a late one (L7). Pure: `Workers` acts on its findings.

A worker sends heartbeats from a timer of its loop, so silence means that one turn of the loop has not ended.
In that turn it may be stuck, in code that never returns, or late, because very many connections have work for
it. A late worker goes on counting in its page of the stats segment; a stuck one does not.

    well ---(STACK_TICKS of silence)---> SILENT: it is asked for its stack
    SILENT ---(SILENT_TICKS, and counting)---> LATE: it is left alone
    SILENT, LATE ---(SILENT_TICKS, and nothing counted for STILL_TICKS; or MOST_TICKS)---> STUCK
    any ---(heard)---> well
"""

from collections.abc import Callable
from enum import Enum, auto

# In ticks of `slot.TICK` (0.25 s), not in time: if the supervisor itself was stopped for a while, only one
# tick has passed, and no worker is blamed for it.
HEARTBEAT_TICKS = 4
STACK_TICKS = 20  # of silence, after which it is asked for its stack
SILENT_TICKS = 40  # of silence, after which it may be stuck
STILL_TICKS = 16  # without any change in its counts: no single call of ours takes 4 s
MOST_TICKS = 240  # of silence, after which a late worker counts as stuck
STARTING_TICKS = 120  # of silence, for a worker that has never been ready: it counts nothing yet


class Finding(Enum):
    """The result of a tick; each is returned once per silence."""

    NOTHING = auto()
    SILENT = auto()  # ask it for its stack
    LATE = auto()  # silent for as long as a stuck one, but working
    STUCK = auto()


class Watchdog:
    """Watches one incarnation. `progress` returns a number that changes when the worker has counted anything;
    it is called only while the worker is silent."""

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
        """Whether the last message is recent."""
        return self._silent <= 2 * HEARTBEAT_TICKS

    def heard(self) -> None:
        """The worker has sent a message."""
        self._silent = self._still = 0
        self._found = Finding.NOTHING

    def tick(self) -> Finding:
        """A tick has passed; returns a new finding, or NOTHING."""
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
