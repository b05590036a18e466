"""The retry budget: a share of the requests, a floor, and no hoarding."""

import pytest

from balancer.pools.retry_budget import RetryBudget

SECOND = 1_000_000_000


def spent(budget: RetryBudget, now_ns: int, most: int = 10_000) -> int:
    """How many retries the budget allows at once."""
    return next((count for count in range(most) if not budget.spend(now_ns)), most)


@pytest.mark.parametrize("floor", [0.0, 1.0, 10.0])
def test_the_floor_is_available_without_any_request(floor: float) -> None:
    budget = RetryBudget(0.2, floor, 0)
    assert spent(budget, 0) == floor
    assert spent(budget, SECOND) == floor


def test_requests_earn_their_share_of_the_budget() -> None:
    budget = RetryBudget(0.2, 0.0, 0)
    budget.requests = 100
    assert spent(budget, SECOND) == 20
    assert spent(budget, 2 * SECOND) == 0


def test_over_time_the_budget_is_share_plus_floor() -> None:
    budget = RetryBudget(0.1, 5.0, 0)
    allowed = 0
    for second in range(1, 61):
        budget.requests += 100
        allowed += spent(budget, second * SECOND)
    assert allowed == pytest.approx(60 * (10 + 5), rel=0.02)


def test_quiet_hours_save_up_only_seconds_of_budget() -> None:
    budget = RetryBudget(0.2, 10.0, 0)
    assert spent(budget, 3600 * SECOND) == 100


def test_busy_hours_without_retries_save_up_only_seconds_of_budget() -> None:
    """An outage starts with ten seconds' worth of retries, however long all was well before it."""
    budget = RetryBudget(0.2, 10.0, 0)
    budget.requests = 3600 * 1000
    assert spent(budget, 3600 * SECOND) == 10 * 200 + 10 * 10


def test_occasional_retries_do_not_build_up_a_hoard() -> None:
    budget = RetryBudget(0.2, 0.0, 0)
    for minute in range(1, 61):
        budget.requests += 60 * 1000
        assert budget.spend(minute * 60 * SECOND)
    assert spent(budget, 3600 * SECOND) == pytest.approx(10 * 200, rel=0.01)


def test_earned_budget_decays() -> None:
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
