"""Which route a request takes, and so which pool serves it."""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

from mypy_extensions import mypyc_attr

from balancer.counters import Batch, Counters
from balancer.http.request_head import RequestHead
from balancer.pools.pool import UpstreamPool
from balancer.telemetry.columns import ROUTE_INFLIGHT, ROUTE_REQUEST_BYTES, ROUTE_RESPONSE_BYTES


class RouteCounters(Counters):
    """`level` are the exchanges in flight. The bytes are of bodies, since the worker's start."""

    __slots__ = ("request_bytes", "response_bytes")

    def __init__(self, cells: memoryview[int], batch: Batch | None = None) -> None:
        super().__init__(cells, batch, ROUTE_INFLIGHT)
        self.request_bytes = 0
        self.response_bytes = 0

    def flush(self) -> None:
        cells = self.cells
        cells[ROUTE_REQUEST_BYTES] = self.request_bytes
        cells[ROUTE_RESPONSE_BYTES] = self.response_bytes
        super().flush()


class Route:
    """Its name (the metric label), its pool, and its counters."""

    __slots__ = ("counters", "name", "pool")

    def __init__(self, name: str, pool: UpstreamPool, counters: RouteCounters) -> None:
        self.name = name
        self.pool = pool
        self.counters = counters


@mypyc_attr(allow_interpreted_subclasses=True)
class Router:
    """The routes in the order in which they are matched; the last one matches every request."""

    __slots__ = ("_last", "routes")

    def __init__(self, routes: list[Route]) -> None:
        self.routes = routes
        self._last = routes[-1]

    def match(self, head: RequestHead) -> Route:
        """The first route whose conditions `head` meets."""
        return self._last
