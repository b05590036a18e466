"""Published queueing algorithms, played in place of the product's, in front of a limit set by hand.

They judge by the waiting time in their queue. Without a limit a proxy has no queue: requests wait at the app,
where waiting cannot be told from work, and none can be dropped. So these algorithms find no limit; they
decide which request is served once there is one.
"""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

from collections.abc import Callable
from math import sqrt
from random import Random
from typing import TypeAlias

from balancer.errors import QUEUE_FULL, QUEUE_TIMEOUT, QUEUE_WOULD_TIME_OUT, Failure
from balancer.queueing.queue import SlotQueue, Waiter
from tests.sim.engine import Engine

_SIZE, _TIMEOUT = 1000, 5.0  # as the product's
_TARGET, _INTERVAL = 0.005, 0.1  # seconds; CoDel's
MakeQueue: TypeAlias = Callable[[Engine, memoryview], SlotQueue]


class Fifo(SlotQueue):
    """The oldest is served first. Every request joins, even if it could be served at once."""

    def __init__(self, engine: Engine, cells: memoryview[int]) -> None:
        super().__init__(_SIZE, _TIMEOUT, loop=engine, clock=engine, cells=cells)
        self._engine = engine
        self._scheduled = False

    def join(self, waiter: Waiter) -> Failure | None:
        if len(self.waiting) >= _SIZE:
            return QUEUE_FULL
        self.waiting[waiter] = self._engine.monotonic_ns()
        if self.has_slot():
            self.wake()
        return None

    def leave(self, waiter: Waiter, served_ns: int = -1) -> None:
        del self.waiting[waiter]

    def client_left(self, waited_ns: int, now_ns: int) -> bool:
        return False

    def wake(self, *, everybody: bool = False) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._engine.after(0.0, self._serve)

    def _serve(self) -> None:
        self._scheduled = False
        while self.waiting and self.has_slot():
            waiter = self._next(self._engine.time())
            if waiter is None or not waiter.offered(self._engine.monotonic_ns()):
                return

    def _next(self, now: float) -> Waiter | None:
        """The request to be served next."""
        return next(iter(self.waiting), None)

    def _give_up(self, waiter: Waiter) -> None:
        """Refuse it if it still waits."""
        if waiter in self.waiting:
            del self.waiting[waiter]
            waiter.gave_up(QUEUE_TIMEOUT)


class CoDel(Fifo):
    """RFC 8289: once all waits have exceeded 5 ms for 100 ms the oldest is dropped, then further ones at
    intervals that shrink with the square root of their number, until waits are shorter."""

    def __init__(self, engine: Engine, cells: memoryview[int]) -> None:
        super().__init__(engine, cells)
        self._above_at = (
            0.0  # when waits will have been too long for a whole interval; 0 while they are short
        )
        self._dropping = False
        self._drop_at = 0.0
        self._count = self._last_count = 0

    def _next(self, now: float) -> Waiter | None:
        long = self._is_long(now)
        if not self._dropping and long:
            self._drop()
            self._is_long(now)
            self._dropping = True
            since = self._count - self._last_count
            self._count = since if since > 1 and now - self._drop_at < 16 * _INTERVAL else 1
            self._last_count = self._count
            self._drop_at = now + _INTERVAL / sqrt(self._count)
        elif self._dropping:
            while long and now >= self._drop_at:
                self._drop()
                self._count += 1
                self._drop_at += _INTERVAL / sqrt(self._count)
                long = self._is_long(now)
            self._dropping = long
        return super()._next(now)

    def _is_long(self, now: float) -> bool:
        """Whether the oldest may be dropped."""
        oldest = next(iter(self.waiting.values()), None)
        if oldest is None or now - oldest / 1e9 < _TARGET or len(self.waiting) < 2:
            self._above_at = 0.0
        elif not self._above_at:
            self._above_at = now + _INTERVAL
        return 0 < self._above_at <= now

    def _drop(self) -> None:
        self._give_up(next(iter(self.waiting)))


class FacebooksCoDel(Fifo):
    """As in "Fail at Scale" (ACM Queue, 2015): a request may wait for 100 ms, or for 5 ms if the queue has
    not been empty in the last 100 ms; then the newest is served first, too."""

    def __init__(self, engine: Engine, cells: memoryview[int]) -> None:
        super().__init__(engine, cells)
        self._busy_since = 0.0

    def join(self, waiter: Waiter) -> Failure | None:
        if not self.waiting:
            self._busy_since = self._engine.time()
        failure = super().join(waiter)
        if failure is None:
            self._engine.after(_TARGET if self._is_busy() else _INTERVAL, self._give_up, waiter)
        return failure

    def _is_busy(self) -> bool:
        return self._engine.time() - self._busy_since > _INTERVAL

    def _next(self, now: float) -> Waiter | None:
        return next(reversed(self.waiting), None) if self._is_busy() else super()._next(now)


class Dagor(Fifo):
    """WeChat's DAGOR (SoCC 2018): after each second, or 2,000 requests, it checks whether they waited for
    more than 20 ms on average. If so 5 % fewer are admitted next, else 1 % more. The least important are
    refused.

    Here each request has a random importance, as users have there, and gives up after 500 ms, as tasks do
    there. Its other half, servers that tell their callers which requests they admit, needs the apps' support.
    """

    _SECONDS, _REQUESTS, _LONG = 1.0, 2000, 0.02
    _LESS, _MORE = 0.95, 1.01
    _PRIORITIES = 128
    _PATIENCE = 0.5  # seconds

    def __init__(self, engine: Engine, cells: memoryview[int]) -> None:
        super().__init__(engine, cells)
        self._random = Random(1)
        self.admitted = self._PRIORITIES  # lower priorities are admitted
        self._begin()

    def _begin(self) -> None:
        self._ends = self._engine.time() + self._SECONDS
        self._came = [0] * self._PRIORITIES
        self._served = 0
        self._waited = 0.0  # seconds, summed over the requests served

    def join(self, waiter: Waiter) -> Failure | None:
        if self._engine.time() >= self._ends or sum(self._came) >= self._REQUESTS:
            self._adjust()
        priority = self._random.randrange(self._PRIORITIES)
        self._came[priority] += 1
        if priority >= self.admitted:
            return QUEUE_WOULD_TIME_OUT
        self._engine.after(self._PATIENCE, self._give_up, waiter)
        return super().join(waiter)

    def leave(self, waiter: Waiter, served_ns: int = -1) -> None:
        if served_ns >= 0:
            self._served += 1
            self._waited += (served_ns - self.waiting[waiter]) / 1e9
        super().leave(waiter, served_ns)

    def _adjust(self) -> None:
        overloaded = self._waited > self._LONG * self._served
        wanted = sum(self._came[: self.admitted]) * (self._LESS if overloaded else self._MORE)
        if overloaded:
            while self.admitted > 1 and sum(self._came[: self.admitted]) > wanted:
                self.admitted -= 1
        else:
            while self.admitted < self._PRIORITIES and sum(self._came[: self.admitted]) < wanted:
                self.admitted += 1
        self._begin()
