"""A worker's share of a limit."""

import pytest

from balancer.runtime.build import share


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
@pytest.mark.parametrize("total", [0, 1, 7, 8, 100, 20_001])
def test_shares_add_up_and_differ_by_one_at_most(total: int, workers: int) -> None:
    for index in range(2 * workers):
        shares = [share(total, workers, slot, index) for slot in range(workers)]
        assert sum(shares) == total
        assert max(shares) - min(shares) <= 1


def test_the_surplus_goes_to_other_workers_for_other_limits() -> None:
    assert [[share(4, 3, slot, index) for slot in range(3)] for index in range(4)] == [
        [2, 1, 1],
        [1, 2, 1],
        [1, 1, 2],
        [2, 1, 1],
    ]


@pytest.mark.parametrize("workers", [2, 3, 8])
def test_over_all_limits_workers_have_equal_sums(workers: int) -> None:
    sums = [
        sum(share(workers + 1, workers, slot, index) for index in range(workers)) for slot in range(workers)
    ]
    assert len(set(sums)) == 1
