"""random: shares are exactly proportional to the weights."""

from collections import Counter

import pytest

from balancer.policies.conformance import upstream
from balancer.policies.weighted_random import WeightedRandom
from balancer.upstreams.upstream import Upstream
from tests.policies.contexts import context


def built(*weights: float, seed: int = 1) -> tuple[WeightedRandom, list[Upstream]]:
    upstreams = [upstream(number, weight) for number, weight in enumerate(weights)]
    policy = WeightedRandom(context(seed))
    policy.rebuild(upstreams)
    return policy, upstreams


WEIGHTS: dict[
    str, tuple[tuple[float, ...], float]
] = {  # with the value that chi-square exceeds once in 10,000 times
    "equal": ((1, 1, 1, 1, 1), 23.5),
    "one of each": ((1, 2, 3, 4, 5), 23.5),
    "fractions": ((0.1, 0.25, 1, 1), 21.1),
    "one has nearly all": ((1, 1000), 15.1),
    "many": (tuple(range(1, 101)), 161.3),
}


@pytest.mark.parametrize("case", WEIGHTS)
def test_shares_are_those_of_the_weights(case: str) -> None:
    weights, most = WEIGHTS[case]
    policy, upstreams = built(*weights)
    picks = 100_000
    seen = Counter(policy.pick(0, ()) for _ in range(picks))
    chi_square = 0.0
    for one, weight in zip(upstreams, weights, strict=True):
        expected = picks * weight / sum(weights)
        chi_square += (seen[one] - expected) ** 2 / expected
    assert chi_square < most


def test_weights_hold_among_the_untried_too() -> None:
    """If the tried one has nearly all the weight, the rest is drawn by weight."""
    policy, (heavy, light, middle) = built(1e9, 1, 3)
    seen = Counter(policy.pick(0, (heavy,)) for _ in range(10_000))
    assert seen[middle] / 10_000 == pytest.approx(0.75, abs=0.02)
    assert seen[light] / 10_000 == pytest.approx(0.25, abs=0.02)


def test_other_seeds_give_other_picks() -> None:
    runs = []
    for seed in (1, 2):
        policy, upstreams = built(1, 1, 1, seed=seed)
        runs.append([upstreams.index(one) for _ in range(50) if (one := policy.pick(0, ())) is not None])
    assert runs[0] != runs[1]
