"""Counts and rates."""

from array import array

import pytest

from balancer.edges import CELLS, STANDARD
from balancer.overview.figures import NOTHING, Counts, rates, together
from balancer.overview.window import Window


def counts(requests: int, errors: int = 0, *, at: float = 0.02, received: int = 0) -> Counts:
    """All of whose responses began after `at` seconds."""
    cells = array("q", [0]) * CELLS
    cells[STANDARD.cell(round(at * 1e9))] = requests
    return Counts(requests, errors, 0, 0, received, 0, cells)


def test_rates_are_per_second_shares_of_requests_percentiles_ms() -> None:
    found = rates(counts(50, 5, received=1000), 10.0, STANDARD)
    assert (found.rps, found.n, found.errors, found.received) == (5.0, 50, 0.1, 100.0)
    assert found.p50 == pytest.approx(17.5)  # in the bucket from 10 to 25 ms
    assert found.p99 == pytest.approx(24.85)


@pytest.mark.parametrize("of", [None, counts(0)], ids=["nothing known", "no requests"])
def test_without_requests_shares_and_percentiles_are_not_known(of: Counts | None) -> None:
    assert rates(of, 10.0, STANDARD) is NOTHING


def test_counts_that_began_anew_are_not_negative() -> None:
    since = counts(3).since(counts(7))
    assert (since.requests, sum(since.cells)) == (0, 0)


def test_together_merges_buckets() -> None:
    both = together([counts(10, at=0.002), counts(10, 3, at=4.0)])
    assert both is not None
    assert (both.requests, both.errors) == (20, 3)
    assert STANDARD.quantiles(both.cells, [0.95]) == pytest.approx([4.75])
    assert together([]) is None


def test_a_window_counts_since_its_oldest_sample() -> None:
    window: Window[str] = Window(2)
    for second, requests in enumerate((0, 10, 30, 60)):
        window.push(float(second), {"web": counts(requests)})
    since, seconds = window.of("web")
    assert since is not None
    assert (since.requests, seconds) == (50, 2.0)
    since, seconds = window.of("web", 1)
    assert since is not None
    assert (since.requests, seconds) == (30, 1.0)


def test_what_is_new_counts_from_its_first_sample_on() -> None:
    window: Window[str] = Window(10)
    assert window.of("new") == (None, 0.0)
    window.push(0.0, {})
    window.push(1.0, {"new": counts(100)})
    assert window.of("new") == (None, 0.0)
    window.push(2.0, {"new": counts(104)})
    since, seconds = window.of("new")
    assert since is not None
    assert (since.requests, seconds) == (4, 1.0)
    assert window.of("gone") == (None, 0.0)
