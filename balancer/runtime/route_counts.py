"""The routes with the counts of each side (L7), for the admin API."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

from balancer.admin.view import RouteView, SideView
from balancer.edges import Edges
from balancer.runtime.fleet import Fleet
from balancer.runtime.promise import counts
from balancer.runtime.readonly import ReadonlyRoutes
from balancer.runtime.splits import Splits
from balancer.runtime.tally import DURATIONS, codes_of, first_bytes, tally
from balancer.spec.slo import SloSpec
from balancer.spec.worker import RouteSpec
from balancer.telemetry import columns as c
from balancer.telemetry.columns import Kind
from balancer.telemetry.ledger import Ledger


class _State(NamedTuple):
    """A side now; `eligible` are upstreams, `slo` is what is promised."""

    pool: str
    weight: int
    eligible: int
    slo: SloSpec | None


_ANSWERS_ITSELF = _State("", 0, 0, None)
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
        slo_of: Callable[[str, str], SloSpec | None] = lambda route, pool: None,
    ) -> None:
        """`slo_of(route, pool)` is what is promised."""
        self._routes = routes
        self.splits = splits
        self.readonly = readonly
        self._fleet = fleet
        self._ledger = ledger
        self._slo_of = slo_of

    def settle(self, routes: Sequence[RouteSpec]) -> None:
        """The routes are these now."""
        self._routes = routes

    def now(self) -> list[_Routes]:
        """The state of all routes."""
        return [
            (
                route.name,
                route.split is not None,
                [self._state(route, side.pool) for side in route.sides] or [_ANSWERS_ITSELF],
            )
            for route in self._routes
        ]

    def _state(self, route: RouteSpec, pool: str) -> _State:
        eligible = self._fleet.pools[pool].eligible()
        return _State(pool, self._weight(route, pool), eligible, self._slo_of(route.name, pool))

    def _weight(self, route: RouteSpec, pool: str) -> int:
        weights = self.splits.weights(route.name)
        return 1 if weights is None else weights[pool]

    def counted(self, routes: list[_Routes], edges: Edges) -> list[RouteView]:
        """What `now` has returned, with counts, by bucket of `edges`."""
        rows = dict(self._ledger.totals(Kind.ROUTE))
        return [
            RouteView(
                name,
                is_split,
                [_side(one, rows[name, one.pool], edges) for one in sides if (name, one.pool) in rows],
                self.splits.gate(name),
                self.splits.last_gate(name),
                self.readonly.left(name),
            )
            for name, is_split, sides in routes
        ]


def _side(state: _State, cells: list[int], edges: Edges) -> SideView:
    pool, weight, eligible, slo = state
    codes = codes_of(cells)
    return SideView(
        pool=pool,
        weight=weight,
        inflight=cells[c.ROUTE_INFLIGHT],
        requests=sum(codes.values()),
        codes=codes,
        broken_off=cells[c.ROUTE_BROKEN_OFF],
        duration_buckets=edges.ascending(cells[DURATIONS]),
        duration_sum=cells[c.ROUTE_DURATION_SUM] / 1e9,
        first_byte_buckets=edges.ascending(first_bytes(cells)),
        retries=cells[c.ROUTE_RETRIES],
        eligible=eligible,
        slo=None if slo is None else counts(slo, tally(cells, edges)),
    )
