"""How evenly several workers of one instance spread requests that none of them sees as a whole."""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import NamedTuple

import pytest

from balancer.errors import Outcome
from balancer.policies.base import PolicyContext
from balancer.policies.least_connections import LeastConnections
from balancer.policies.registry import build
from balancer.pools.parts import PoolParts
from balancer.pools.picker import Picker
from balancer.pools.pool import UpstreamPool
from balancer.telemetry.columns import CELLS_PER_ROW
from balancer.upstreams.upstream import Upstream
from tests.fakes.loop import FakeClock
from tests.fakes.specs import pool_spec

WORKERS = 4
SPEC = pool_spec(retry={"statuses": (), "methods": (), "replay_bytes": 0})


def row() -> memoryview[int]:
    return memoryview(bytearray(CELLS_PER_ROW * 8)).cast("q")


class Instance:
    """The same pool in each worker, in front of `size` upstreams."""

    def __init__(self, policy: str, size: int, seed: int) -> None:
        self.random = Random(seed)
        self.size = size
        self.rows = [[row() for _ in range(size)] for _ in range(WORKERS)]
        self.pools = [self._pool(policy, worker) for worker in range(WORKERS)]
        self.held = [0] * size  # by all workers

    def _pool(self, policy: str, worker: int) -> UpstreamPool:
        context = PolicyContext(Random(self.random.random()), worker, FakeClock())
        picker = Picker("default", build(policy, {}, context), LeastConnections(context), lambda error: None)
        others = [rows for number, rows in enumerate(self.rows) if number != worker]
        parts = PoolParts(remote_rows=lambda number: [rows[number] for rows in others])
        pool = UpstreamPool(SPEC, picker, row(), 0, parts)
        pool.set_members(
            [
                Upstream(f"app{number}", "10.0.0.1", 8000, 1, self.rows[worker][number], number)
                for number in range(self.size)
            ]
        )
        return pool

    def begins(self, now_ns: int) -> tuple[int, Upstream]:
        """The kernel gives a request to any worker."""
        worker = self.random.randrange(WORKERS)
        upstream = self.pools[worker].choose(0, (), now_ns)
        assert upstream is not None
        self.held[upstream.row] += 1
        return worker, upstream

    def ends(self, worker: int, upstream: Upstream) -> None:
        self.pools[worker].finished(upstream, 0, Outcome.SUCCESS)
        self.held[upstream.row] -= 1

    def above(self) -> float:
        """How many requests the busiest upstream has above the mean."""
        return max(self.held) - sum(self.held) / self.size


class Spread(NamedTuple):
    mean: float  # requests that an upstream has
    typical: float  # what the busiest has above the mean, in half of all moments
    most: float  # in 999 of 1,000 moments


def under_load(policy: str, size: int, seed: int, slow: int = 4) -> Spread:
    """12,000 requests at random times, 25 a second for each upstream. They take 100 ms on average, or a
    second at each `slow`-th upstream."""
    instance = Instance(policy, size, seed)
    draw = instance.random.expovariate
    rate = size * 25.0
    number = count()
    ends: list[tuple[float, int, int, Upstream]] = []
    now, means, above = 0.0, [], []
    for arrival in range(12_000):
        now += draw(rate)
        while ends and ends[0][0] <= now:
            _, _, worker, upstream = heappop(ends)
            instance.ends(worker, upstream)
        worker, upstream = instance.begins(int(now * 1e9))
        mean = 1.0 if upstream.row % slow == 0 else 0.1
        heappush(ends, (now + draw(1 / mean), next(number), worker, upstream))
        if arrival > 4_000:
            above.append(instance.above())
            means.append(sum(instance.held) / size)
    above.sort()
    return Spread(sum(means) / len(means), above[len(above) // 2], above[len(above) * 999 // 1000])


@pytest.mark.parametrize("size", [2, 5, 16])
@pytest.mark.parametrize("seed", range(3))
def test_up_to_16_upstreams_are_compared_by_the_load_of_all_workers(size: int, seed: int) -> None:
    """The slow ones do not get more than the others: no upstream has more above the mean than there are
    workers. Each may have sent one there in the 5 ms in which it does not see what the others do."""
    spread = under_load("least_connections", size, seed)
    assert spread.typical <= 2
    assert spread.most <= WORKERS


@pytest.mark.parametrize("size", [17, 64])
@pytest.mark.parametrize("seed", range(3))
def test_of_more_upstreams_each_worker_compares_two_by_its_own_load(size: int, seed: int) -> None:
    """The slow ones get more than the others, but far less than if nothing were compared."""
    spread, blind = under_load("least_connections", size, seed), under_load("random", size, seed)
    assert spread.typical <= 2 * spread.mean
    assert spread.most < blind.typical / 1.5
