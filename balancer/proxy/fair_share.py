"""Keeps one pool from holding all of a worker's client connections, so that the others can still be reached.

A pool that hangs keeps its clients waiting, each on a connection. Active connections are not reclaimed, so
without a bound a site would be gone at MAX_CONNECTIONS because one of its pools is.
"""

from collections.abc import Sequence
from typing import Final

from balancer.proxy.router import Route
from balancer.proxy.side import Share

_SHARE: Final = 0.75  # of the connections that a worker may have, for the exchanges of one pool


class FairShares:
    """The shares of all pools of a worker that may have `most` client connections. A pool's share stays the
    same when routes change, as its exchanges go on."""

    __slots__ = ("_limit", "_shares")

    def __init__(self, most: int) -> None:
        self._limit = max(1, int(most * _SHARE))
        self._shares: dict[str, Share] = {}

    def share_out(self, routes: Sequence[Route]) -> None:
        """Give the sides of these routes the shares of their pools, if there are several."""
        sides = [side for route in routes if not route.answers for side in route.sides]
        if len({side.pool_name for side in sides}) < 2:
            return
        for route in routes:
            route.is_bounded = not route.answers
        for side in sides:
            side.share = self._of(side.pool_name)

    def _of(self, pool: str) -> Share:
        share = self._shares.get(pool)
        if share is None:
            share = self._shares[pool] = Share(self._limit)
        return share
