"""Adaptive limits in a pool: what counts towards them, how a cap combines with them, and no lost slots."""

import pytest

from balancer.errors import Outcome
from balancer.limits.adaptive_limits import AdaptiveLimits
from balancer.limits.concurrency_limit import ConcurrencyBounds
from balancer.policies.least_connections import LeastConnections
from balancer.pools.parts import PoolParts
from balancer.pools.picker import Picker
from balancer.pools.pool import UpstreamPool
from balancer.telemetry.columns import UPSTREAM_INFLIGHT_LIMIT, UPSTREAM_STREAMING
from tests.fakes.loop import FakeClock, FakeLoop
from tests.pools.test_full import SPEC, context, row, upstream


def raises(error: Exception) -> None:
    raise error


def make(*limits: int) -> UpstreamPool:
    """A pool of upstreams with these adaptive limits."""
    clock = FakeClock()
    adaptive = AdaptiveLimits(
        ConcurrencyBounds(1, 100),
        loop=FakeLoop(clock),  # type: ignore[abstract]  # it has what is used, not all of asyncio
        clock=clock,
        rows=lambda row: [],
    )
    picker = Picker("default", LeastConnections(context()), LeastConnections(context()), raises)
    pool = UpstreamPool(SPEC, picker, row(), 0, PoolParts(adaptive=adaptive))
    pool.set_members([upstream(number) for number in range(1, len(limits) + 1)])
    for one, limit in zip(pool.upstreams, limits, strict=True):
        one.concurrency_limit = limit
    adaptive.changed(pool.upstreams)
    return pool


@pytest.mark.parametrize(
    ("cap", "adaptive", "streaming", "may_have", "shown"),
    [
        pytest.param(0, 0, 3, 0, 0, id="no limit"),
        pytest.param(5, 0, 3, 5, 5, id="a cap counts streams"),
        pytest.param(0, 4, 0, 4, 4, id="adaptive"),
        pytest.param(0, 4, 3, 7, 4, id="an adaptive limit does not count streams"),
        pytest.param(5, 4, 0, 4, 4, id="the lower of both"),
        pytest.param(5, 4, 3, 5, 4, id="the lower of both, with streams"),
        pytest.param(5, 9, 0, 5, 5, id="the cap is the lower one"),
    ],
)
def test_which_limit_is_in_force(cap: int, adaptive: int, streaming: int, may_have: int, shown: int) -> None:
    one = upstream(1, cap)
    one.concurrency_limit = adaptive
    one.streaming = streaming
    assert (one.reckon_limit(), one.inflight_limit) == (shown, may_have)


def test_a_slot_is_free_for_another_request_once_a_response_has_begun() -> None:
    pool = make(1)
    (one,) = pool.upstreams
    assert one.cells[UPSTREAM_INFLIGHT_LIMIT] == 1
    assert pool.choose(0, (), 0) is one
    assert pool.choose(0, (), 0) is None
    assert pool.is_full(())
    pool.stream_began(one)
    assert one.cells[UPSTREAM_STREAMING] == 1
    assert not pool.is_full(())
    assert pool.choose(0, (), 0) is one
    assert pool.choose(0, (), 0) is None
    pool.stream_ended(one)
    pool.finished(one, 1, Outcome.SUCCESS)
    assert (one.inflight, one.streaming, one.cells[UPSTREAM_STREAMING]) == (1, 0, 0)
    assert pool.choose(0, (), 0) is None
    pool.finished(one, 1, Outcome.SUCCESS)
    assert pool.choose(0, (), 0) is one


def test_overflow_of_a_full_upstream_goes_to_one_without_a_limit() -> None:
    pool = make(1, 0)
    chosen = [pool.choose(0, (), 0) for _ in range(6)]
    assert chosen.count(pool.upstreams[0]) == 1
    assert chosen.count(pool.upstreams[1]) == 5
    assert not pool.is_full(())


def test_a_limit_that_was_removed_blocks_nothing() -> None:
    pool = make(1)
    (one,) = pool.upstreams
    pool.choose(0, (), 0)
    one.concurrency_limit = 0
    assert pool.adaptive is not None
    pool.adaptive.changed(pool.upstreams)
    assert pool.has_slot()
    assert one.cells[UPSTREAM_INFLIGHT_LIMIT] == 0
    assert [pool.choose(0, (), 0) for _ in range(3)] == [one] * 3
