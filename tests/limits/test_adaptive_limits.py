"""When a pool's upstreams are sampled, and which counts of other workers matter."""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

import pytest

from balancer.edges import STANDARD
from balancer.limits.adaptive_limits import AdaptiveLimits
from balancer.limits.concurrency_limit import ConcurrencyBounds
from balancer.telemetry.columns import (
    CELLS_PER_ROW,
    UPSTREAM_FIRST_BYTE,
    UPSTREAM_FIRST_BYTE_SUM,
    UPSTREAM_INFLIGHT,
    UPSTREAM_INFLIGHT_LIMIT,
    UPSTREAM_LEFT,
    UPSTREAM_STREAMING,
)
from balancer.upstreams.upstream import Upstream
from tests.fakes.loop import FakeClock, FakeLoop


def _cells() -> memoryview[int]:
    return memoryview(bytearray(CELLS_PER_ROW * 8)).cast("q")


class Pool:
    """Upstreams, another worker's row for them, and the limits that read both."""

    def __init__(self, count: int = 1, shared: bool = True) -> None:
        """`shared`: there is another worker."""
        self.clock = FakeClock()
        self.loop = FakeLoop(self.clock)  # type: ignore[abstract]  # it has what is used, not all of asyncio
        self.upstreams = [
            Upstream(f"app{number}:8000", f"10.0.{number // 250}.{number % 250}", 8000, 1, _cells(), number)
            for number in range(1, count + 1)
        ]
        self.upstream = self.upstreams[0]
        self.others = _cells()
        self.limits = AdaptiveLimits(
            ConcurrencyBounds(1, 1000),
            loop=self.loop,
            clock=self.clock,
            rows=lambda row: [self.others] if shared else [],
        )
        self.limits.rebuild(self.upstreams, self.upstreams)

    def has(self, inflight: int, upstream: Upstream | None = None) -> None:
        """This worker has `inflight` requests at `upstream`."""
        one = upstream or self.upstream
        one.inflight = one.cells[UPSTREAM_INFLIGHT] = inflight

    def answer(self, count: int, seconds: float, upstream: Upstream | None = None) -> None:
        """This worker gets `count` answers, each after `seconds`."""
        one = upstream or self.upstream
        nanoseconds = round(seconds * 1e9)
        one.answered_ns = self.clock.monotonic_ns()
        one.cells[UPSTREAM_FIRST_BYTE + STANDARD.cell(nanoseconds)] += count
        one.cells[UPSTREAM_FIRST_BYTE_SUM] += count * nanoseconds

    def is_as_usual(self) -> None:
        """For ten seconds each upstream answers 200 requests a second after 20 ms."""
        for one in self.upstreams:
            self.has(4, one)
        self.limits.sweep()
        for _ in range(200):
            for one in self.upstreams:
                self.answer(10, 0.02, one)
            self.passes(0.05)
        assert [one.concurrency_limit for one in self.upstreams] == [0] * len(self.upstreams)

    def passes(self, seconds: float) -> None:
        """Time passes."""
        self.clock.advance(seconds)
        self.loop.settle()


def test_inconsistent_counts_of_another_worker_raise_no_error() -> None:
    """While the page of an ended worker is being cleared, it may show more streams than requests. Slow
    answers at that moment must set no limit."""
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


def test_between_sweeps_only_busy_upstreams_are_sampled() -> None:
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


def test_an_upstream_is_not_sampled_while_nothing_happens_there() -> None:
    pool = Pool(300, shared=False)
    for _ in range(10):  # once each, to know where they start
        pool.passes(0.25)
        pool.limits.sweep()
    before = pool.limits.samples
    assert before == 300
    for _ in range(8):
        pool.answer(1, 0.02, pool.upstreams[7])
        pool.passes(0.25)
        pool.limits.sweep()
    assert pool.limits.samples == before + 8
    pool.limits.close()


@pytest.mark.parametrize("count", [100, 300, 1000])
def test_with_traffic_everywhere_many_upstreams_take_turns(count: int) -> None:
    """64 samples in a look, and each upstream within some 0.8 s."""
    pool = Pool(count, shared=False)
    pool.limits.sweep()
    started = pool.limits.samples
    seen: set[Upstream] = set()
    looks = round(count / 64) + 5
    for _ in range(looks):
        for one in pool.upstreams:
            pool.answer(1, 0.02, one)
        before = pool.limits.samples
        pool.passes(0.05)
        assert pool.limits.samples - before <= 64
        seen.update(one.upstream for one in pool.limits._observed if one.turn == pool.limits._looks)
    assert len(seen) == count
    assert pool.limits.samples - started <= 64 * looks
    pool.limits.close()


@pytest.mark.parametrize("count", [1, 50, 1000])
def test_a_backlog_is_found_as_soon_among_many_upstreams_as_alone(count: int) -> None:
    """All the others answer as usual, and take their turns meanwhile."""
    pool = Pool(count, shared=False)
    pool.is_as_usual()
    one = pool.upstream
    inflight = 4
    for other in pool.upstreams[1:]:
        pool.has(1, other)
    beats = 0
    while not one.concurrency_limit:
        beats += 1
        assert beats < 60
        inflight += 20
        pool.has(inflight)
        pool.answer(10, inflight / 600)
        for other in pool.upstreams[1:]:
            pool.answer(1, 0.02, other)
        pool.passes(0.05)
    assert beats == 4
    assert [other.concurrency_limit for other in pool.upstreams[1:]] == [0] * (count - 1)
    pool.limits.close()


def test_limits_of_many_upstreams_are_found_all_the_same_if_all_are_overloaded() -> None:
    """Then they take turns: each within two seconds of the first."""
    pool = Pool(300, shared=False)
    pool.is_as_usual()
    inflight = 4
    first = 0
    for beat in range(1, 100):
        inflight += 20
        for one in pool.upstreams:
            limit = one.concurrency_limit
            pool.has(limit or inflight, one)
            pool.answer(10, (limit or inflight) / (200 if limit else 600), one)
        pool.passes(0.05)
        limited = sum(one.concurrency_limit > 0 for one in pool.upstreams)
        first = first or (limited and beat)
        if limited == 300:
            assert beat - first <= 40
            break
    else:
        pytest.fail(f"{limited} of 300 are limited")
    pool.limits.close()


@pytest.mark.parametrize("rest", [0.5, 1.5, 5.0, 60.0])
def test_a_rest_between_two_bursts_of_traffic_sets_no_limit(rest: float) -> None:
    """Nothing is sampled meanwhile, and that time counts as time without traffic, not as slow answers."""
    pool = Pool(100, shared=False)
    pool.is_as_usual()
    for _ in range(5):
        for one in pool.upstreams:
            pool.has(0, one)
        for _ in range(round(rest / 0.25)):
            pool.passes(0.25)
            pool.limits.sweep()
        for one in pool.upstreams:
            pool.has(8, one)
        pool.limits.sweep()
        for _ in range(20):
            for one in pool.upstreams:
                pool.answer(10, 0.04, one)
            pool.passes(0.05)
            assert not any(one.concurrency_limit for one in pool.upstreams)
    pool.limits.close()


@pytest.mark.parametrize("overloaded", [0, 1])
def test_when_a_full_upstream_overflows_the_others_are_limited_in_the_same_sample(overloaded: int) -> None:
    """One sample later all of the overflow would have gone there."""
    pool = Pool(2)
    pool.is_as_usual()
    one, other = pool.upstreams[overloaded], pool.upstreams[1 - overloaded]
    told: list[tuple[int, int]] = []
    pool.limits.changed = lambda changed: told.append((one.concurrency_limit, other.concurrency_limit))
    pool.has(100, other)
    while not one.concurrency_limit:
        assert one.inflight < 1000
        assert not other.concurrency_limit
        pool.has(one.inflight + 20, one)
        pool.answer(10, one.inflight / 600, one)
        pool.answer(10, 0.02, other)
        pool.passes(0.05)
    assert other.concurrency_limit
    assert told == [(one.concurrency_limit, other.concurrency_limit)]
    pool.limits.close()


@pytest.mark.parametrize(
    ("inflight", "cap", "limited"),
    [
        pytest.param(100, 0, True, id="crowded"),
        pytest.param(4, 0, False, id="not crowded"),
        pytest.param(100, 500, False, id="the other worker's limit may be its part of the cap"),
    ],
)
def test_a_limit_at_another_worker_applies_here_if_this_upstream_is_crowded(
    inflight: int, cap: int, limited: bool
) -> None:
    pool = Pool()
    pool.upstream.max_inflight = cap
    pool.is_as_usual()
    pool.others[UPSTREAM_INFLIGHT_LIMIT] = 8
    pool.has(inflight)
    pool.passes(0.05)
    assert bool(pool.upstream.concurrency_limit) is limited
    pool.limits.close()


@pytest.mark.parametrize(("samples", "limited"), [(60, True), (1, False)], ids=["app late", "worker late"])
def test_answers_that_this_worker_was_too_late_to_read_are_not_wasted_work(
    samples: int, limited: bool
) -> None:
    """For three seconds many clients leave and none is answered. Either the app was busy, or this worker was
    and took only one sample."""
    pool = Pool()
    pool.is_as_usual()
    pool.has(100)
    for _ in range(samples):
        pool.upstream.cells[UPSTREAM_LEFT] += 60 // samples
        pool.passes(3.0 / samples)
    pool.upstream.cells[UPSTREAM_LEFT] += 60 // samples  # read after the stall
    pool.passes(0.05)
    assert (pool.upstream.concurrency_limit > 0) is limited
    pool.limits.close()


@pytest.mark.parametrize("every", [0.5, 2.0])
@pytest.mark.parametrize("stall", [0.1, 0.3, 0.4, 1.5])
def test_latency_caused_by_the_workers_own_lateness_sets_no_limit(stall: float, every: float) -> None:
    """The app answers each of 200 requests a second after 20 ms. Once in `every` seconds the event loop
    stalls: answers are read that much later, and requests that arrived meanwhile are sent at once. A stall
    below 350 ms is not recognised as one, and still must set no limit."""
    pool = Pool()
    pool.is_as_usual()
    for _ in range(round(10 / every)):
        for _ in range(round(every / 0.05)):
            pool.answer(10, 0.02)
            pool.has(4)
            pool.passes(0.05)
            pool.limits.sweep()
        pool.passes(stall)  # timers run before sockets are read
        pool.answer(4, stall)
        pool.has(round(200 * stall))
        pool.passes(0.02)
        pool.answer(round(200 * stall), 0.02)
        pool.has(4)
        assert pool.upstream.concurrency_limit == 0
    pool.limits.close()


@pytest.mark.parametrize(("samples", "moves"), [(60, True), (1, False)], ids=["app late", "worker late"])
def test_the_workers_own_lateness_does_not_move_a_limit(samples: int, moves: bool) -> None:
    """For three seconds a tenth of the usual number is answered, late because of the app or of the loop."""
    pool = Pool()
    pool.is_as_usual()
    inflight = 4
    while not pool.upstream.concurrency_limit:
        inflight += 20
        pool.has(inflight)
        pool.answer(10, inflight / 600)
        pool.passes(0.05)
    for _ in range(200):  # the limit settles
        limit = pool.upstream.concurrency_limit
        pool.has(limit)
        pool.answer(10, limit / 200)
        pool.passes(0.05)
    limit = pool.upstream.concurrency_limit
    assert limit
    seen = set()
    for _ in range(samples):
        pool.answer(60 // samples, 3.0)
        pool.passes(3.0 / samples)
        seen.add(pool.upstream.concurrency_limit)
    pool.answer(limit, 3.0)  # read after the stall
    pool.passes(0.05)
    seen.add(pool.upstream.concurrency_limit)
    assert (seen != {limit}) is moves
    pool.limits.close()
