"""Builds the routes of a worker and the routers of its listeners (L7), at the start and when they change.

What outlives a change of the routes is kept here: counts are by route and pool, and what a pool may hold of
the client connections is by pool, whichever routes lead there.
"""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

import os
from collections.abc import Callable, Mapping, Sequence

from balancer.clients.roles import Routers
from balancer.counters import Batch
from balancer.messages import RoutesUpdate
from balancer.pools.pool import UpstreamPool
from balancer.proxy.fair_share import FairShares
from balancer.proxy.https_redirect import RedirectingRouter
from balancer.proxy.router import Route, Router
from balancer.proxy.side import RouteCounters, Side
from balancer.proxy.split import Split
from balancer.spec.tls import TlsSpec
from balancer.spec.worker import RouteSpec


class Routing(Routers):
    """`cells` returns the cells of a row in this worker's page, whose counts `batch` stores; `most` is how
    many client connections the worker may have; `tls` is that of its second listener."""

    def __init__(
        self,
        pools: Mapping[str, UpstreamPool],
        cells: Callable[[int], memoryview[int]],
        batch: Batch,
        most: int,
        tls: TlsSpec | None,
    ) -> None:
        self._pools = pools
        self._cells = cells
        self._batch = batch
        self._shares = FairShares(most)
        self._tls = tls
        self._counters: dict[int, RouteCounters] = {}
        self._gone: dict[int, bool] = {}  # rows of routes that are gone: whether idle at the last sweep

    def changed(self, update: RoutesUpdate) -> Sequence[Router] | None:
        """The router of each listener; None if a pool is not there."""
        if not {side.pool for route in update.routes for side in route.sides} <= self._pools.keys():
            return None
        present = {row for rows in update.rows for row in rows}
        self._gone = {row: False for row in self._counters if row not in present}
        return self.routers(update.routes, update.rows)

    def sweep(self) -> list[int]:
        """The rows of routes that are gone, and that are not written to any more, since the last call.

        Exchanges that are running keep their routes, so a row must be idle in two sweeps.
        """
        released = []
        for row, was_idle in list(self._gone.items()):
            counters = self._counters[row]
            is_idle = not counters.level and not counters.pending
            if is_idle and was_idle:
                released.append(row)
                del self._gone[row], self._counters[row]
            else:
                self._gone[row] = is_idle
        return released

    def routers(self, specs: Sequence[RouteSpec], rows: Sequence[tuple[int, ...]]) -> list[Router]:
        """That of the plain listener, and if there is one, that of the TLS listener; the last one has the
        routes themselves. `rows` are those of each route's sides."""
        routes = [self._route(spec, its) for spec, its in zip(specs, rows, strict=True)]
        self._shares.share_out(routes)
        router = Router(routes, [spec.match for spec in specs])
        if self._tls is None:
            return [router]
        if self._tls.redirect:
            return [RedirectingRouter(routes, specs, self._tls.public_port), router]
        return [router, router]

    def _route(self, spec: RouteSpec, rows: tuple[int, ...]) -> Route:
        sides = [
            Side(side, self._pools, self._counted(row))
            for side, row in zip(spec.sides or (None,), rows, strict=True)
        ]
        split = None if spec.split is None else Split(spec.split, sides, lambda: os.urandom(8))
        return Route(spec, sides[0], split)

    def _counted(self, row: int) -> RouteCounters:
        counters = self._counters.get(row)
        if counters is None:
            counters = self._counters[row] = RouteCounters(self._cells(row), self._batch)
        return counters
