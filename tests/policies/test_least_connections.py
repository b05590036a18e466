"""least_connections: the fewest in flight by weight; ties in turn; a sample of two in large pools."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balancer.policies.conformance import upstream
from balancer.policies.least_connections import LeastConnections
from balancer.upstreams.upstream import Upstream
from tests.policies.contexts import context

SCAN_LIMIT = 16

Shape = tuple[float, int, int]  # effective weight, inflight, remote inflight


def built(*shapes: Shape, start: int = 0) -> tuple[LeastConnections, list[Upstream]]:
    upstreams = []
    for number, (weight, inflight, remote) in enumerate(shapes):
        one = upstream(number, weight, inflight)
        one.remote_inflight = remote
        upstreams.append(one)
    policy = LeastConnections(context(slot=start))
    policy.rebuild(upstreams)
    return policy, upstreams


PICKS: dict[str, tuple[list[Shape], int]] = {
    "the 3 of [5, 3]": ([(1, 5, 0), (1, 3, 0)], 1),
    "the 3 of [3, 5]": ([(1, 3, 0), (1, 5, 0)], 0),
    "the least in the middle": ([(1, 4, 0), (1, 2, 0), (1, 4, 0)], 1),
    "the other workers' count too": ([(1, 1, 9), (1, 5, 0)], 1),
    "twice the load at three times the weight": ([(1, 3, 0), (3, 6, 0)], 1),
    "the lighter once the heavier has its fill": ([(1, 0, 0), (3, 3, 0)], 0),
    "a fraction of a weight": ([(0.5, 2, 0), (1, 3, 0)], 1),
}


@pytest.mark.parametrize("case", PICKS)
@pytest.mark.parametrize("start", [0, 1, 5])
def test_the_least_loaded_is_picked(case: str, start: int) -> None:
    shapes, expected = PICKS[case]
    policy, upstreams = built(*shapes, start=start)
    assert [policy.pick(0, ()) for _ in range(20)] == [upstreams[expected]] * 20


def test_ties_rotate() -> None:
    policy, upstreams = built(*[(1, 2, 0)] * 3)
    assert [policy.pick(0, ()) for _ in range(6)] == upstreams * 2


def test_ties_rotate_besides_a_busier_upstream() -> None:
    policy, (a, busy, c) = built((1, 0, 0), (1, 7, 0), (1, 0, 0))
    assert [policy.pick(0, ()) for _ in range(4)] == [a, c, a, c]
    assert policy.pick(0, (a, c)) is busy


def test_idle_upstreams_take_turns_by_weight() -> None:
    """Otherwise the heaviest would get every request of a quiet hour."""
    policy, (light, heavy) = built((1, 0, 0), (3, 0, 0))
    seen = [policy.pick(0, ()) for _ in range(40)]
    for place in range(0, 40, 4):
        assert Counter(seen[place : place + 4]) == {light: 1, heavy: 3}


def test_an_upstream_that_was_busy_for_long_is_not_flooded_when_it_is_free() -> None:
    """Turns that it could not take are not made up for."""
    policy, (busy, other) = built((1, 5, 0), (1, 0, 0))
    assert {policy.pick(0, ()) for _ in range(1000)} == {other}
    busy.inflight = 0
    assert Counter(policy.pick(0, ()) for _ in range(100))[busy] in (50, 51)


def test_in_a_large_pool_an_upstream_that_was_busy_for_long_is_not_flooded() -> None:
    policy, upstreams = built(*[(1, 0, 0)] * (SCAN_LIMIT + 4))
    upstreams[0].inflight = 5
    for _ in range(20_000):
        policy.pick(0, ())
    upstreams[0].inflight = 0
    seen = Counter(policy.pick(0, ()) for _ in range(2000))
    assert seen[upstreams[0]] == pytest.approx(100, abs=30)


def test_a_new_upstream_is_not_flooded() -> None:
    policy, upstreams = built(*[(1, 0, 0)] * 2)
    for _ in range(1001):
        policy.pick(0, ())
    newcomer = upstream(9)
    policy.rebuild([*upstreams, newcomer])
    assert Counter(policy.pick(0, ()) for _ in range(30))[newcomer] in (10, 11)


def test_the_rotation_starts_at_the_workers_slot() -> None:
    for start in range(3):
        policy, upstreams = built(*[(1, 0, 0)] * 3, start=start)
        assert policy.pick(0, ()) is upstreams[start]


def test_up_to_the_size_limit_the_minimum_is_always_found() -> None:
    policy, upstreams = built(*[(1, 5, 0)] * (SCAN_LIMIT - 1), (1, 4, 0))
    assert {policy.pick(0, ()) for _ in range(100)} == {upstreams[-1]}


def test_above_the_size_limit_two_are_sampled() -> None:
    """The idle upstream wins when it is in the sample: 2 of n times, not always, and the rest is spread."""
    count, picks = 20, 20_000
    policy, upstreams = built(*[(1, 5, 0)] * (count - 1), (1, 0, 0))
    seen = Counter(policy.pick(0, ()) for _ in range(picks))
    assert seen[upstreams[-1]] / picks == pytest.approx(2 / count, rel=0.1)
    assert len(seen) == count


def test_all_pairs_are_sampled_evenly() -> None:
    """Chi-square over the winners with distinct loads: upstream k wins against k lesser ones of n - 1."""
    count, picks = 20, 40_000
    policy, upstreams = built(*[(1, count - number, 0) for number in range(count)])
    seen = Counter(policy.pick(0, ()) for _ in range(picks))
    chi_square = 0.0
    for number, one in enumerate(upstreams):
        expected = picks * number / (count * (count - 1) / 2)
        if expected:
            chi_square += (seen[one] - expected) ** 2 / expected
    assert seen[upstreams[0]] == 0  # the busiest always loses
    assert chi_square < 45.0  # 18 degrees of freedom: 1 in 2,000


LOADS = st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(1, 20))


@settings(deadline=None)
@given(st.lists(LOADS, min_size=1, max_size=SCAN_LIMIT), st.data())
def test_no_untried_upstream_has_less_load(shapes: list[tuple[int, int, int]], data: st.DataObject) -> None:
    policy, upstreams = built(*[(weight, inflight, remote) for inflight, remote, weight in shapes])
    tried = tuple(data.draw(st.lists(st.sampled_from(upstreams), unique=True, max_size=len(upstreams) - 1)))

    def load(one: Upstream) -> float:
        return (one.inflight + one.remote_inflight) * (1.0 / one.effective_weight)

    chosen = policy.pick(0, tried)
    assert chosen is not None
    assert load(chosen) == min(load(one) for one in upstreams if one not in tried)
