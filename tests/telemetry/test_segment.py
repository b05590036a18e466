"""The stats segment: one process reads what another writes, and unused space costs nothing."""

import os
from collections.abc import Iterator

import pytest

from balancer.telemetry.columns import CELLS_PER_ROW
from balancer.telemetry.segment import GENERATIONS, ROWS, Segment, page_count


@pytest.fixture
def segment() -> Iterator[Segment]:
    made = Segment.create(workers=2)
    yield made
    made.close()


def memory_in_use(fd: int) -> int:
    return os.fstat(fd).st_blocks * 512


def test_a_segment_has_a_base_page_and_room_for_draining_incarnations(segment: Segment) -> None:
    assert segment.pages == page_count(2) >= 1 + GENERATIONS * 2


def test_an_attached_segment_sees_what_is_written(segment: Segment) -> None:
    segment.page(1).row(3)[5] = -7
    other = Segment.attach(os.dup(segment.fd))
    assert other.page(1).row(3)[5] == -7
    other.page(1).row(3)[5] += 10
    assert segment.page(1).row(3)[5] == 3
    other.close()


def test_rows_and_pages_do_not_overlap(segment: Segment) -> None:
    cells = [(p, r, c) for p in (0, 1, 6) for r in (0, 1, ROWS - 1) for c in (0, CELLS_PER_ROW - 1)]
    for value, (page, row, column) in enumerate(cells, start=1):
        segment.page(page).row(row)[column] = value
    assert [segment.page(p).row(r)[c] for p, r, c in cells] == list(range(1, len(cells) + 1))


def test_unused_room_takes_no_memory(segment: Segment) -> None:
    assert memory_in_use(segment.fd) == 0
    segment.page(6).row(ROWS - 1)[0] = 1
    assert memory_in_use(segment.fd) == 4096


def test_a_cleared_page_is_zero_and_gives_its_memory_back(segment: Segment) -> None:
    row = segment.page(2).row(9)
    row[0] = 1
    segment.page(3).row(9)[0] = 2
    segment.clear(2)
    assert (memory_in_use(segment.fd), row[0], segment.page(3).row(9)[0]) == (4096, 0, 2)


def test_a_row_stays_valid_after_the_segment_is_closed() -> None:
    segment = Segment.create(workers=1)
    row = segment.page(1).row(0)
    segment.close()
    row[0] = 4
    assert row[0] == 4


@pytest.mark.parametrize("row", [-1, ROWS])
def test_a_row_outside_the_page_is_refused(segment: Segment, row: int) -> None:
    with pytest.raises(IndexError, match="rows of a page"):
        segment.page(1).row(row)


def test_a_page_outside_the_segment_is_refused(segment: Segment) -> None:
    for page in (-1, segment.pages):
        with pytest.raises(IndexError, match="pages of the segment"):
            segment.page(page)
