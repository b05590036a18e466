"""The beat of active checks, and how late our own event loop is (L5)."""

import asyncio
from collections.abc import Callable

from balancer.clock import Clock

BEAT = 0.05  # seconds


class Beat:
    """Calls `swing` every BEAT seconds from `start` to `stop`, and sums up how late the calls were.

    The lag during a span of time is the difference between two readings of `lag_ns`. A reading includes a
    call that is overdue right now, so it does not matter what runs first after a stall.
    """

    __slots__ = ("_clock", "_due_ns", "_handle", "_lag_ns", "_loop", "_swing")

    def __init__(self, clock: Clock, loop: asyncio.AbstractEventLoop, swing: Callable[[], None]) -> None:
        self._clock = clock
        self._loop = loop
        self._swing = swing
        self._lag_ns = 0
        self._due_ns = 0
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin, unless it has begun; the first call is one BEAT from now."""
        if self._handle is None:
            self._next()

    def _next(self) -> None:
        self._due_ns = self._clock.monotonic_ns() + round(BEAT * 1e9)
        self._handle = self._loop.call_later(BEAT, self._beat)

    def stop(self) -> None:
        """Stop the calls."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def lag_ns(self) -> int:
        """The total lag since `start`, in nanoseconds."""
        return self._lag_ns + max(0, self._clock.monotonic_ns() - self._due_ns)

    def _beat(self) -> None:
        self._lag_ns = self.lag_ns()
        self._next()
        self._swing()
