"""One worker slot (L6): its listening socket outlives the incarnations of workers that serve it."""

from enum import Enum
from typing import Protocol

from balancer.runtime.channel import Message

GOOD_LIFE = 60.0
FIRST_DELAY = 0.5
MAX_DELAY = 30.0
# Ticks are 0.25 s. Silence is counted in ticks, not in time: when the supervisor itself was stopped for a
# while, one tick has passed, and no worker is killed for it.
TICK = 0.25
SILENT_TICKS = 40
STARTING_TICKS = 120


class Process(Protocol):
    """What a slot needs of its worker process."""

    pid: int

    def send(self, message: Message) -> bool:
        """Queue a message."""

    def kill(self) -> None:
        """End it at once."""


class Backoff:
    """The wait before a replacement: 0 s, then 0.5 s doubling to 30 s; a minute of good life resets it."""

    __slots__ = ("_failures",)

    def __init__(self) -> None:
        self._failures = 0

    def ended(self, good_life: float) -> float:
        """The delay after an incarnation that was ready for `good_life` seconds (0.0: never)."""
        if good_life >= GOOD_LIFE:
            self._failures = 0
        delay = 0.0 if not self._failures else min(FIRST_DELAY * 2 ** (self._failures - 1), MAX_DELAY)
        self._failures = min(self._failures + 1, 16)
        return delay


class SlotState(Enum):
    """Where a slot is in its circle."""

    EMPTY = "waiting to be started"
    STARTING = "starting"
    READY = "ready"


class Slot:
    """The state of one slot. All times are seconds of a monotonic clock, given by the caller."""

    __slots__ = (
        "_backoff",
        "_silent",
        "adopted_by",
        "cpu_seconds",
        "down_since",
        "fatal",
        "incarnation",
        "number",
        "page",
        "process",
        "ready_at",
        "restart_at",
        "state",
    )

    def __init__(self, number: int) -> None:
        self.number = number
        self.incarnation = 0  # how many lives it had
        self.state = SlotState.EMPTY
        self.process: Process | None = None
        self.page = 0
        self.ready_at = 0.0
        self.restart_at = 0.0
        self.down_since: float | None = None  # since when nobody serves it; None while ready, or before start
        self.adopted_by: int | None = None  # the slot whose worker accepts for this one
        self.fatal: str | None = None  # the start-up error last logged; None again once ready
        self.cpu_seconds = 0.0  # of ended incarnations
        self._backoff = Backoff()
        self._silent = 0

    @property
    def restarts(self) -> int:
        """Incarnations after the first."""
        return max(0, self.incarnation - 1)

    def started(self, process: Process, page: int) -> None:
        """A new incarnation runs, and owns `page` of the segment."""
        self.process = process
        self.page = page
        self.state = SlotState.STARTING
        self._silent = 0

    def heard(self) -> None:
        """It has said something."""
        self._silent = 0

    def became_ready(self, now: float) -> None:
        """It accepts clients."""
        self.state = SlotState.READY
        self.ready_at = now
        self.down_since = None
        self.fatal = None

    def ended(self, now: float, cpu_seconds: float) -> float:
        """Its process is gone. Gives the delay after which the next one shall start."""
        good_life = now - self.ready_at if self.state is SlotState.READY else 0.0
        delay = self._backoff.ended(good_life)
        self.state = SlotState.EMPTY
        self.process = None
        self.cpu_seconds += cpu_seconds
        self.restart_at = now + delay
        if self.down_since is None:
            self.down_since = now
        return delay

    def is_due(self, now: float) -> bool:
        """Whether the next incarnation shall start now."""
        return self.state is SlotState.EMPTY and now >= self.restart_at

    def is_lingering(self, now: float, patience: float) -> bool:
        """Whether clients have waited in its accept queue for longer than `patience` seconds."""
        return self.adopted_by is None and self.down_since is not None and now - self.down_since > patience

    def tick_is_silent(self) -> bool:
        """Count one tick; True on the one at which the worker has been silent for too long."""
        if self.process is None:
            return False
        self._silent += 1
        return self._silent == (SILENT_TICKS if self.state is SlotState.READY else STARTING_TICKS)
