"""Ownership of rows and pages in the stats segment (L2), kept by the supervisor, and the totals.

Rows belong to entities, the same row in every page; pages belong to worker incarnations. When an incarnation
ends, its counters are folded into the base page, so that totals never decrease. The row of a removed entity
is reused only after every incarnation that may know it has released it.
"""

import threading
from collections.abc import Container, Iterable
from typing import Final
from zlib import crc32

from balancer.edges import STANDARD
from balancer.errors import FAILURES, StartupError
from balancer.telemetry import columns
from balancer.telemetry.columns import GAUGES, Kind
from balancer.telemetry.segment import BASE_PAGE, CELL_BYTES, ROWS, Page, Segment

# How many cells of a row each kind uses; the rest of the row is never read.
WIDTH: Final[dict[Kind, int]] = {
    Kind.WORKER: columns.WORKER_LOCAL_RESPONSES + len(FAILURES),
    Kind.LISTENER: columns.LISTENER_TLS_HANDSHAKES,
    Kind.TLS_LISTENER: columns.LISTENER_TLS_HANDSHAKES + len(columns.HANDSHAKE_RESULTS),
    Kind.ROUTE: columns.ROUTE_CELLS,
    Kind.POOL: columns.POOL_QUEUE_ABANDONED + 1,
    Kind.UPSTREAM: columns.UPSTREAM_CONNECT_FAILURES + len(columns.CONNECT_FAILURE_REASONS),
}
Labels = tuple[str, ...]
_EMPTY_ROW: Final = memoryview(bytes(columns.CELLS_PER_ROW * CELL_BYTES)).cast("q")


class Ledger:
    """Allocates rows and pages, and reads totals.

    `total` and `totals` may be called from another thread than the rest: a lock prevents them from seeing a
    half-done fold.
    """

    def __init__(self, segment: Segment) -> None:
        self.edges = STANDARD  # of its histograms; a reload may add some
        self._segment = segment
        self._rows: dict[tuple[Kind, Labels], int] = {}
        self._next_row = 0
        self._free_rows: list[int] = []
        self._leaving: dict[int, set[int]] = {}  # row of a removed entity -> pages whose owners still hold it
        self._free_pages = list(range(segment.pages - 1, BASE_PAGE, -1))
        self._base = segment.page(BASE_PAGE)
        self._live: dict[int, Page] = {}
        self._folded = False  # until then the base page is a hole, and reading would allocate it
        self._lock = threading.Lock()

    def row(self, kind: Kind, *labels: str) -> int:
        """The row of an entity, allocated on first use. Raises StartupError if all are taken."""
        entity = (kind, labels)
        row = self._rows.get(entity)
        if row is None:
            if self._free_rows:
                row = self._free_rows.pop()
            elif self._next_row < ROWS:
                row = self._next_row
                self._next_row += 1
            else:
                raise StartupError(f"too many upstreams, pools and routes: at most {ROWS} fit")
            self._rows[entity] = row
        return row

    def retire(self, kind: Kind, *labels: str, holders: Iterable[int] | None = None) -> None:
        """Remove the entity: its counts are dropped, and its row is free once all live pages release it, or
        those of `holders` if only these know it.

        If added again, it starts from zero in another row. Raises KeyError for an unknown entity.
        """
        with self._lock:
            row = self._rows.pop((kind, labels))
            self._leaving[row] = set(self._live if holders is None else self._live.keys() & set(holders))
            self._free_if_released(row)

    def release(self, index: int, rows: Iterable[int]) -> None:
        """The owner of page `index` no longer writes to these rows of removed entities."""
        with self._lock:
            for row in rows:
                if row in self._leaving:
                    self._leaving[row].discard(index)
                    self._free_if_released(row)

    def _free_if_released(self, row: int) -> None:
        if self._leaving[row]:
            return
        del self._leaving[row]
        for page in [self._base, *self._live.values()] if self._folded else self._live.values():
            page.row(row)[:] = _EMPTY_ROW
        self._free_rows.append(row)

    def entities(self, kind: Kind) -> list[tuple[Labels, int]]:
        """Labels and row of all entities of one kind, in order of allocation."""
        return [(labels, row) for (k, labels), row in list(self._rows.items()) if k is kind]

    @property
    def pages(self) -> int:
        """How many there are for incarnations."""
        return len(self._free_pages) + len(self._live)

    def has_page(self) -> bool:
        """Whether a page is free."""
        return bool(self._free_pages)

    def take_page(self) -> int:
        """A cleared page for a new incarnation. Raises StartupError if all are owned."""
        with self._lock:
            if not self._free_pages:
                raise StartupError("all pages of the stats segment are in use: too many workers are draining")
            index = self._free_pages.pop()
            self._live[index] = self._segment.page(index)
        return index

    def fold(self, index: int) -> None:
        """The incarnation that owned page `index` has ended: keep its counters, drop its gauges."""
        with self._lock:
            page = self._live.pop(index)
            for (kind, _), row in self._rows.items():  # counts of removed entities are dropped
                width = WIDTH[kind]
                counted = page.row(row)[:width].tolist()
                if not any(counted):
                    continue
                base = self._base.row(row)
                gauges = GAUGES[kind]
                for column, value in enumerate(counted):
                    if value and column not in gauges:
                        base[column] += value
            self._segment.clear(index)
            self._free_pages.append(index)
            self._folded = True
            for row, pages in list(self._leaving.items()):
                pages.discard(index)
                self._free_if_released(row)

    def fingerprint(self, index: int) -> int:
        """A checksum that almost certainly changes when the owner of page `index` counts anything."""
        page = self._live[index]
        total = 0
        for (kind, _), row in self._rows.items():
            total = crc32(page.row(row)[: WIDTH[kind]], total)
        return total

    def total(self, kind: Kind, row: int) -> list[int]:
        """The row's cells summed over the base page and all live pages; `WIDTH[kind]` numbers."""
        with self._lock:
            return self._sum(kind, row)

    def part(self, row: int, first: int, end: int) -> list[int]:
        """As `total`, but only for the cells from `first` up to, not including, `end`."""
        with self._lock:
            pages = [self._base, *self._live.values()] if self._folded else self._live.values()
            parts = [page.row(row)[first:end].tolist() for page in pages]
        return [sum(cells) for cells in zip(*parts, strict=True)] if parts else [0] * (end - first)

    def most(self, row: int, column: int) -> int:
        """The largest number that a live page has in this cell, 0 without any."""
        with self._lock:
            return max((page.row(row)[column] for page in self._live.values()), default=0)

    def cells(self, index: int, row: int) -> memoryview:
        """The cells of a row in a page that `take_page` has returned, and that no worker owns."""
        return self._live[index].row(row)

    def totals(self, kind: Kind, only: Container[Labels] | None = None) -> list[tuple[Labels, list[int]]]:
        """Labels and totals of all entities of one kind, or those in `only`, in order of allocation."""
        totals = []
        for labels, row in self.entities(kind):
            if only is not None and labels not in only:
                continue
            with self._lock:
                if self._rows.get((kind, labels)) == row:  # it may have been removed since
                    totals.append((labels, self._sum(kind, row)))
        return totals

    def _sum(self, kind: Kind, row: int) -> list[int]:
        width = WIDTH[kind]
        pages = [self._base, *self._live.values()] if self._folded else list(self._live.values())
        parts = [page.row(row)[:width].tolist() for page in pages]
        if len(parts) == 1:
            return parts[0]
        return [sum(cells) for cells in zip(*parts, strict=True)] if parts else [0] * width
