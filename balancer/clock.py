"""Injected time (L0): the only module of the data plane that reads the system's clocks.

Everything that needs time takes a `Clock`; tests hand in one that they move by hand.
"""

import time
from typing import Protocol


class Clock(Protocol):
    """Where time comes from. Durations are taken from `monotonic_ns`, timestamps from `wall`."""

    def monotonic_ns(self) -> int:
        """Nanoseconds of a clock that never goes back; only differences mean anything."""

    def wall(self) -> float:
        """Seconds since the epoch, UTC."""


class SystemClock:
    """The machine's clocks."""

    __slots__ = ()

    # Bound straight to the C functions: the request path reads the clock a few times per exchange.
    monotonic_ns = staticmethod(time.monotonic_ns)
    wall = staticmethod(time.time)
