"""UpstreamPool: candidates, requests in flight, and the load that other workers report."""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

from collections.abc import Sequence
from random import Random
from typing import ClassVar

import pytest

from balancer.errors import Outcome
from balancer.http.forwarding import Forwarding
from balancer.http.request_head import RequestHead
from balancer.policies.base import NO_KEY, Policy, PolicyContext
from balancer.pools.hash_key import hash_key
from balancer.pools.parts import PoolParts, RemoteRows
from balancer.pools.picker import Picker
from balancer.pools.pool import UpstreamPool
from balancer.spec.part import replaced
from balancer.spec.worker import PoolSpec
from balancer.sticky.affinity import Affinity
from balancer.sticky.diversion import Diversion
from balancer.sticky.pin_cookie import BalancerCookie
from balancer.telemetry.columns import CELLS_PER_ROW, UPSTREAM_INFLIGHT
from balancer.upstreams.state import Cause
from balancer.upstreams.upstream import Upstream
from tests.fakes.loop import FakeClock
from tests.fakes.specs import pool_spec

MILLISECOND = 1_000_000


class Watching(Policy):
    """Picks the first that was not tried; records what it is told."""

    compares_load: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__(PolicyContext(Random(1), 0, FakeClock()))
        self.candidates: list[Upstream] = []
        self.rebuilds = 0
        self.told: list[tuple[str, str, float, Outcome | None]] = []
        self.errors: list[Exception] = []  # errors reported by its pool

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
    """Raises in each of the methods named."""

    def __init__(self, *where: str) -> None:
        super().__init__()
        self.where = where

    def rebuild(self, candidates: Sequence[Upstream]) -> None:
        self._perhaps("rebuild")
        super().rebuild(candidates)

    def pick(self, key: int, tried: tuple[Upstream, ...]) -> Upstream | None:
        self._perhaps("pick")
        return super().pick(key, tried)

    def started(self, upstream: Upstream) -> None:
        self._perhaps("started")

    def finished(self, upstream: Upstream, latency: float, outcome: Outcome) -> None:
        self._perhaps("finished")

    def _perhaps(self, method: str) -> None:
        if method in self.where:
            raise ZeroDivisionError(method)


def row() -> memoryview[int]:
    return memoryview(bytearray(CELLS_PER_ROW * 8)).cast("q")


SPEC = pool_spec(retry={"statuses": (), "methods": (), "replay_bytes": 0}, hash_key="path")


def upstream(number: int) -> Upstream:
    return Upstream(f"app{number}:8000", f"10.0.0.{number}", 8000, 1, row(), number)


def make(
    count: int = 3,
    policy: Watching | None = None,
    *,
    spec: PoolSpec = SPEC,
    remote_rows: RemoteRows | None = None,
) -> tuple[UpstreamPool, Watching]:
    policy = policy or Watching()
    keyless = Watching()
    picker = Picker("default", policy, keyless, policy.errors.append)
    pool = UpstreamPool(spec, picker, row(), 0, PoolParts(remote_rows=remote_rows))
    pool.set_members([upstream(number) for number in range(1, count + 1)])
    return pool, policy


def test_choosing_counts_in_flight_and_finishing_uncounts() -> None:
    pool, _ = make()
    one = pool.choose(0, (), 0)
    two = pool.choose(0, (), 0)
    assert one is two is pool.upstreams[0]
    assert one is not None
    assert (one.inflight, one.cells[UPSTREAM_INFLIGHT]) == (2, 2)
    pool.finished(one, 5, Outcome.SUCCESS)
    assert (one.inflight, one.cells[UPSTREAM_INFLIGHT]) == (1, 1)
    pool.finished(one, 5, Outcome.CLIENT_GONE)
    assert (one.inflight, one.cells[UPSTREAM_INFLIGHT]) == (0, 0)


def test_pick_returns_none_without_candidates() -> None:
    pool, _ = make(2)
    assert pool.choose(0, tuple(pool.upstreams), 0) is None
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


CHECK, OUTLIER = Cause.ACTIVE_CHECK, Cause.OUTLIER
# The causes of two upstreams, whether panic is allowed -> the candidates by number
EJECTED: dict[str, tuple[list[set[Cause]], bool, list[int]]] = {
    "none": ([set(), set()], True, [1, 2]),
    "one": ([{CHECK}, set()], True, [2]),
    "all, in panic": ([{CHECK}, {CHECK, OUTLIER}], True, [1, 2]),
    "all, without panic": ([{CHECK}, {OUTLIER}], False, []),
}


@pytest.mark.parametrize("case", EJECTED)
def test_ejected_upstreams_are_candidates_only_in_panic(case: str) -> None:
    causes, panic, expected = EJECTED[case]
    pool, policy = make(2, spec=replaced(SPEC, panic=panic))
    for one, its in zip(pool.upstreams, causes, strict=True):
        one.causes = frozenset(its)
    pool.rebuild()
    assert [one.row for one in policy.candidates] == expected


def test_a_change_of_members_rebuilds_and_removed_members_are_no_candidates() -> None:
    pool, policy = make(2)
    first, second = pool.upstreams
    pool.set_members([second, upstream(3)])
    assert [one.row for one in policy.candidates] == [2, 3]
    assert first not in pool.upstreams


class Hashing(Watching):
    needs_key: ClassVar[bool] = True


class HashingClients(Hashing):
    key_source: ClassVar[str | None] = "client_ip"


def test_requests_without_a_key_use_the_fallback_policy() -> None:
    policy, keyless = Hashing(), Watching()
    picker = Picker("default", policy, keyless, policy.errors.append)
    pool = UpstreamPool(SPEC, picker, row(), 0, PoolParts())
    pool.set_members([upstream(1), upstream(2)])
    policy.candidates = policy.candidates[:1]
    keyless.candidates = keyless.candidates[1:]
    assert pool.choose(7, (), 0) is pool.upstreams[0]
    assert pool.choose(NO_KEY, (), 0) is pool.upstreams[1]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [(Watching, None), (Hashing, "path"), (HashingClients, "client_ip")],
    ids=["no key needed", "key of the setting", "key of the policy"],
)
def test_requests_are_hashed_by_the_configured_key(policy: type[Watching], expected: str | None) -> None:
    pool, _ = make(policy=policy())
    head = RequestHead(b"GET", b"/a", 1)
    peer = Forwarding([]).peer("192.0.2.1")
    by = None if pool.hash_key is None else pool.hash_key.of(head, peer)
    assert by == (None if expected is None else hash_key(expected).of(head, peer))


@pytest.mark.parametrize("tracks", [False, True])
def test_only_policies_that_track_load_are_notified(tracks: bool) -> None:
    pool, policy = make(policy=Tracking() if tracks else Watching())
    upstream = pool.choose(0, (), 0)
    assert upstream is not None
    pool.finished(upstream, 1_500_000_000, Outcome.SERVER_ERROR)
    expected = [("started", "app1:8000", 0.0, None), ("finished", "app1:8000", 1.5, Outcome.SERVER_ERROR)]
    assert policy.told == (expected if tracks else [])


@pytest.mark.parametrize("where", ["rebuild", "pick", "started", "finished"])
def test_a_failing_policy_loses_no_request_and_is_reported_once(where: str) -> None:
    pool, policy = make(policy=Failing(where))
    for _ in range(3):
        upstream = pool.choose(0, (), 0)
        assert upstream is not None
        pool.finished(upstream, 0, Outcome.SUCCESS)
        assert (upstream.inflight, upstream.cells[UPSTREAM_INFLIGHT]) == (0, 0)
    (error,) = policy.errors
    assert str(error) == where
    assert "policy Failing of pool default" in error.__notes__[0]


def test_a_policy_that_failed_is_used_again_after_a_successful_rebuild() -> None:
    policy = Failing("rebuild")
    pool, _ = make(2, policy)
    first, second = pool.upstreams
    policy.where = ()
    pool.set_members([second, first])
    assert pool.choose(0, (), 0) is policy.candidates[0] is second


# --- the other workers


def watched(count: int) -> tuple[UpstreamPool, dict[int, list[memoryview[int]]]]:
    rows = {number: [row(), row()] for number in range(1, count + 1)}
    pool, _ = make(count, remote_rows=rows.__getitem__)
    return pool, rows


def test_remote_load_is_summed_over_pages() -> None:
    pool, rows = watched(2)
    rows[1][0][UPSTREAM_INFLIGHT] = 3
    rows[1][1][UPSTREAM_INFLIGHT] = 4
    rows[2][1][UPSTREAM_INFLIGHT] = 1
    pool.choose(0, (), 10 * MILLISECOND)
    assert [upstream.remote_inflight for upstream in pool.upstreams] == [7, 1]


def test_remote_load_is_read_at_most_every_5ms() -> None:
    pool, rows = watched(1)
    cell = rows[1][0]
    seen = []
    for at in range(10, 24, 2):
        cell[UPSTREAM_INFLIGHT] = at
        pool.choose(0, (), at * MILLISECOND)
        seen.append(pool.upstreams[0].remote_inflight)
    assert seen == [10, 10, 10, 16, 16, 16, 22]


def test_remote_load_is_not_read_in_large_pools() -> None:
    pool, rows = watched(17)
    rows[1][0][UPSTREAM_INFLIGHT] = 3
    pool.choose(0, (), 10 * MILLISECOND)
    assert pool.upstreams[0].remote_inflight == 0


# --- sticky sessions


def sticky(policy: Watching, count: int = 3, twin: Watching | None = None) -> UpstreamPool:
    """A pool whose requests may be pinned; the twin of its policy picks the first upstream, as the policy
    does."""
    cells = row()
    diversion = Diversion(twin or Watching(), cells, policy.errors.append)
    affinity = Affinity("default", b"", BalancerCookie(b"pin", b""), cells, diversion)
    picker = Picker("default", policy, Watching(), policy.errors.append)
    pool = UpstreamPool(SPEC, picker, cells, 0, PoolParts(affinity=affinity))
    pool.set_members([upstream(number) for number in range(1, count + 1)])
    return pool


@pytest.mark.parametrize("policy", [Tracking(), Failing("pick"), Failing("started")], ids=["well", "1", "2"])
def test_a_pinned_upstream_overrides_the_policys_choice(policy: Watching) -> None:
    pool = sticky(policy)
    pinned = pool.upstreams[2]
    assert pool.choose(0, (), 0, pinned) is pinned
    assert pinned.inflight == 1
    assert pool.choose(0, (pinned,), 0, pinned) is pool.upstreams[0]


def test_the_policy_is_notified_of_a_pinned_upstream_it_did_not_choose() -> None:
    policy, twin = Tracking(), Tracking()
    pool = sticky(policy, twin=twin)
    pinned = pool.upstreams[2]
    pool.choose(0, (), 0, pinned)
    pool.finished(pinned, 5_000_000, Outcome.SUCCESS)
    assert policy.told == [("started", pinned.id, 0.0, None), ("finished", pinned.id, 0.005, Outcome.SUCCESS)]
    assert twin.told == policy.told


def test_a_removed_upstream_is_not_chosen_even_if_a_request_is_pinned_to_it() -> None:
    pool = sticky(Watching())
    gone = pool.upstreams[2]
    pool.set_members(pool.upstreams[:2])
    assert pool.choose(0, (), 0, gone) is pool.upstreams[0]
