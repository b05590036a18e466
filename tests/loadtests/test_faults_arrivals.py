"""The arrival schedule: an exact rate, at random, the same for the same seed."""

from itertools import pairwise
from random import Random

import pytest

from loadtests.faults.arrivals import POST_SHARE, arrivals


@pytest.mark.parametrize(("rate", "seconds", "count"), [(600, 30, 18_000), (10, 2, 20), (100, 0.5, 50)])
def test_the_rate_is_exact_over_the_whole(rate: int, seconds: float, count: int) -> None:
    plan = arrivals(rate, seconds, Random(1))
    assert len(plan) == count
    assert all(0 <= one.at <= seconds for one in plan)
    assert plan == sorted(plan, key=lambda one: one.at)


def test_arrivals_come_in_bursts_and_gaps_as_those_of_many_users_do() -> None:
    plan = arrivals(600, 30, Random(1))
    gaps = sorted(after.at - before.at for before, after in pairwise(plan))
    # Of exponential gaps half are shorter than ln 2 times the mean.
    assert gaps[len(gaps) // 2] * 600 == pytest.approx(0.693, rel=0.05)


def test_a_share_of_them_are_posts() -> None:
    plan = arrivals(600, 30, Random(1))
    posts = sum(one.method == "POST" for one in plan)
    assert posts / len(plan) == pytest.approx(POST_SHARE, rel=0.1)


def test_the_same_seed_is_the_same_load() -> None:
    assert arrivals(600, 2, Random(7)) == arrivals(600, 2, Random(7))
    assert arrivals(600, 2, Random(7)) != arrivals(600, 2, Random(8))
