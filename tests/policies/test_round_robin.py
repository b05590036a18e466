"""round_robin: in turn, in proportion to the weights, and never in bursts."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balancer.policies.conformance import upstream
from balancer.policies.round_robin import RoundRobin
from balancer.upstreams.upstream import Upstream
from tests.policies.contexts import context


def built(*weights: float, start: int = 0) -> tuple[RoundRobin, list[Upstream]]:
    upstreams = [upstream(number, weight) for number, weight in enumerate(weights)]
    policy = RoundRobin(context(slot=start))
    policy.rebuild(upstreams)
    return policy, upstreams


def turns(policy: RoundRobin, upstreams: list[Upstream], count: int) -> str:
    """The next picks as letters: a for the first upstream."""
    letters = []
    for _ in range(count):
        chosen = policy.pick(0, ())
        assert chosen is not None
        letters.append("abcdefghij"[upstreams.index(chosen)])
    return "".join(letters)


ORDERS: dict[str, tuple[tuple[float, ...], str]] = {
    "equal weights": ((1, 1, 1), "abcabc"),
    "equal weights, not one": ((7, 7), "abab"),
    "one and three": ((1, 3), "babb"),
    "the heavy one is spread over the round": ((5, 1, 1), "aabaaca"),
    "light ones come between, not all at once": ((9, 1, 1, 1, 1, 1, 1), "aabacaadaeaafag"),
    "half a weight": ((0.5, 1), "bab"),
}


@pytest.mark.parametrize("case", ORDERS)
def test_upstreams_are_picked_in_smooth_weighted_order(case: str) -> None:
    weights, expected = ORDERS[case]
    policy, upstreams = built(*weights)
    seen = turns(policy, upstreams, len(expected))
    assert Counter(seen) == Counter(expected)
    assert turns(policy, upstreams, len(expected)) == seen  # the next round is the same


@pytest.mark.parametrize(("start", "expected"), [(0, "abc"), (1, "bca"), (2, "cab"), (3, "abc"), (7, "bca")])
def test_workers_start_at_different_upstreams(start: int, expected: str) -> None:
    policy, upstreams = built(1, 1, 1, start=start)
    assert turns(policy, upstreams, 3) == expected


@settings(deadline=None)
@given(st.lists(st.integers(1, 12), min_size=2, max_size=8))
def test_every_window_is_close_to_its_share(weights: list[int]) -> None:
    """Smoothness: at no time is an upstream a whole turn ahead of its share, or behind it."""
    policy, upstreams = built(*weights)
    total = sum(weights)
    seen = [policy.pick(0, ()) for _ in range(2 * total)]
    for one, weight in zip(upstreams, weights, strict=True):
        running = 0
        for place, chosen in enumerate(seen, 1):
            running += chosen is one
            assert abs(running - place * weight / total) < 1.0


@settings(deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=8))
def test_one_round_gives_each_upstream_exactly_its_turns(weights: list[int]) -> None:
    policy, upstreams = built(*weights)
    seen = Counter(policy.pick(0, ()) for _ in range(sum(weights)))
    assert [seen[one] for one in upstreams] == weights


@settings(deadline=None, max_examples=20)
@given(st.lists(st.floats(0.001, 1e6), min_size=1, max_size=50))
def test_any_weights_give_a_bounded_round_that_serves_all(weights: list[float]) -> None:
    policy, upstreams = built(*weights)
    seen = {policy.pick(0, ()) for _ in range(20_000)}
    assert seen == set(upstreams)


def test_a_tried_upstream_is_skipped_and_its_turn_comes_again() -> None:
    policy, (a, b, c) = built(1, 1, 1)
    assert policy.pick(0, (a,)) is b
    assert [policy.pick(0, ()) for _ in range(3)] == [c, a, b]


@pytest.mark.parametrize("start", [0, 1, 3])
def test_a_rebuild_continues_the_rotation(start: int) -> None:
    """Otherwise a flapping neighbour would send every request to the first upstream."""
    policy, upstreams = built(1, 1, 1, 1, start=start)
    seen = []
    for _ in range(40):
        seen.append(turns(policy, upstreams, 1))
        policy.rebuild(upstreams)
    assert Counter(seen) == {"a": 10, "b": 10, "c": 10, "d": 10}
