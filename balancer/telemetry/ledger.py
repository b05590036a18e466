"""Who owns what in the stats segment (L2): the supervisor's book of rows and pages, and the sums.

Rows belong to entities, the same row in every page; pages belong to worker incarnations. When one ends, its
counters are folded into the base page, so that totals never go back.
"""

import threading

from balancer.errors import FAILURES, StartupError
from balancer.telemetry import columns
from balancer.telemetry.columns import GAUGES, Kind
from balancer.telemetry.segment import BASE_PAGE, ROWS, Page, Segment

# How many cells of a row each kind uses; the rest of the row is never read.
WIDTH: dict[Kind, int] = {
    Kind.WORKER: columns.WORKER_LOCAL_RESPONSES + len(FAILURES),
    Kind.LISTENER: columns.LISTENER_CONNECTIONS_TOTAL + 1,
    Kind.ROUTE: columns.ROUTE_INFLIGHT + 1,
    Kind.POOL: columns.POOL_TUNNELS + 1,
    Kind.UPSTREAM: columns.UPSTREAM_CLOSES + len(columns.CLOSE_REASONS),
}
Labels = tuple[str, ...]


class Ledger:
    """Allocation of rows and pages, and reading of totals.

    `total` may be called from another thread than the rest: a lock keeps a fold from being seen half done.
    """

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self._rows: dict[tuple[Kind, Labels], int] = {}
        self._free_pages = list(range(segment.pages - 1, BASE_PAGE, -1))
        self._base = segment.page(BASE_PAGE)
        self._live: dict[int, Page] = {}
        self._folded = False  # until then the base page is a hole, and reading it would fill it
        self._lock = threading.Lock()

    def row(self, kind: Kind, *labels: str) -> int:
        """The row of an entity, allocated when first asked for. Raises StartupError when all are taken."""
        entity = (kind, labels)
        row = self._rows.get(entity)
        if row is None:
            row = len(self._rows)
            if row >= ROWS:
                raise StartupError(f"too many upstreams, pools and routes: at most {ROWS} fit")
            self._rows[entity] = row
        return row

    def entities(self, kind: Kind) -> list[tuple[Labels, int]]:
        """Labels and row of all entities of one kind, in order of allocation."""
        return [(labels, row) for (k, labels), row in list(self._rows.items()) if k is kind]

    def take_page(self) -> int:
        """A cleared page for a new incarnation. Raises StartupError when all are owned."""
        with self._lock:
            if not self._free_pages:
                raise StartupError("all pages of the stats segment are owned: too many workers are draining")
            index = self._free_pages.pop()
            self._live[index] = self._segment.page(index)
        return index

    def fold(self, index: int) -> None:
        """The incarnation that owned page `index` has ended: keep its counters, forget its gauges."""
        with self._lock:
            page = self._live.pop(index)
            for (kind, _), row in self._rows.items():
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

    def total(self, kind: Kind, row: int) -> list[int]:
        """The row's cells summed over the base page and all live ones; `WIDTH[kind]` numbers."""
        width = WIDTH[kind]
        with self._lock:
            pages = [self._base, *self._live.values()] if self._folded else list(self._live.values())
            parts = [page.row(row)[:width].tolist() for page in pages]
        if len(parts) == 1:
            return parts[0]
        return [sum(cells) for cells in zip(*parts, strict=True)] if parts else [0] * width
