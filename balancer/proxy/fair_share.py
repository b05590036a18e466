"""Keeps one pool from holding all of a worker's client connections, so that the others can still be reached.

A pool that hangs keeps its clients waiting, each on a connection. Active connections are not reclaimed, so
without a bound a site would be gone at MAX_CONNECTIONS because one of its pools is. The sweep looks, and a
request that comes when a pool may have reached its bound: all of a pool's clients may come within one sweep.
"""

from collections.abc import Sequence
from typing import Final

from balancer.pools.pool import UpstreamPool
from balancer.proxy.router import Route
from balancer.proxy.side import NEVER

_SHARE: Final = 0.75  # of the connections that a worker may have, for the exchanges of one pool


class FairShare:
    """For a worker with several pools; `most` is how many client connections it may have."""

    __slots__ = ("_limit", "_routes")

    def __init__(self, routes: Sequence[Route], most: int) -> None:
        served = [route for route in routes if not route.answers]
        pools = {side.pool_name for route in served for side in route.sides}
        self._routes = served if len(pools) > 1 else []
        self._limit = max(1, int(most * _SHARE))
        self.look()

    def look(self) -> None:
        """Update which pools hold too many, and when the others may."""
        held: dict[UpstreamPool, int] = {}
        sides: dict[UpstreamPool, int] = {}
        for route in self._routes:
            for side in route.sides:
                held[side.pool] = held.get(side.pool, 0) + side.counters.level
                sides[side.pool] = sides.get(side.pool, 0) + 1
        changed = False
        for pool, exchanges in held.items():
            holds_too_many = exchanges >= self._limit
            changed |= holds_too_many != pool.holds_too_many
            pool.holds_too_many = holds_too_many
        for route in self._routes:
            for side in route.sides:
                rest = self._limit - held[side.pool]
                counters = side.counters
                # All sides of a pool may grow. A pool that holds too many is looked at by the next sweep.
                counters.look_at = counters.level + rest // sides[side.pool] if rest > 0 else NEVER
        if changed:
            for route in self._routes:
                route.reconsider()
