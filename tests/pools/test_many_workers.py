"""How evenly several workers of one instance spread requests that none of them sees as a whole.

`python -m tests.pools.test_many_workers` prints the figures of docs/architecture.md.
"""

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


class Running(NamedTuple):
    """A request in flight."""

    worker: int
    upstream: Upstream
    began_ns: int


class Instance:
    """The same pool in each worker, in front of `size` upstreams."""

    def __init__(self, policy: str, size: int, seed: int, workers: int) -> None:
        self.random = Random(seed)
        self.clock = FakeClock()
        self.size = size
        self.rows = [[row() for _ in range(size)] for _ in range(workers)]
        self.pools = [self._pool(policy, worker) for worker in range(workers)]
        self.held = [0] * size  # by all workers

    def _pool(self, policy: str, worker: int) -> UpstreamPool:
        context = PolicyContext(Random(self.random.random()), worker, self.clock)
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

    def begins(self) -> Running:
        """The kernel gives a request to any worker."""
        worker, now_ns = self.random.randrange(len(self.pools)), self.clock.monotonic_ns()
        upstream = self.pools[worker].choose(0, (), now_ns)
        assert upstream is not None
        self.held[upstream.row] += 1
        return Running(worker, upstream, now_ns)

    def ends(self, request: Running) -> None:
        latency_ns = self.clock.monotonic_ns() - request.began_ns
        self.pools[request.worker].finished(request.upstream, latency_ns, Outcome.SUCCESS)
        self.held[request.upstream.row] -= 1

    def above(self) -> float:
        """How many requests the busiest upstream has above the mean."""
        return max(self.held) - sum(self.held) / self.size


class Spread(NamedTuple):
    mean: float  # requests that an upstream has
    typical: float  # what the busiest has above the mean, in half of all moments
    most: float  # in 999 of 1,000 moments


def under_load(
    policy: str, size: int, seed: int = 0, *, workers: int = WORKERS, load: int = 1, requests: int = 12_000
) -> Spread:
    """Requests at random times, 25 a second for each upstream, or `load` times as many. They take 100 ms on
    average, or a second at each fourth upstream."""
    instance = Instance(policy, size, seed, workers)
    draw, clock = instance.random.expovariate, instance.clock
    rate = size * 25.0 * load
    number = count()
    ends: list[tuple[float, int, Running]] = []
    now, means, above = 0.0, [], []
    for arrival in range(requests):
        arrives = now + draw(rate)
        while ends and ends[0][0] <= arrives:
            at, _, request = heappop(ends)
            clock.advance(at - now)
            now = at
            instance.ends(request)
        clock.advance(arrives - now)
        now = arrives
        request = instance.begins()
        mean = 1.0 if request.upstream.row % 4 == 0 else 0.1
        heappush(ends, (now + draw(1 / mean), next(number), request))
        if arrival > requests // 3:
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


def test_peak_ewma_knows_slow_upstreams_by_latency_in_pools_of_any_size() -> None:
    """So it keeps the mean lower, though the busiest is far above it for moments."""
    spread, compared = under_load("peak_ewma", 64, 0), under_load("least_connections", 64, 0)
    assert spread.mean < compared.mean
    assert spread.typical < compared.typical


if __name__ == "__main__":
    for policy, size, load, workers in (
        ("least_connections", 16, 1, 4),
        ("least_connections", 16, 4, 4),
        ("least_connections", 64, 1, 4),
        ("least_connections", 64, 1, 1),
        ("least_connections", 64, 4, 4),
        ("least_connections", 64, 4, 1),
        ("peak_ewma", 64, 1, 4),
        ("random", 64, 1, 4),
    ):
        spread = under_load(policy, size, workers=workers, load=load, requests=30_000)
        figures = (f"{name} {value:.1f}" for name, value in spread._asdict().items())
        print(f"{policy}, {size} upstreams, load {load}, {workers} workers:", *figures)
