"""The arrival schedule: random, at an exact rate, the same for the same seed."""

from itertools import pairwise
from random import Random

import pytest

from loadtests.open_loop.arrivals import Phase, Sort, arrivals

ONE = (Sort("/r/"),)


@pytest.mark.parametrize(("rate", "seconds", "count"), [(600, 30, 18_000), (10, 2, 20), (100, 0.5, 50)])
def test_the_rate_is_exact_over_the_whole_phase(rate: int, seconds: float, count: int) -> None:
    plan = arrivals([Phase(rate, seconds, ONE)], Random(1))
    assert len(plan) == count
    assert all(0 <= one.at <= seconds for one in plan)
    assert plan == sorted(plan, key=lambda one: one.at)


def test_a_phase_begins_where_the_previous_one_ends() -> None:
    plan = arrivals([Phase(100, 2, ONE), Phase(0, 1, ONE, burst=30), Phase(50, 1, ONE)], Random(1))
    assert sum(one.at < 2 for one in plan) == 200
    assert sum(one.at == 2 for one in plan) == 30
    assert sum(3 <= one.at < 4 for one in plan) == 50


def test_arrivals_are_a_poisson_process() -> None:
    plan = arrivals([Phase(600, 30, ONE)], Random(1))
    gaps = sorted(after.at - before.at for before, after in pairwise(plan))
    # Half of all exponential gaps are shorter than ln 2 times the mean.
    assert gaps[len(gaps) // 2] * 600 == pytest.approx(0.693, rel=0.05)


def test_kinds_have_their_shares() -> None:
    sorts = (Sort("/r/", 0.9), Sort("/r/", 0.1, "POST"))
    plan = arrivals([Phase(600, 30, sorts)], Random(1))
    assert sum(one.sort is sorts[1] for one in plan) / len(plan) == pytest.approx(0.1, rel=0.1)


def test_the_same_seed_gives_the_same_load() -> None:
    phases = [Phase(600, 2, ONE)]
    assert arrivals(phases, Random(7)) == arrivals(phases, Random(7))
    assert arrivals(phases, Random(7)) != arrivals(phases, Random(8))
