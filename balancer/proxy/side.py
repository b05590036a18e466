"""A pool that serves requests of a route, with their counts."""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

from collections.abc import Mapping
from typing import Final

from balancer.counters import Batch, Counters
from balancer.pools.pool import UpstreamPool
from balancer.spec.worker import RetryRules, SideSpec
from balancer.telemetry.columns import ROUTE_INFLIGHT, ROUTE_REQUEST_BYTES, ROUTE_RESPONSE_BYTES

NEVER: Final = (1 << 30) - 1  # one digit of a Python integer: those are compared fast


class RouteCounters(Counters):
    """`level` are the exchanges in flight; one that begins when it is `look_at` first looks whether the pool
    holds too many (`FairShare`). The bytes are of bodies, since the worker's start."""

    __slots__ = ("look_at", "request_bytes", "response_bytes")

    def __init__(self, cells: memoryview[int], batch: Batch | None = None) -> None:
        super().__init__(cells, batch, ROUTE_INFLIGHT)
        self.look_at = NEVER
        self.request_bytes = 0
        self.response_bytes = 0

    def flush(self) -> None:
        cells = self.cells
        cells[ROUTE_REQUEST_BYTES] = self.request_bytes
        cells[ROUTE_RESPONSE_BYTES] = self.response_bytes
        super().flush()


class Side:
    """A pool that serves requests of a route. `retry` are the rules for sending them again. `pool` and
    `retry` are unset if the route answers by itself."""

    __slots__ = ("counters", "pool", "pool_name", "retry")

    pool: UpstreamPool
    retry: RetryRules

    def __init__(
        self, spec: SideSpec | None, pools: Mapping[str, UpstreamPool], counters: RouteCounters
    ) -> None:
        self.counters = counters
        self.pool_name = ""
        if spec is not None:
            self.pool = pools[spec.pool]
            self.pool_name = spec.pool
            self.retry = spec.retry
