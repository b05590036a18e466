"""Where requests wait while every upstream that they may go to is full: bounded, and each with a deadline.

Between an exchange that found no place and the next place that comes free in its pool. Nobody is woken by
the end of an attempt itself: that end belongs to another exchange, which has to be finished first.
"""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

import asyncio
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable
from itertools import islice
from typing import Protocol

from balancer.clock import Clock
from balancer.errors import QUEUE_FULL, QUEUE_TIMEOUT, Failure
from balancer.telemetry.columns import (
    BUCKET_BOUNDS_NS,
    POOL_QUEUE_LENGTH,
    POOL_QUEUE_REJECTED,
    POOL_QUEUE_WAIT,
    POOL_QUEUE_WAIT_SUM,
    QUEUE_REJECTIONS,
)

# How many are asked in one turn of the loop, unless everybody is. It bounds what a turn costs, and how many
# are passed over who cannot use the place that is free, as they have tried that upstream already.
_AT_ONCE = 32
_FULL = POOL_QUEUE_REJECTED + QUEUE_REJECTIONS.index("full")
_TIMEOUT = POOL_QUEUE_REJECTED + QUEUE_REJECTIONS.index("timeout")


class Waiter(Protocol):
    """One that waits. Its methods do not raise."""

    def offered(self, now_ns: int) -> bool:
        """There may be a place: take it and `leave` the queue, or say False to go on waiting."""

    def gave_up(self, failure: Failure) -> None:
        """It has left the queue without a place."""


class PlaceQueue:
    """The requests of one pool and worker that wait, in the order in which they came.

    They are served in that order until the queue has not been empty for longer than its timeout. From then
    on everybody would wait until just before or just after the deadline, so the newest goes first: some are
    served in time, and the oldest give up.
    """

    __slots__ = ("_armed", "_busy_since_ns", "_cells", "_clock", "_everybody", "_loop", "_size",
                 "_timeout_ns", "_woken", "has_place", "waiting")  # fmt: skip

    def __init__(
        self,
        size: int,
        timeout: float,
        *,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        cells: memoryview[int],
    ) -> None:
        """At most `size` wait, each for at most `timeout` seconds. `cells` is the pool's row."""
        self.waiting: OrderedDict[Waiter, int] = OrderedDict()  # since when, in ns
        self.has_place: Callable[[], bool] = _always  # set by the pool
        self._size = size
        self._timeout_ns = round(timeout * 1e9)
        self._loop = loop
        self._clock = clock
        self._cells = cells
        self._busy_since_ns = 0
        self._everybody = False  # shall be asked in the next turn, not only those whom a place may be for
        self._armed: asyncio.TimerHandle | None = None  # for the oldest one's deadline, or an earlier time
        self._woken: asyncio.Handle | None = None

    def join(self, waiter: Waiter) -> Failure | None:
        """Wait for a place; a failure where there is no room to."""
        waiting = self.waiting
        if len(waiting) >= self._size:
            self._cells[_FULL] += 1
            return QUEUE_FULL
        now = self._clock.monotonic_ns()
        if not waiting:
            self._busy_since_ns = now
        waiting[waiter] = now
        self._cells[POOL_QUEUE_LENGTH] = len(waiting)
        if self._armed is None:
            self._arm(self._timeout_ns)
        if self.has_place():  # those who wait already cannot use it: this one may
            self.wake()
        return None

    def leave(self, waiter: Waiter, served_ns: int = -1) -> None:
        """It does not wait any more: it has a place since `served_ns`, or its client has left."""
        since = self.waiting.pop(waiter)
        cells = self._cells
        cells[POOL_QUEUE_LENGTH] = len(self.waiting)
        if served_ns >= 0:
            waited = served_ns - since
            cells[POOL_QUEUE_WAIT + bisect_left(BUCKET_BOUNDS_NS, waited)] += 1
            cells[POOL_QUEUE_WAIT_SUM] += waited

    def wake(self, *, everybody: bool = False) -> None:
        """There may be a place: ask those who wait in the loop's next turn. `everybody`: also where there is
        none, as some may have nothing to wait for any more."""
        self._everybody |= everybody
        if self._woken is None:
            self._woken = self._loop.call_soon(self._serve)

    def close(self) -> None:
        """Forget the timers."""
        for handle in (self._armed, self._woken):
            if handle is not None:
                handle.cancel()
        self._armed = self._woken = None

    def _serve(self) -> None:
        self._woken = None
        now = self._clock.monotonic_ns()
        waiting = self.waiting
        overloaded = now - self._busy_since_ns > self._timeout_ns
        everybody, self._everybody = self._everybody, False
        most = len(waiting) if everybody else _AT_ONCE
        served = False
        for waiter in list(islice(reversed(waiting) if overloaded else waiting, most)):
            if not everybody and not self.has_place():
                return
            if waiter in waiting:  # serving another one may have ended it
                served |= waiter.offered(now)
        if served and waiting and self.has_place():
            self.wake()

    def _arm(self, delay_ns: int) -> None:
        self._armed = self._loop.call_later(max(delay_ns / 1e9, 0.001), self._expire)

    def _expire(self) -> None:
        # `_armed` is kept until the end: one that gives up may join anew at once, and shall not set a timer
        # of its own while older ones still wait.
        now = self._clock.monotonic_ns()
        waiting = self.waiting
        while waiting:
            oldest = next(iter(waiting))
            left = waiting[oldest] + self._timeout_ns - now
            if left > 0:
                self._arm(left)
                return
            self.leave(oldest)
            self._cells[_TIMEOUT] += 1
            oldest.gave_up(QUEUE_TIMEOUT)
        self._armed = None


def _always() -> bool:
    return True
