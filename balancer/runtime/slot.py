"""One worker slot (L7): its listening socket outlives the incarnations of workers that serve it."""

from collections.abc import Callable
from enum import Enum

from balancer.runtime.generation import Generation, Process
from balancer.runtime.watchdog import Watchdog

GOOD_LIFE = 60.0
FIRST_DELAY = 0.5
MAX_DELAY = 30.0
TICK = 0.25


class Life:
    """One incarnation: its page of the stats segment, its process once started, its watchdog, and what it was
    made from."""

    __slots__ = ("drained", "generation", "page", "process", "watchdog")

    process: Process

    def __init__(self, generation: Generation, page: int, watchdog: Watchdog) -> None:
        self.generation = generation
        self.page = page
        self.watchdog = watchdog
        self.drained = False  # it has said its last words


class Renewal:
    """A successor that is to replace the worker of a slot while that one serves. `done` is called once: with
    "" when the successor serves, or with the reason if it cannot. `life` is None until it could be
    started."""

    __slots__ = ("done", "generation", "life")

    def __init__(self, generation: Generation, done: Callable[[str], None]) -> None:
        self.generation = generation
        self.done = done
        self.life: Life | None = None


class Backoff:
    """The delay before a replacement: 0 s, then 0.5 s doubling to 30 s; a minute of being ready resets it."""

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
    """The phase of a slot's life cycle."""

    UNUSED = "not in use"  # there are fewer workers now; others accept on its socket
    EMPTY = "waiting to be started"
    STARTING = "starting"
    READY = "ready"


class Slot:
    """The state of one slot. All times are seconds on a monotonic clock, passed by the caller."""

    __slots__ = (
        "_backoff",
        "adopted_by",
        "cpu_seconds",
        "down_since",
        "fatal",
        "incarnation",
        "life",
        "number",
        "ready_at",
        "renewal",
        "renewals",
        "restart_at",
        "state",
    )

    def __init__(self, number: int) -> None:
        self.number = number
        self.incarnation = 0  # how many it has had
        self.renewals = 0  # how many of them were planned, after the first one
        self.renewal: Renewal | None = None  # that is under way
        self.state = SlotState.EMPTY
        self.life: Life | None = None  # the incarnation that serves it, or will once it is ready
        self.ready_at = 0.0
        self.restart_at = 0.0
        self.down_since: float | None = None  # since when it is not served; None while ready, or before start
        self.adopted_by: int | None = None  # the slot whose worker accepts for this one
        self.fatal: str | None = None  # the start-up error last logged; None again once ready
        self.cpu_seconds = 0.0  # of ended incarnations
        self._backoff = Backoff()

    @property
    def restarts(self) -> int:
        """Incarnations after the first that were not planned."""
        return max(0, self.incarnation - 1 - self.renewals)

    def started(self, life: Life) -> None:
        """A new incarnation is running."""
        self.life = life
        self.state = SlotState.STARTING

    def became_ready(self, now: float) -> None:
        """It accepts clients."""
        assert self.life is not None
        self.life.watchdog.ready = True
        self.state = SlotState.READY
        self.ready_at = now
        self.down_since = None
        self.fatal = None

    def renewed(self, life: Life, now: float) -> Life | None:
        """Its renewal serves; returns its predecessor, if there is one."""
        before = self.life
        self.renewal = None
        self.renewals += before is not None or (self.state is SlotState.UNUSED and self.incarnation > 0)
        self.incarnation += 1
        self.life = life
        self.became_ready(now)
        return before

    def unused(self) -> Life | None:
        """It is not needed any more; returns its worker."""
        before, self.life = self.life, None
        self.state = SlotState.UNUSED
        self.down_since = None
        return before

    def vacated(self, now: float) -> float:
        """Its incarnation has ended or was superseded. Returns the delay before the next one starts."""
        good_life = now - self.ready_at if self.state is SlotState.READY else 0.0
        delay = self._backoff.ended(good_life)
        self.state = SlotState.EMPTY
        self.life = None
        self.restart_at = now + delay
        if self.down_since is None:
            self.down_since = now
        return delay

    def is_due(self, now: float) -> bool:
        """Whether to start the next incarnation now."""
        return self.state is SlotState.EMPTY and now >= self.restart_at

    def is_lingering(self, now: float, patience: float) -> bool:
        """Whether clients have waited in its accept queue for longer than `patience` seconds, or would have
        to wait for good."""
        if self.adopted_by is not None:
            return False
        if self.state is SlotState.UNUSED:
            return True
        return self.down_since is not None and now - self.down_since > patience
