"""When a pool's upstreams are looked at, and what of other workers counts."""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

from bisect import bisect_left

from balancer.pools.adaptive_limits import AdaptiveLimits
from balancer.pools.concurrency_limit import ConcurrencyBounds
from balancer.telemetry.columns import (
    BUCKET_BOUNDS_NS,
    CELLS_PER_ROW,
    UPSTREAM_FIRST_BYTE,
    UPSTREAM_FIRST_BYTE_SUM,
    UPSTREAM_INFLIGHT,
    UPSTREAM_STREAMING,
)
from balancer.upstreams.upstream import Upstream
from tests.fakes.loop import FakeClock, FakeLoop


def _cells() -> memoryview[int]:
    return memoryview(bytearray(CELLS_PER_ROW * 8)).cast("q")


class Pool:
    """One upstream, another worker's row of it, and the limits that look at both."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.loop = FakeLoop(self.clock)  # type: ignore[abstract]  # it has what is used, not all of asyncio
        self.upstream = Upstream("app1:8000", "10.0.0.1", 8000, 1, _cells(), 1)
        self.others = _cells()
        self.limits = AdaptiveLimits(
            ConcurrencyBounds(1, 1000), loop=self.loop, clock=self.clock, rows=lambda row: [self.others]
        )
        self.limits.rebuild([self.upstream], [self.upstream])

    def has(self, inflight: int) -> None:
        """This worker has so many requests there."""
        self.upstream.inflight = self.upstream.cells[UPSTREAM_INFLIGHT] = inflight

    def answer(self, count: int, seconds: float) -> None:
        """This worker gets so many answers, each after so long."""
        nanoseconds = round(seconds * 1e9)
        self.upstream.cells[UPSTREAM_FIRST_BYTE + bisect_left(BUCKET_BOUNDS_NS, nanoseconds)] += count
        self.upstream.cells[UPSTREAM_FIRST_BYTE_SUM] += count * nanoseconds

    def passes(self, seconds: float) -> None:
        """Time passes."""
        self.clock.advance(seconds)
        self.loop.settle()


def test_counts_of_another_worker_that_do_not_fit_together_are_no_error() -> None:
    """While the page of a worker that has ended is cleared, it may seem to have more streams than requests;
    that the answers take longer than usual in this moment must not matter."""
    pool = Pool()
    pool.has(10)
    pool.limits.sweep()
    for _ in range(40):
        pool.answer(10, 0.01)
        pool.passes(0.05)
    pool.others[UPSTREAM_STREAMING] = 500
    for _ in range(40):
        pool.answer(10, 0.2)
        pool.passes(0.05)
    assert pool.upstream.concurrency_limit == 0
    pool.limits.close()


def test_between_sweeps_only_busy_upstreams_are_looked_at() -> None:
    pool = Pool()
    pool.has(1)
    pool.limits.sweep()
    assert pool.loop.armed_timers == 0
    pool.has(2)
    pool.limits.sweep()
    assert pool.loop.armed_timers == 1
    pool.has(0)
    for _ in range(5):  # it may be busy again soon
        pool.limits.sweep()
    pool.passes(0.1)
    assert pool.loop.armed_timers == 0
