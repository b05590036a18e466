"""Injected time (L0): the only module of the data plane that reads the system's clocks.

Everything that needs time takes a `Clock`; tests pass one that they advance by hand.
"""

import time
from collections.abc import Hashable
from typing import Final, Protocol

_MOST_KEYS: Final = 1024


class Clock(Protocol):
    """The source of time. Use `monotonic_ns` for durations and `wall` for timestamps."""

    def monotonic_ns(self) -> int:
        """Nanoseconds of a clock that never goes backwards; only differences are meaningful."""

    def wall(self) -> float:
        """Seconds since the epoch, UTC."""


class SystemClock:
    """The machine's clocks."""

    __slots__ = ()

    # Bound directly to the C functions: the request path reads the clock a few times per exchange.
    monotonic_ns = staticmethod(time.monotonic_ns)
    wall = staticmethod(time.time)


class Seldom:
    """Limits messages to one per key every `every` seconds."""

    __slots__ = ("_again_ns", "_clock", "_every_ns")

    def __init__(self, clock: Clock, every: float) -> None:
        self._clock = clock
        self._every_ns = round(every * 1e9)
        self._again_ns: dict[Hashable, int] = {}

    def may(self, key: Hashable) -> bool:
        """Whether a message for `key` may be sent now. If so, the next `every` seconds return False."""
        now = self._clock.monotonic_ns()
        if now < self._again_ns.get(key, 0):
            return False
        if len(self._again_ns) >= _MOST_KEYS:
            self._again_ns.clear()
        self._again_ns[key] = now + self._every_ns
        return True
