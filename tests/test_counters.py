"""Counts of a row, stored at once or in batches."""

from array import array

import pytest

from balancer.counters import Batch, Counters


def cells() -> memoryview:
    return memoryview(array("q", [0] * 8))


def test_without_a_batch_a_count_is_stored_at_once() -> None:
    counters = Counters(cells())
    counters.add(3, 2)
    counters.add(3, -1)
    assert counters.cells.tolist() == [0, 0, 0, 1, 0, 0, 0, 0]


def test_a_batch_stores_all_of_its_rows_counts_once() -> None:
    batch = Batch()
    rows = [Counters(cells(), batch) for _ in range(3)]
    for _ in range(5):
        rows[0].add(7, 1)
        rows[0].add(0, 10)
        rows[2].add(1, 1 << 40)
    assert not any(any(row.cells) for row in rows)
    assert (rows[0].value(7), rows[2].value(1), rows[1].value(5)) == (5, 5 << 40, 0)
    for _ in range(2):
        batch.flush()
        assert rows[0].cells.tolist() == [50, 0, 0, 0, 0, 0, 0, 5]
        assert rows[2].cells.tolist() == [0, 5 << 40, 0, 0, 0, 0, 0, 0]
        assert rows[0].value(7) == 5


@pytest.mark.parametrize("changes", [[1, -1], [1, -1, 1], [1, 1, -1, -1, 1], [-1, 1, -1]])
def test_a_gauge_may_go_up_and_down_before_it_is_stored(changes: list[int]) -> None:
    batch = Batch()
    row = Counters(cells(), batch)
    for change in changes:
        row.add(2, change)
    batch.flush()
    assert row.cells[2] == sum(changes)


def test_a_row_that_was_stored_alone_counts_on() -> None:
    batch = Batch()
    row = Counters(cells(), batch)
    row.add(1, 1)
    row.flush()
    row.add(1, 1)
    batch.flush()
    row.add(1, 1)
    assert (row.cells[1], row.value(1)) == (2, 3)
    batch.flush()
    assert row.cells[1] == 3
