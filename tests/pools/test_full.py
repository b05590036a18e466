"""UpstreamPool with limits: which upstream is full, which is chosen then; no slot is lost or given twice."""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

from collections.abc import Sequence
from random import Random
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.errors import Failure, Outcome
from balancer.policies.base import Policy, PolicyContext
from balancer.policies.least_connections import LeastConnections
from balancer.policies.registry import BUILT_IN, build
from balancer.pools.parts import PoolParts
from balancer.pools.picker import Picker
from balancer.pools.pool import UpstreamPool
from balancer.queueing.queue import SlotQueue
from balancer.telemetry.columns import (
    CELLS_PER_ROW,
    POOL_QUEUE_LENGTH,
    UPSTREAM_INFLIGHT,
    UPSTREAM_INFLIGHT_LIMIT,
)
from balancer.upstreams.state import AdminState, Cause, candidates
from balancer.upstreams.upstream import Upstream
from tests.fakes.loop import FakeClock, FakeLoop
from tests.fakes.specs import pool_spec

SPEC = pool_spec(retry={"statuses": (), "methods": (), "replay_bytes": 0}, hash_key="path")


def row() -> memoryview[int]:
    return memoryview(bytearray(CELLS_PER_ROW * 8)).cast("q")


def upstream(number: int, limit: int = 0, weight: int = 1) -> Upstream:
    made = Upstream(f"app{number}:8000", f"10.0.0.{number}", 8000, weight, row(), number)
    made.max_inflight = limit
    return made


def context() -> PolicyContext:
    return PolicyContext(Random(1), 0, FakeClock())


class Stubborn(Policy):
    """Always picks the first that was not tried; counts how often it is asked."""

    tracks_load: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__(context())
        self.candidates: list[Upstream] = []
        self.asked = 0
        self.begun: list[Upstream] = []

    def rebuild(self, candidates: Sequence[Upstream]) -> None:
        self.candidates = list(candidates)

    def pick(self, key: int, tried: tuple[Upstream, ...]) -> Upstream | None:
        self.asked += 1
        return next((one for one in self.candidates if one not in tried), None)

    def started(self, upstream: Upstream) -> None:
        self.begun.append(upstream)

    def finished(self, upstream: Upstream, latency: float, outcome: Outcome) -> None:
        self.begun.remove(upstream)


class Bug(Stubborn):
    def pick(self, key: int, tried: tuple[Upstream, ...]) -> Upstream | None:
        raise ZeroDivisionError


def make(*limits: int, policy: Policy | None = None, queue: SlotQueue | None = None) -> UpstreamPool:
    picker = Picker("default", policy or Stubborn(), LeastConnections(context()), lambda error: None)
    pool = UpstreamPool(SPEC, picker, row(), 0, PoolParts(queue=queue))
    pool.set_members([upstream(number, limit) for number, limit in enumerate(limits, 1)])
    return pool


def taken(pool: UpstreamPool, count: int, tried: tuple[Upstream, ...] = ()) -> list[int]:
    """The rows of `count` choices, 0 for none."""
    choices = [pool.choose(0, tried, 0) for _ in range(count)]
    return [0 if one is None else one.row for one in choices]


def test_a_full_upstream_is_passed_over_until_one_of_its_requests_ends() -> None:
    pool = make(2, 1)
    first = pool.upstreams[0]
    assert taken(pool, 4) == [1, 1, 2, 0]
    assert pool.is_full(())
    assert not pool.has_slot()
    pool.finished(first, 0, Outcome.SUCCESS)
    assert pool.has_slot()
    assert taken(pool, 2) == [1, 0]


def test_only_the_chosen_upstream_is_reported_to_the_policy() -> None:
    policy = Stubborn()
    pool = make(1, 1, 1, policy=policy)
    taken(pool, 3)
    assert [one.row for one in policy.begun] == [1, 2, 3]


def test_without_limits_the_policy_is_asked_once_and_nothing_is_full() -> None:
    policy = Stubborn()
    pool = make(0, 0, policy=policy)
    assert taken(pool, 50) == [1] * 50
    assert policy.asked == 50
    assert not pool.is_full(())
    assert taken(pool, 1, tuple(pool.upstreams)) == [0]
    assert not pool.is_full(tuple(pool.upstreams))


def test_a_policy_that_insists_on_a_full_upstream_is_asked_a_bounded_number_of_times() -> None:
    policy = Stubborn()
    pool = make(*[1] * 100, policy=policy)
    for _ in range(98):
        pool.choose(0, (), 0)
    policy.asked = 0
    assert taken(pool, 3) in ([99, 100, 0], [100, 99, 0])
    assert policy.asked <= 10


def test_if_the_policy_gives_up_the_least_loaded_is_chosen() -> None:
    pool = make(*[1] * 20, 9, 9)
    heavy, light = pool.upstreams[20:]
    for _ in range(20):
        pool.choose(0, (), 0)
    heavy.inflight, light.inflight = 4, 3
    assert taken(pool, 1) == [light.row]


def test_full_differs_from_tried() -> None:
    """Waiting helps if every untried upstream is full; it does not if all were tried."""
    pool = make(1, 1)
    first, second = pool.upstreams
    pool.choose(0, (first,), 0)
    assert taken(pool, 1, (first,)) == [0]
    assert pool.is_full((first,))
    assert taken(pool, 1, (first, second)) == [0]
    assert not pool.is_full((first, second))


def test_an_upstream_without_a_limit_is_never_full() -> None:
    pool = make(1, 0)
    assert taken(pool, 5) == [1, 2, 2, 2, 2]


def test_the_limit_holds_also_if_the_policy_fails() -> None:
    pool = make(1, 1, policy=Bug())
    assert sorted(taken(pool, 3)) == [0, 1, 2]


@pytest.mark.parametrize("policy", sorted(BUILT_IN))
def test_the_limit_holds_under_every_policy(policy: str) -> None:
    pool = make(3, 1, 2, 5, policy=build(policy, {}, context()))
    for key in range(11):
        assert pool.choose(key, (), 0) is not None
    assert [one.inflight for one in pool.upstreams] == [3, 1, 2, 5]
    assert pool.choose(5, (), 0) is None


def test_ejected_and_drained_upstreams_have_no_slots() -> None:
    pool = make(5, 5, 1)
    pool.upstreams[0].causes = frozenset([Cause.ACTIVE_CHECK])
    pool.upstreams[1].admin_state = AdminState.DRAINING
    pool.rebuild()
    assert taken(pool, 2) == [3, 0]
    assert pool.is_full(())
    pool.upstreams[2].causes = frozenset([Cause.ACTIVE_CHECK])
    pool.upstreams[0].causes = frozenset()
    pool.rebuild()
    assert taken(pool, 1) == [1]


def test_without_eligible_upstreams_there_is_nothing_to_wait_for() -> None:
    pool = make(1)
    taken(pool, 1)
    pool.set_members([])
    assert pool.choose(0, (), 0) is None
    assert not pool.is_full(())


def test_a_lowered_limit_holds_once_enough_requests_have_ended() -> None:
    pool = make(3)
    one = pool.upstreams[0]
    taken(pool, 3)
    one.max_inflight = 2
    pool.rebuild()
    pool.finished(one, 0, Outcome.SUCCESS)
    assert taken(pool, 1) == [0]
    pool.finished(one, 0, Outcome.SUCCESS)
    assert taken(pool, 2) == [1, 0]


def test_a_raised_limit_frees_slots_at_once() -> None:
    pool = make(1)
    taken(pool, 1)
    pool.upstreams[0].max_inflight = 3
    pool.rebuild()
    assert taken(pool, 3) == [1, 1, 0]


def test_the_limit_in_force_is_exported() -> None:
    pool = make(3, 0)
    assert [one.cells[UPSTREAM_INFLIGHT_LIMIT] for one in pool.upstreams] == [3, 0]
    pool.upstreams[0].max_inflight = 0
    pool.rebuild()
    assert [one.cells[UPSTREAM_INFLIGHT_LIMIT] for one in pool.upstreams] == [0, 0]


class Request:
    """Takes a slot when one is offered."""

    def __init__(self, pool: UpstreamPool, tried: tuple[Upstream, ...] = ()) -> None:
        self.pool = pool
        self.tried = tried
        self.at: Upstream | None = None
        self.state = "new"

    def begin(self) -> None:
        queue = self.pool.queue
        assert queue is not None
        behind_others = bool(queue.waiting) and not self.tried  # a retry does not queue behind others
        if not behind_others and self.chooses():
            self.state = "running"
        elif behind_others or self.pool.is_full(self.tried):
            self.state = "waiting" if queue.join(self) is None else "rejected"
        else:
            self.state = "nobody"

    def network(self) -> str:
        return ""

    def offered(self, now_ns: int) -> bool:
        queue = self.pool.queue
        assert queue is not None
        assert self.state == "waiting"
        if not (chosen := self.chooses()) and self.pool.is_full(self.tried):
            return False
        queue.leave(self, now_ns)
        self.state = "running" if chosen else "nobody"
        return True

    def chooses(self) -> bool:
        self.at = self.pool.choose(0, self.tried, 0)
        assert self.at is None or self.at in candidates(self.pool.upstreams, True)[0]
        return self.at is not None

    def gave_up(self, failure: Failure) -> None:
        assert self.state == "waiting"
        self.state = "late"


class Traffic:
    """Requests arrive, end, leave and time out; upstreams are added, removed, and change state and limit."""

    def __init__(self, policy: str) -> None:
        self.clock = FakeClock()
        self.loop = FakeLoop(self.clock)  # type: ignore[abstract]  # it has what is used, not all of asyncio
        self.cells = row()
        self.queue = SlotQueue(5, 5.0, loop=self.loop, clock=self.clock, cells=self.cells)
        self.pool = make(2, 1, 2, policy=build(policy, {}, context()), queue=self.queue)
        self.all = list(self.pool.upstreams)
        self.requests: list[Request] = []

    def of(self, state: str) -> list[Request]:
        return [one for one in self.requests if one.state == state]

    def arrives(self, number: int) -> None:
        tried = tuple(self.pool.upstreams[:1]) if number % 5 == 4 else ()
        self.requests.append(Request(self.pool, tried))
        self.requests[-1].begin()

    def ends(self, number: int) -> None:
        if running := self.of("running"):
            one = running[number % len(running)]
            one.state = "ended"
            assert one.at is not None
            self.pool.finished(one.at, 0, Outcome.SUCCESS)

    def leaves(self, number: int) -> None:
        if waiting := self.of("waiting"):
            one = waiting[number % len(waiting)]
            one.state = "left"
            self.queue.leave(one)

    def time_passes(self, number: int) -> None:
        self.clock.advance([0.1, 1.0, 2.0, 6.0][number % 4])

    def settles(self, number: int) -> None:
        self.loop.settle()

    def members_change(self, number: int) -> None:
        some = [one for bit, one in enumerate(self.all) if number & (1 << bit)]
        if number % 3 == 0:
            self.all.append(upstream(len(self.all) + 1, 1 + number % 2))
            some.append(self.all[-1])
        self.pool.set_members(some)

    def state_changes(self, number: int) -> None:
        if members := self.pool.upstreams:
            one = members[number % len(members)]
            one.causes = frozenset() if one.causes else frozenset([Cause.ACTIVE_CHECK])
            self.pool.rebuild()

    def limit_changes(self, number: int) -> None:
        if members := self.pool.upstreams:
            members[number % len(members)].max_inflight = number % 5 - 1  # NO_SLOT too
            self.pool.take_up_limits()

    def check(self) -> None:
        running, waiting = self.of("running"), self.of("waiting")
        for one in self.all:
            at_it = sum(request.at is one for request in running)
            assert one.inflight == one.cells[UPSTREAM_INFLIGHT] == at_it
        assert list(self.queue.waiting) == waiting
        assert self.cells[POOL_QUEUE_LENGTH] == len(waiting) <= 5

    def check_settled(self) -> None:
        """No request waits that could be served, and every taken slot has its request."""
        self.check()
        for one in self.of("waiting"):
            assert self.pool.choose(0, one.tried, 0) is None
            assert self.pool.is_full(one.tried)


ACTS = ["arrives", "ends", "leaves", "time_passes", "settles"]
ACTS += ["members_change", "state_changes", "limit_changes"]
OFTEN = ["arrives"] * 5 + ["ends"] * 4 + ["settles"] * 3


@pytest.mark.parametrize("policy", ["least_connections", "round_robin", "consistent_hash"])
@given(acts=st.lists(st.tuples(st.sampled_from(ACTS + OFTEN), st.integers(0, 99)), max_size=60))
def test_no_slot_is_lost_or_given_twice(policy: str, acts: list[tuple[str, int]]) -> None:
    traffic = Traffic(policy)
    for act, number in acts:
        before = {one: one.inflight for one in traffic.all}
        getattr(traffic, act)(number)
        traffic.check()
        for one in traffic.all:  # running requests may exceed a lowered limit, new ones never do
            assert one.inflight <= max(before.get(one, 0), one.inflight_limit or 999)
    traffic.loop.settle()
    traffic.check_settled()
    while traffic.of("running"):
        traffic.ends(0)
        traffic.loop.settle()
        traffic.check_settled()
    traffic.time_passes(3)
    traffic.loop.settle()
    traffic.check_settled()
    assert traffic.of("waiting") == []
    assert all(one.inflight == 0 for one in traffic.all)
