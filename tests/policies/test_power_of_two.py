"""power_of_two: all pairs are equally likely, and the less loaded of a pair by weight is picked."""

from collections import Counter
from itertools import combinations

import pytest

from balancer.policies.conformance import upstream
from balancer.policies.power_of_two import PowerOfTwo
from balancer.policies.sampling import draw_two
from balancer.upstreams.upstream import Upstream
from tests.policies.contexts import context

Shape = tuple[float, int, int]  # effective weight, inflight, remote inflight


def built(*shapes: Shape) -> tuple[PowerOfTwo, list[Upstream]]:
    upstreams = []
    for number, (weight, inflight, remote) in enumerate(shapes):
        one = upstream(number, weight, inflight)
        one.remote_inflight = remote
        upstreams.append(one)
    policy = PowerOfTwo(context())
    policy.rebuild(upstreams)
    return policy, upstreams


WINNERS: dict[str, tuple[Shape, Shape]] = {  # of a pair the first one always wins
    "the 3 of [3, 5]": ((1, 3, 0), (1, 5, 0)),
    "the other workers' count too": ((1, 5, 0), (1, 1, 9)),
    "twice the load at three times the weight": ((3, 6, 0), (1, 3, 0)),
    "the lighter once the heavier has its fill": ((1, 0, 0), (3, 3, 0)),
    "a fraction of a weight": ((1, 3, 0), (0.5, 2, 0)),
}


@pytest.mark.parametrize("case", WINNERS)
def test_the_less_loaded_of_two_is_picked(case: str) -> None:
    winner, loser = WINNERS[case]
    for shapes, place in (((winner, loser), 0), ((loser, winner), 1)):
        policy, upstreams = built(*shapes)
        assert {policy.pick(0, ()) for _ in range(50)} == {upstreams[place]}


class Seat:
    """The least that can be drawn."""

    def __init__(self, number: int) -> None:
        self.upstream = upstream(number)


@pytest.mark.parametrize("count", [2, 3, 5, 16])
def test_all_pairs_are_drawn_evenly(count: int) -> None:
    """Both orders of each pair too: the order decides ties."""
    draw = context().random.random
    seats = [Seat(number) for number in range(count)]
    drawn: Counter[tuple[Seat, ...]] = Counter(tuple(draw_two(seats, (), draw)) for _ in range(60_000))
    pairs = [pair for a, b in combinations(seats, 2) for pair in ((a, b), (b, a))]
    assert drawn.keys() <= set(pairs)
    expected = 60_000 / len(pairs)
    chi_square = sum((drawn[pair] - expected) ** 2 / expected for pair in pairs)
    freedom = len(pairs) - 1
    assert chi_square < freedom + 4 * (2 * freedom) ** 0.5 + 8  # once in thousands of times


@pytest.mark.parametrize("left", [0, 1, 2, 3])
def test_pairs_of_the_untried_are_drawn_evenly(left: int) -> None:
    draw = context().random.random
    seats = [Seat(number) for number in range(40)]
    tried = tuple(seat.upstream for seat in seats[left:])
    drawn = Counter(frozenset(draw_two(seats, tried, draw)) for _ in range(3000))
    sets = {frozenset(pair) for pair in combinations(seats[:left], min(left, 2))}
    assert set(drawn) == sets
    assert min(drawn.values()) > 0.9 * 3000 / len(sets)


def test_with_distinct_loads_all_but_the_busiest_are_used() -> None:
    """Upstream k wins against the k busier ones (chi-square); the busiest never wins."""
    count, picks = 10, 45_000
    policy, upstreams = built(*[(1, count - number, 0) for number in range(count)])
    seen = Counter(policy.pick(0, ()) for _ in range(picks))
    assert seen[upstreams[0]] == 0
    chi_square = 0.0
    for number, one in enumerate(upstreams[1:], 1):
        expected = picks * number / (count * (count - 1) / 2)
        chi_square += (seen[one] - expected) ** 2 / expected
    assert chi_square < 31.8  # 8 degrees of freedom: once in 10,000 times


def test_idle_upstreams_are_picked_by_weight() -> None:
    policy, (light, _) = built((1, 0, 0), (3, 0, 0))
    seen = Counter(policy.pick(0, ()) for _ in range(10_000))
    assert seen[light] / 10_000 == pytest.approx(0.25, abs=0.02)
