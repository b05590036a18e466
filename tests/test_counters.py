"""Counts of a row, stored at once or in batches."""

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.counters import CATCH_UP_NS, Batch, Counters
from balancer.edges import Edges
from balancer.telemetry.columns import ROUTE_INFLIGHT
from tests.fakes.wire import Wire

TIMES = 4  # a histogram: above 20 ns, up to 10 ns, above that
TOTAL = 7
EDGES = Edges((10e-9, 20e-9))


def cells() -> memoryview:
    return memoryview(array("q", [0] * 8))


def counters(level_column: int = -1) -> Counters:
    """Without a batch, but with the same bounds."""
    row = Counters(cells(), level_column=level_column)
    row.edges = EDGES
    return row


def test_without_a_batch_all_is_stored_at_once() -> None:
    row = counters(level_column=0)
    row.measure(3, TIMES, TOTAL, 20)
    row.measure(3, TIMES, TOTAL, 1)
    row.measure(3, TIMES, TOTAL, 21)
    row.level = 4
    row.await_flush()
    assert row.cells.tolist() == [4, 0, 0, 3, 1, 1, 1, 42]


@given(
    st.lists(
        st.tuples(st.integers(1, 3), st.integers(0, 25) | st.integers(0, 1 << 40))
        | st.just("flush")
        | st.just("read"),
        max_size=20,
    )
)
def test_a_batch_stores_what_would_be_stored_at_once(events: list[tuple[int, int] | str]) -> None:
    batch = Batch(EDGES)
    plain, batched = counters(), Counters(cells(), batch)
    for event in events:
        if event == "flush":
            batch.flush()
            assert batched.cells.tolist() == plain.cells.tolist()
        elif isinstance(event, str):
            assert [batched.value(column) for column in range(8)] == plain.cells.tolist()
        else:
            code, ns = event
            plain.measure(code, TIMES, TOTAL, ns)
            batched.measure(code, TIMES, TOTAL, ns)
    batch.flush()
    assert batched.cells.tolist() == plain.cells.tolist()


def test_nothing_is_stored_before_the_flush() -> None:
    batch = Batch(EDGES)
    rows = [Counters(cells(), batch, level_column=0) for _ in range(3)]
    rows[0].measure(1, TIMES, TOTAL, 5)
    rows[2].level = 9
    rows[2].await_flush()
    assert not any(any(row.cells) for row in rows)
    batch.flush()
    assert [row.cells.tolist() for row in rows] == [[0, 1, 0, 0, 0, 1, 0, 5], [0] * 8, [9, *[0] * 7]]


@pytest.mark.parametrize("levels", [[1, 0], [1, 2, 1], [3]])
def test_a_level_may_change_several_times_before_it_is_stored(levels: list[int]) -> None:
    batch = Batch()
    row = Counters(cells(), batch, level_column=2)
    for _ in range(2):
        for level in levels:
            row.level = level
            row.await_flush()
        batch.flush()
        assert row.cells[2] == levels[-1]


def test_a_row_that_was_stored_alone_counts_on() -> None:
    batch = Batch(EDGES)
    row = Counters(cells(), batch)
    for count in (1, 2, 3):
        row.measure(1, TIMES, TOTAL, 10)
        assert row.value(1) == count
        row.flush()
        assert (row.cells[1], row.cells[TOTAL]) == (count, 10 * count)
    batch.flush()
    assert row.cells[1] == 3


def test_a_turn_longer_than_a_sweep_stores_its_counts_meanwhile() -> None:
    wire = Wire()
    (route,) = wire.proxy.context.router.routes
    stored = []
    for _ in range(3):  # each begins a second after the last one, none has ended, and no sweep has come
        wire.clock.advance(CATCH_UP_NS / 1e9)
        wire.connect().receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        stored.append(route.side.counters.cells[ROUTE_INFLIGHT])
    assert stored == [1, 2, 3]
    wire.close()
