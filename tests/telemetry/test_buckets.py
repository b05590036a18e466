"""Which bounds the histograms of the metrics have."""

import pytest

from balancer.edges import CELLS, DEFAULT, STANDARD, Edges, with_own
from balancer.telemetry.buckets import Buckets

EDGES = Edges(with_own(DEFAULT, [0.3]))


def histogram(*milliseconds: float) -> list[int]:
    cells = [0] * CELLS
    for each in milliseconds:
        cells[EDGES.cell(round(each * 1e6))] += 1
    return cells


def test_counts_between_two_shown_bounds_are_added_up() -> None:
    shown = Buckets(EDGES, [0.1, 0.3, 1.0]).cumulated(histogram(3, 90, 100, 101, 299, 301, 600, 1001))
    assert shown == [("0.1", 3), ("0.3", 5), ("1.0", 7), ("+Inf", 8)]


@pytest.mark.parametrize("shown", [[], [7.5]], ids=["none", "one that is not counted"])
def test_without_a_bound_there_is_the_count_alone(shown: list[float]) -> None:
    assert Buckets(EDGES, shown).cumulated(histogram(1, 2)) == [("+Inf", 2)]


def test_the_default_bounds_are_shown_as_ever() -> None:
    names = [name for name, _ in Buckets().cumulated([0] * CELLS)]
    assert names == [*map(repr, STANDARD.bounds), "+Inf"]
