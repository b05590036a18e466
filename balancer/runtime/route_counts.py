"""The routes with the counts of each side (L7), for the admin API."""

from collections.abc import Sequence
from typing import TypeAlias

from balancer.admin.view import RouteView, SideView
from balancer.runtime.fleet import Fleet
from balancer.runtime.gate import Tally
from balancer.runtime.readonly import ReadonlyRoutes
from balancer.runtime.splits import Splits
from balancer.spec.worker import RouteSpec
from balancer.telemetry import columns as c
from balancer.telemetry.columns import Kind
from balancer.telemetry.ledger import Ledger

_DURATIONS = slice(c.ROUTE_DURATION, c.ROUTE_DURATION + c.HISTOGRAM_CELLS)
_FIRST_BYTES = slice(c.UPSTREAM_FIRST_BYTE, c.UPSTREAM_FIRST_BYTE + c.HISTOGRAM_CELLS)
_RETRIES = slice(c.POOL_RETRIES, c.POOL_RETRIES + len(c.RETRY_REASONS))

_State: TypeAlias = tuple[
    str, int, int
]  # of a side: its pool, its weight, and how many upstreams are eligible
_Routes: TypeAlias = tuple[str, bool, list[_State]]  # a route, and whether it is split


class RouteCounts:
    """States are read on the loop; `counted` sums the segment, and may run in a thread."""

    def __init__(
        self,
        routes: Sequence[RouteSpec],
        splits: Splits,
        readonly: ReadonlyRoutes,
        fleet: Fleet,
        ledger: Ledger,
    ) -> None:
        self._routes = routes
        self.splits = splits
        self.readonly = readonly
        self._fleet = fleet
        self._ledger = ledger

    def now(self) -> list[_Routes]:
        """The state of all routes."""
        return [
            (
                route.name,
                route.split is not None,
                [
                    (side.pool, self._weight(route, side.pool), self._fleet.pools[side.pool].eligible())
                    for side in route.sides
                ]
                or [("", 0, 0)],
            )
            for route in self._routes
        ]

    def _weight(self, route: RouteSpec, pool: str) -> int:
        weights = self.splits.weights(route.name)
        return 1 if weights is None else weights[pool]

    def counted(self, routes: list[_Routes]) -> list[RouteView]:
        """What `now` has returned, with counts."""
        rows = dict(self._ledger.totals(Kind.ROUTE))
        pools = dict(self._ledger.totals(Kind.POOL))
        first_bytes: dict[str, list[int]] = {}
        for (pool, _), cells in self._ledger.totals(Kind.UPSTREAM):
            before = first_bytes.get(pool, [0] * c.HISTOGRAM_CELLS)
            first_bytes[pool] = [a + b for a, b in zip(before, cells[_FIRST_BYTES], strict=True)]
        return [
            RouteView(
                name,
                is_split,
                [
                    _side(one, rows[name, one[0]], pools.get((one[0],), []), first_bytes.get(one[0]))
                    for one in sides
                ],
                self.splits.gate(name),
                self.readonly.left(name),
            )
            for name, is_split, sides in routes
        ]


def tally(cells: Sequence[int]) -> Tally:
    """What the row of a side says, for a gate."""
    width = len(c.CODES)
    counts = [sum(cells[at * width + code] for at in range(len(c.METHODS))) for code in range(width)]
    errors = sum(count for code, count in zip(c.CODES, counts, strict=True) if code.startswith("5"))
    return Tally(sum(counts), errors, tuple(cells[_DURATIONS]))


def _side(state: _State, cells: list[int], of_pool: Sequence[int], first_bytes: list[int] | None) -> SideView:
    pool, weight, eligible = state
    width = len(c.CODES)
    by_method = [cells[at * width : (at + 1) * width] for at in range(len(c.METHODS))]
    counts = [sum(column) for column in zip(*by_method, strict=True)]
    return SideView(
        pool=pool,
        weight=weight,
        inflight=cells[c.ROUTE_INFLIGHT],
        requests=sum(counts),
        codes={code: count for code, count in zip(c.CODES, counts, strict=True) if count},
        duration_buckets=cells[_DURATIONS],
        duration_sum=cells[c.ROUTE_DURATION_SUM] / 1e9,
        first_byte_buckets=first_bytes or [0] * c.HISTOGRAM_CELLS,
        retries=sum(of_pool[_RETRIES]),
        eligible=eligible,
    )
