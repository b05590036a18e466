"""Which route a request takes, and so which pool serves it."""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

from balancer.http.head import RequestHead
from balancer.pools.pool import UpstreamPool
from balancer.telemetry.columns import ROUTE_INFLIGHT, ROUTE_REQUEST_BYTES, ROUTE_RESPONSE_BYTES


class Route:
    """Its name (the metric label), its pool, and its counters.

    `inflight` and the byte counts are plain attributes, stored into `cells` by `flush` once per sweep.
    """

    __slots__ = ("cells", "inflight", "name", "pool", "request_bytes", "response_bytes")

    def __init__(self, name: str, pool: UpstreamPool, cells: memoryview[int]) -> None:
        self.name = name
        self.pool = pool
        self.cells = cells
        self.inflight = 0
        self.request_bytes = 0
        self.response_bytes = 0

    def flush(self) -> None:
        """Update the row in the stats segment."""
        cells = self.cells
        cells[ROUTE_INFLIGHT] = self.inflight
        cells[ROUTE_REQUEST_BYTES] = self.request_bytes
        cells[ROUTE_RESPONSE_BYTES] = self.response_bytes


class Router:
    """The routes in the order in which they are matched; the last one matches every request."""

    __slots__ = ("_last", "routes")

    def __init__(self, routes: list[Route]) -> None:
        self.routes = routes
        self._last = routes[-1]

    def match(self, head: RequestHead) -> Route:
        """The first route whose conditions `head` meets."""
        return self._last
