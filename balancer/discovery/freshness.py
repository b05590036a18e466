"""How fresh is what a source has found (L5): what the metrics show of it."""

from typing import Final

from balancer.clock import Clock
from balancer.telemetry.samples import DiscoverySample

_NS: Final = 1e9


class Freshness:
    """The answers of one source: how many there were, and when the last good one came."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._good_ns = clock.monotonic_ns()  # before the first good one: when it began to be watched
        self._fails = False
        self._ok = 0
        self._failed = 0

    def answered(self) -> None:
        """There was a good answer."""
        self._good_ns = self._clock.monotonic_ns()
        self._fails = False
        self._ok += 1

    def failed(self) -> None:
        """There was none, or a bad one."""
        self._fails = True
        self._failed += 1

    def sample(self, pool: str, source: str) -> DiscoverySample:
        """What the metrics show: the age of what it found last, or 0 while its last answer is good."""
        stale = (self._clock.monotonic_ns() - self._good_ns) / _NS if self._fails else 0.0
        return DiscoverySample(pool, source, stale, self._ok, self._failed)
