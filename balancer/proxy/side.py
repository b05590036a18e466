"""A pool that serves requests of a route, with their counts."""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

from collections.abc import Mapping

from balancer.counters import Batch, Counters
from balancer.pools.pool import UpstreamPool
from balancer.spec.worker import RetryRules, SideSpec
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


class Share:
    """How many of a worker's client connections one pool holds (`held`: its exchanges), and may hold."""

    __slots__ = ("held", "most")

    def __init__(self, most: int) -> None:
        self.held = 0
        self.most = most

    def is_exceeded(self) -> bool:
        """Whether it holds more than it may."""
        return self.held > self.most


class Side:
    """A pool that serves requests of a route. `retry` are the rules for sending them again. `pool` and
    `retry` are unset if the route answers by itself. `is_sticky`: the pool pins sessions. `share` is its
    pool's, unset if that may hold all client connections."""

    __slots__ = ("counters", "is_sticky", "pool", "pool_name", "retry", "share")

    pool: UpstreamPool
    retry: RetryRules
    share: Share

    def __init__(
        self, spec: SideSpec | None, pools: Mapping[str, UpstreamPool], counters: RouteCounters
    ) -> None:
        self.counters = counters
        self.pool_name = ""
        self.is_sticky = False
        if spec is not None:
            self.pool = pools[spec.pool]
            self.is_sticky = self.pool.affinity is not None
            self.pool_name = spec.pool
            self.retry = spec.retry
