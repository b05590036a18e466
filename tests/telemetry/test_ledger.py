"""The ledger: totals never decrease, gauges end with their incarnation, rows and pages are never shared."""

from collections.abc import Iterator

import pytest

from balancer.errors import StartupError
from balancer.telemetry import columns as c
from balancer.telemetry.columns import Kind
from balancer.telemetry.ledger import WIDTH, Ledger
from balancer.telemetry.segment import ROWS, Segment


@pytest.fixture
def segment() -> Iterator[Segment]:
    made = Segment.create(workers=2)
    yield made
    made.close()


@pytest.fixture
def ledger(segment: Segment) -> Ledger:
    return Ledger(segment)


def test_an_entity_keeps_its_row(ledger: Ledger) -> None:
    first = ledger.row(Kind.UPSTREAM, "default", "app1:8000")
    other = ledger.row(Kind.UPSTREAM, "default", "app2:8000")
    assert first != other
    assert ledger.row(Kind.UPSTREAM, "default", "app1:8000") == first
    assert ledger.row(Kind.POOL, "default") not in (first, other)


def test_entities_are_listed_by_kind_in_order(ledger: Ledger) -> None:
    rows = [ledger.row(Kind.WORKER, "0"), ledger.row(Kind.POOL, "b"), ledger.row(Kind.POOL, "a")]
    assert ledger.entities(Kind.POOL) == [(("b",), rows[1]), (("a",), rows[2])]


def test_more_entities_than_rows_is_a_startup_error(ledger: Ledger) -> None:
    for number in range(ROWS):
        ledger.row(Kind.UPSTREAM, "default", str(number))
    with pytest.raises(StartupError, match="too many upstreams"):
        ledger.row(Kind.UPSTREAM, "default", "one more")


def test_total_sums_live_pages(segment: Segment, ledger: Ledger) -> None:
    row = ledger.row(Kind.UPSTREAM, "default", "a")
    for value in (3, 4):
        segment.page(ledger.take_page()).row(row)[c.UPSTREAM_CONNECTS] = value
    total = ledger.total(Kind.UPSTREAM, row)
    assert (len(total), total[c.UPSTREAM_CONNECTS]) == (WIDTH[Kind.UPSTREAM], 7)


def test_total_without_any_incarnation_is_zero(ledger: Ledger) -> None:
    row = ledger.row(Kind.POOL, "default")
    assert ledger.total(Kind.POOL, row) == [0] * WIDTH[Kind.POOL]


def test_a_fold_keeps_counters_and_drops_gauges(segment: Segment, ledger: Ledger) -> None:
    row = ledger.row(Kind.UPSTREAM, "default", "a")
    for _ in range(2):
        page = ledger.take_page()
        cells = segment.page(page).row(row)
        cells[c.UPSTREAM_CONNECTS], cells[c.UPSTREAM_INFLIGHT], cells[c.UPSTREAM_IDLE] = 5, 2, 1
        ledger.fold(page)
    total = ledger.total(Kind.UPSTREAM, row)
    assert [total[x] for x in (c.UPSTREAM_CONNECTS, c.UPSTREAM_INFLIGHT, c.UPSTREAM_IDLE)] == [10, 0, 0]


@pytest.mark.parametrize("kind", Kind)
def test_every_gauge_lies_within_the_width_of_its_kind(kind: Kind) -> None:
    assert all(column < WIDTH[kind] <= c.CELLS_PER_ROW for column in c.GAUGES[kind])


def test_the_page_of_a_new_incarnation_is_empty(segment: Segment, ledger: Ledger) -> None:
    row = ledger.row(Kind.POOL, "default")
    page = ledger.take_page()
    segment.page(page).row(row)[0] = 9
    ledger.fold(page)
    pages = [ledger.take_page() for _ in range(segment.pages - 1)]
    assert page in pages
    assert 0 not in pages
    assert segment.page(page).row(row)[0] == 0


def test_without_a_free_page_no_incarnation_starts(segment: Segment, ledger: Ledger) -> None:
    for _ in range(segment.pages - 1):
        ledger.take_page()
    with pytest.raises(StartupError, match="pages of the stats segment"):
        ledger.take_page()


# --- removed entities


def test_a_retired_entity_is_not_listed_and_restarts_at_zero(segment: Segment, ledger: Ledger) -> None:
    row = ledger.row(Kind.UPSTREAM, "default", "a")
    cells = segment.page(ledger.take_page()).row(row)
    cells[c.UPSTREAM_CONNECTS] = 5
    ledger.retire(Kind.UPSTREAM, "default", "a")
    assert ledger.totals(Kind.UPSTREAM) == []
    again = ledger.row(Kind.UPSTREAM, "default", "a")
    assert again != row
    assert ledger.total(Kind.UPSTREAM, again) == [0] * WIDTH[Kind.UPSTREAM]


def test_a_row_is_reused_only_after_all_workers_have_released_it(segment: Segment, ledger: Ledger) -> None:
    pages = [ledger.take_page() for _ in range(3)]
    row = ledger.row(Kind.UPSTREAM, "default", "a")
    segment.page(pages[0]).row(row)[0] = 7
    ledger.retire(Kind.UPSTREAM, "default", "a")
    late = ledger.take_page()  # starts without that entity
    ledger.release(pages[0], [row])
    ledger.release(pages[1], [row])
    assert ledger.row(Kind.UPSTREAM, "default", "b") != row
    ledger.fold(pages[2])  # ended, which releases its rows
    new = ledger.row(Kind.UPSTREAM, "default", "c")
    assert new == row
    assert ledger.total(Kind.UPSTREAM, new) == [0] * WIDTH[Kind.UPSTREAM]
    ledger.fold(late)


def test_without_workers_a_row_is_free_at_once(ledger: Ledger) -> None:
    row = ledger.row(Kind.UPSTREAM, "default", "a")
    ledger.retire(Kind.UPSTREAM, "default", "a")
    assert ledger.row(Kind.UPSTREAM, "default", "b") == row


def test_counts_of_ended_workers_are_forgotten_too(segment: Segment, ledger: Ledger) -> None:
    row = ledger.row(Kind.UPSTREAM, "default", "a")
    page = ledger.take_page()
    segment.page(page).row(row)[0] = 7
    ledger.fold(page)
    ledger.retire(Kind.UPSTREAM, "default", "a")
    assert ledger.row(Kind.UPSTREAM, "default", "b") == row
    assert ledger.total(Kind.UPSTREAM, row)[0] == 0


def test_releasing_a_row_in_use_has_no_effect(ledger: Ledger) -> None:
    row, page = ledger.row(Kind.UPSTREAM, "default", "a"), ledger.take_page()
    ledger.release(page, [row, 99])
    assert ledger.entities(Kind.UPSTREAM) == [(("default", "a"), row)]


def test_endless_changes_of_membership_fit(ledger: Ledger) -> None:
    for number in range(2 * ROWS):
        ledger.row(Kind.UPSTREAM, "default", str(number))
        ledger.retire(Kind.UPSTREAM, "default", str(number))
    assert ledger.entities(Kind.UPSTREAM) == []


def test_a_fingerprint_changes_with_its_owners_counts(ledger: Ledger, segment: Segment) -> None:
    row = ledger.row(Kind.LISTENER, "x")
    first, second = ledger.take_page(), ledger.take_page()
    before = ledger.fingerprint(first)
    segment.page(second).row(row)[c.LISTENER_CONNECTIONS_TOTAL] = 1
    assert ledger.fingerprint(first) == before
    segment.page(first).row(row)[c.LISTENER_CONNECTIONS_TOTAL] = 1
    assert ledger.fingerprint(first) != before
