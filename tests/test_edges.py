"""The bounds of histograms, and which cell counts what."""

import math
from bisect import bisect_left
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.edges import CELLS, DEFAULT, MOST_OWN, STANDARD, Edges, with_own

durations = st.integers(0, 100_000_000_000)
own = st.lists(st.sampled_from([0.0003, 0.003, 0.3, 0.75, 60.0]), unique=True)


def counted(edges: Edges, times: list[int]) -> list[int]:
    cells = [0] * CELLS
    for ns in times:
        cells[edges.cell(ns)] += 1
    return cells


@given(own, st.lists(durations))
def test_a_bucket_has_what_is_up_to_its_bound_and_above_the_one_below(
    bounds: list[float], times: list[int]
) -> None:
    edges = Edges(with_own(DEFAULT, bounds))
    assert list(edges.bounds) == sorted({*DEFAULT, *bounds})
    found = [0] * (len(edges.bounds) + 1)
    for ns in times:
        found[bisect_left(edges.bounds, ns / 1e9)] += 1
    assert edges.ascending(counted(edges, times)) == found


def test_a_duration_of_exactly_a_bound_is_in_its_bucket() -> None:
    edges = Edges(with_own(DEFAULT, [0.3]))
    place = edges.bounds.index(0.3)
    assert [edges.bucket(ns) for ns in (299_999_999, 300_000_000, 300_000_001)] == [place, place, place + 1]


@given(st.lists(durations), st.lists(durations))
def test_old_workers_and_new_ones_count_into_the_same_row(old: list[int], new: list[int]) -> None:
    before = Edges(with_own(DEFAULT, [0.3]))
    after = Edges(with_own(before.order, [0.75]))
    both = [a + b for a, b in zip(counted(before, old), counted(after, new), strict=True)]
    cumulated = dict(zip((*after.bounds, math.inf), accumulate(after.ascending(both)), strict=True))
    for bound in (*before.bounds, math.inf):  # exact at every bound that both know
        assert cumulated[bound] == sum(ns <= bound * 1e9 for ns in (*old, *new))
    # What the old ones have counted between the neighbours of the new bound is taken to be above it.
    assert cumulated[0.75] == sum(ns <= 0.5e9 for ns in old) + sum(ns <= 0.75e9 for ns in new)


def test_bounds_keep_their_cells_when_others_come() -> None:
    before = Edges(with_own(DEFAULT, [0.3]))
    after = Edges(with_own(before.order, [0.75, 0.02]))
    assert after.order[: len(before.order)] == before.order
    assert [after.cell(ns) for ns in (300_000_000, 90_000_000_000)] == [
        before.cell(300_000_000),
        before.cell(90_000_000_000),
    ]


@pytest.mark.parametrize(
    ("wanted", "more"),
    [([], ()), (DEFAULT, ()), ([0.3, 0.3], (0.3,)), ([0.75, 0.3], (0.3, 0.75)), ([0.1 + 0.2], (0.1 + 0.2,))],
    ids=["none", "default ones", "one twice", "ascending", "not a round number"],
)
def test_only_bounds_that_are_not_there_are_added(wanted: list[float], more: tuple[float, ...]) -> None:
    assert with_own(DEFAULT, wanted) == (*DEFAULT, *more)


def test_a_bound_that_differs_by_less_than_a_nanosecond_is_the_same() -> None:
    assert with_own((*DEFAULT, 0.3), [0.1 + 0.2]) == (*DEFAULT, 0.3)


def test_the_layout_has_room_for_all_own_bounds() -> None:
    edges = Edges(with_own(DEFAULT, [0.3 + at for at in range(MOST_OWN)]))
    assert edges.width == CELLS
    assert STANDARD.width == CELLS - MOST_OWN
