"""How late our own event loop is (L4): a check that times out because we were late says nothing."""

import asyncio

from balancer.clock import Clock

TICK = 0.05  # seconds between two looks


class LoopLag:
    """Adds up how late a timer fires that should fire every TICK.

    `total_ns` only grows; the lag during a span of time is the difference of two readings. A reading takes
    in a tick that is overdue right now, so it does not matter whose timer fires first after a stall.
    """

    __slots__ = ("_clock", "_due_ns", "_handle", "_loop", "_total_ns")

    def __init__(self, clock: Clock, loop: asyncio.AbstractEventLoop) -> None:
        self._clock = clock
        self._loop = loop
        self._total_ns = 0
        self._due_ns = 0
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Look at the loop from now on."""
        self._arm()

    def stop(self) -> None:
        """Look no more."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def total_ns(self) -> int:
        """All the lag so far, in nanoseconds."""
        return self._total_ns + max(0, self._clock.monotonic_ns() - self._due_ns)

    def _arm(self) -> None:
        self._due_ns = self._clock.monotonic_ns() + round(TICK * 1e9)
        self._handle = self._loop.call_later(TICK, self._tick)

    def _tick(self) -> None:
        self._total_ns = self.total_ns()
        self._arm()
