"""Pinned requests that the policy would have sent elsewhere are counted, without disturbing the policy."""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

from collections.abc import Callable, Sequence
from random import Random

import pytest

from balancer.errors import Outcome
from balancer.policies.base import NO_KEY, Policy, PolicyContext
from balancer.policies.consistent_hash import ConsistentHash
from balancer.policies.least_connections import LeastConnections
from balancer.policies.round_robin import RoundRobin
from balancer.sticky.diversion import SAMPLE, Diversion
from balancer.telemetry.columns import CELLS_PER_ROW, POOL_STICKY_DIVERTED
from balancer.upstreams.upstream import Upstream
from tests.fakes.loop import FakeClock


def row() -> memoryview[int]:
    return memoryview(bytearray(CELLS_PER_ROW * 8)).cast("q")


class Twin(Policy):
    """Picks the first upstream; fails if told to."""

    def __init__(self, *fails: str) -> None:
        super().__init__(PolicyContext(Random(1), 0, FakeClock()))
        self.fails = fails
        self.candidates: list[Upstream] = []
        self.calls: list[str] = []

    def rebuild(self, candidates: Sequence[Upstream]) -> None:
        self.candidates = list(candidates)
        self._called("rebuild")

    def pick(self, key: int, tried: tuple[Upstream, ...]) -> Upstream | None:
        self._called("pick")
        return self.candidates[0] if self.candidates else None

    def started(self, upstream: Upstream) -> None:
        self._called("started")

    def finished(self, upstream: Upstream, latency: float, outcome: Outcome) -> None:
        self._called("finished")

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if name in self.fails:
            raise ZeroDivisionError(name)


class Case:
    """A diversion with three upstreams; `diverted` is its count."""

    def __init__(self, twin: Policy) -> None:
        self.cells = row()
        self.errors: list[Exception] = []
        self.upstreams = [Upstream(f"app{n}:1", f"10.0.0.{n}", 1, 1, row()) for n in (1, 2, 3)]
        self.diversion = Diversion(twin, self.cells, self.errors.append)
        self.diversion.rebuild(self.upstreams)

    def stay(self, number: int, times: int = SAMPLE, key: int = 0) -> int:
        """`count` requests stay with this upstream; returns how many were counted as diverted."""
        before = self.cells[POOL_STICKY_DIVERTED]
        for _ in range(times):
            self.diversion.stayed(self.upstreams[number - 1], key)
        return self.cells[POOL_STICKY_DIVERTED] - before


def context() -> PolicyContext:
    return PolicyContext(Random(7), 0, FakeClock())


def test_one_pinned_request_in_sixteen_is_sampled_and_counts_sixteen() -> None:
    twin = Twin()
    case = Case(twin)
    assert case.stay(2, 15) == 0
    assert case.stay(2, 1) == 16
    assert case.stay(2, 160) == 160
    assert twin.calls.count("pick") == 11
    assert case.stay(1, 160) == 0  # the policy would have sent them there too


def test_least_connections_a_tie_is_no_diversion() -> None:
    case = Case(LeastConnections(context()))
    assert case.stay(1, 10 * SAMPLE) == 0
    case.upstreams[0].inflight = 1
    assert case.stay(1) == SAMPLE
    assert case.stay(2, 10 * SAMPLE) == 0


def test_least_connections_respects_weights() -> None:
    case = Case(LeastConnections(context()))
    for upstream, weight, inflight in zip(case.upstreams, (4.0, 2.0, 1.0), (4, 2, 1), strict=True):
        upstream.effective_weight, upstream.inflight = weight, inflight
    case.diversion.rebuild(case.upstreams)
    assert case.stay(1, 10 * SAMPLE) == 0


def test_a_hash_is_compared_for_each_key() -> None:
    policy = ConsistentHash(context())
    case = Case(policy)
    keys = [Random(n).getrandbits(64) for n in range(50)]
    for key in keys:
        elsewhere = policy.pick(key, ()) is not case.upstreams[0]
        assert case.stay(1, key=key) == (SAMPLE if elsewhere else 0)
    assert case.stay(1, key=NO_KEY) == 0  # nothing to compare with


def test_round_robin_diverts_its_share() -> None:
    case = Case(RoundRobin(context()))
    assert case.stay(1, 30 * SAMPLE) == 20 * SAMPLE


def test_without_candidates_there_is_no_diversion() -> None:
    case = Case(Twin())
    case.diversion.rebuild([])
    assert case.stay(1) == 0


CALLS: dict[str, Callable[[Case], object]] = {
    "pick": lambda case: case.stay(1),
    "started": lambda case: case.diversion.started(case.upstreams[0]),
    "finished": lambda case: case.diversion.finished(case.upstreams[0], 0.1, Outcome.SUCCESS),
    "rebuild": lambda case: case.diversion.rebuild(case.upstreams),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_failing_twin_is_reported_once_and_not_used_until_the_next_rebuild(name: str) -> None:
    twin = Twin(name)
    case = Case(twin)
    case.errors.clear()
    CALLS[name](case)
    assert [str(error) for error in case.errors] == [name]
    for call in ("pick", "started", "finished"):
        CALLS[call](case)
    assert len(case.errors) == 1
    twin.fails = ()
    case.diversion.rebuild(case.upstreams)
    assert case.stay(2) == SAMPLE
