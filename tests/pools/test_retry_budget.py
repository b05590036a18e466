"""The retry budget: a share of the requests, a floor, and no hoard."""

import pytest

from balancer.pools.retry_budget import RetryBudget

SECOND = 1_000_000_000


def spent(budget: RetryBudget, now_ns: int, most: int = 10_000) -> int:
    """How many retries it allows at once."""
    return next((count for count in range(most) if not budget.spend(now_ns)), most)


@pytest.mark.parametrize("floor", [0.0, 1.0, 10.0])
def test_the_floor_is_there_without_any_request(floor: float) -> None:
    budget = RetryBudget(0.2, floor, 0)
    assert spent(budget, 0) == floor
    assert spent(budget, SECOND) == floor


def test_requests_earn_their_share() -> None:
    budget = RetryBudget(0.2, 0.0, 0)
    budget.requests = 100
    assert spent(budget, SECOND) == 20
    assert spent(budget, 2 * SECOND) == 0


def test_over_time_it_is_the_share_and_the_floor() -> None:
    budget = RetryBudget(0.1, 5.0, 0)
    allowed = 0
    for second in range(1, 61):
        budget.requests += 100
        allowed += spent(budget, second * SECOND)
    assert allowed == pytest.approx(60 * (10 + 5), rel=0.02)


def test_quiet_hours_save_up_no_more_than_some_seconds() -> None:
    budget = RetryBudget(0.2, 10.0, 0)
    assert spent(budget, 3600 * SECOND) == 100


def test_nor_do_busy_hours_in_which_nothing_was_retried() -> None:
    """An outage begins with ten seconds' worth of retries, however long all was well before it."""
    budget = RetryBudget(0.2, 10.0, 0)
    budget.requests = 3600 * 1000
    assert spent(budget, 3600 * SECOND) == 10 * 200 + 10 * 10


def test_nor_do_retries_now_and_then_keep_a_hoard() -> None:
    budget = RetryBudget(0.2, 0.0, 0)
    for minute in range(1, 61):
        budget.requests += 60 * 1000
        assert budget.spend(minute * 60 * SECOND)
    assert spent(budget, 3600 * SECOND) == pytest.approx(10 * 200, rel=0.01)


def test_what_was_earned_fades() -> None:
    budget = RetryBudget(0.2, 0.0, 0)
    budget.requests = 1000
    assert budget.spend(SECOND)
    assert spent(budget, 61 * SECOND) < 5


def test_asking_whether_a_retry_is_left_costs_nothing() -> None:
    asked, other = RetryBudget(0.2, 0.0, 0), RetryBudget(0.2, 0.0, 0)
    for second in range(1, 11):
        for budget in (asked, other):
            budget.requests += 10
        assert asked.has_one(second * SECOND)
    assert spent(asked, 10 * SECOND) == spent(other, 10 * SECOND) == 20
