"""UpstreamPool: candidates, inflight, and the load that other workers report."""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

from collections.abc import Sequence
from typing import ClassVar

import pytest

from balancer.errors import Outcome
from balancer.policies.base import Policy
from balancer.pools.pool import UpstreamPool
from balancer.telemetry.columns import CELLS_PER_ROW, UPSTREAM_INFLIGHT
from balancer.upstreams.upstream import Upstream

MILLISECOND = 1_000_000


class Watching(Policy):
    """Picks the first that was not tried; keeps what it is told."""

    compares_load: ClassVar[bool] = True

    def __init__(self) -> None:
        self.candidates: list[Upstream] = []
        self.rebuilds = 0
        self.told: list[tuple[str, str, float, Outcome | None]] = []
        self.errors: list[Exception] = []  # what its pool has reported

    def rebuild(self, candidates: Sequence[Upstream]) -> None:
        self.candidates = list(candidates)
        self.rebuilds += 1

    def pick(self, key: int, tried: tuple[Upstream, ...]) -> Upstream | None:
        return next((one for one in self.candidates if one not in tried), None)

    def started(self, upstream: Upstream) -> None:
        self.told.append(("started", upstream.id, 0.0, None))

    def finished(self, upstream: Upstream, latency: float, outcome: Outcome) -> None:
        self.told.append(("finished", upstream.id, latency, outcome))


class Tracking(Watching):
    tracks_load: ClassVar[bool] = True


class Failing(Tracking):
    """Has a bug where an attempt ends."""

    def finished(self, upstream: Upstream, latency: float, outcome: Outcome) -> None:
        raise ZeroDivisionError


def row() -> memoryview[int]:
    return memoryview(bytearray(CELLS_PER_ROW * 8)).cast("q")


def make(count: int = 3, policy: Watching | None = None) -> tuple[UpstreamPool, Watching]:
    policy = policy or Watching()
    upstreams = [Upstream(f"app{n}:8000", f"10.0.0.{n}", 8000, 1, row()) for n in range(1, count + 1)]
    return UpstreamPool("default", upstreams, policy, 3, row(), policy.errors.append), policy


def test_choosing_counts_in_flight_and_finishing_gives_back() -> None:
    pool, _ = make()
    one = pool.choose((), 0)
    two = pool.choose((), 0)
    assert one is two is pool.upstreams[0]
    assert one is not None
    assert (one.inflight, one.cells[UPSTREAM_INFLIGHT]) == (2, 2)
    pool.finished(one, 5, Outcome.SUCCESS)
    assert (one.inflight, one.cells[UPSTREAM_INFLIGHT]) == (1, 1)
    pool.finished(one, 5, Outcome.CLIENT_GONE)
    assert (one.inflight, one.cells[UPSTREAM_INFLIGHT]) == (0, 0)


def test_none_left() -> None:
    pool, _ = make(2)
    assert pool.choose(tuple(pool.upstreams), 0) is None
    assert [upstream.inflight for upstream in pool.upstreams] == [0, 0]


ELIGIBLE = {
    "with an address and a weight": ("10.0.0.1", 1.0, True),
    "not resolved yet": ("", 1.0, False),
    "without a share": ("10.0.0.1", 0.0, False),
    "with a small share": ("10.0.0.1", 0.01, True),
}


@pytest.mark.parametrize("case", ELIGIBLE)
def test_candidates(case: str) -> None:
    host, weight, eligible = ELIGIBLE[case]
    pool, policy = make(2)
    pool.upstreams[0].set_host(host)
    pool.upstreams[0].effective_weight = weight
    pool.rebuild()
    assert (pool.upstreams[0] in policy.candidates) is eligible
    assert pool.upstreams[1] in policy.candidates


def test_a_new_address_rebuilds() -> None:
    pool, policy = make(2)
    before = policy.rebuilds
    changed = pool.set_address("app2:8000", "10.9.9.9")
    assert changed is pool.upstreams[1]
    assert (changed.host, changed.authority) == ("10.9.9.9", b"10.9.9.9:8000")
    assert policy.rebuilds == before + 1
    pool.set_address("app2:8000", "")
    assert policy.candidates == [pool.upstreams[0]]


def test_an_address_for_nobody() -> None:
    pool, _ = make()
    with pytest.raises(KeyError):
        pool.set_address("app9:8000", "10.9.9.9")


@pytest.mark.parametrize("tracks", [False, True])
def test_only_policies_that_track_load_are_told(tracks: bool) -> None:
    pool, policy = make(policy=Tracking() if tracks else Watching())
    upstream = pool.choose((), 0)
    assert upstream is not None
    pool.finished(upstream, 1_500_000_000, Outcome.SERVER_ERROR)
    expected = [("started", "app1:8000", 0.0, None), ("finished", "app1:8000", 1.5, Outcome.SERVER_ERROR)]
    assert policy.told == (expected if tracks else [])


def test_a_policy_that_fails_where_an_attempt_ends_is_reported_and_the_count_is_right() -> None:
    pool, policy = make(policy=Failing())
    upstream = pool.choose((), 0)
    assert upstream is not None
    pool.finished(upstream, 0, Outcome.SUCCESS)
    assert [type(error) for error in policy.errors] == [ZeroDivisionError]
    assert (upstream.inflight, upstream.cells[UPSTREAM_INFLIGHT]) == (0, 0)


# --- the other workers


def watched(count: int) -> tuple[UpstreamPool, dict[str, list[memoryview[int]]]]:
    pool, _ = make(count)
    rows = {upstream.id: [row(), row()] for upstream in pool.upstreams}
    pool.watch_remote(rows)
    return pool, rows


def test_others_load_is_summed_over_their_pages() -> None:
    pool, rows = watched(2)
    rows["app1:8000"][0][UPSTREAM_INFLIGHT] = 3
    rows["app1:8000"][1][UPSTREAM_INFLIGHT] = 4
    rows["app2:8000"][1][UPSTREAM_INFLIGHT] = 1
    pool.choose((), 10 * MILLISECOND)
    assert [upstream.remote_inflight for upstream in pool.upstreams] == [7, 1]


def test_others_load_is_read_at_most_every_five_milliseconds() -> None:
    pool, rows = watched(1)
    cell = rows["app1:8000"][0]
    seen = []
    for at in range(10, 24, 2):
        cell[UPSTREAM_INFLIGHT] = at
        pool.choose((), at * MILLISECOND)
        seen.append(pool.upstreams[0].remote_inflight)
    assert seen == [10, 10, 10, 16, 16, 16, 22]


def test_others_load_is_not_read_in_large_pools() -> None:
    pool, rows = watched(17)
    rows["app1:8000"][0][UPSTREAM_INFLIGHT] = 3
    pool.choose((), 10 * MILLISECOND)
    assert pool.upstreams[0].remote_inflight == 0
