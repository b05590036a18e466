"""Keeps one pool from holding all of a worker's client connections, so that the others can still be reached.

A pool that hangs keeps its clients waiting, each on a connection. Active connections are not reclaimed, so
without a bound a site would be gone at MAX_CONNECTIONS because one of its pools is.
"""

from collections.abc import Sequence
from typing import Final

from balancer.proxy.router import Route
from balancer.proxy.side import Share

_SHARE: Final = 0.75  # of the connections that a worker may have, for the exchanges of one pool


def share_out(routes: Sequence[Route], most: int) -> None:
    """Give the sides of these routes the shares of their pools, if there are several. `most` is how many
    client connections the worker may have."""
    sides = [side for route in routes if not route.answers for side in route.sides]
    pools = {side.pool_name for side in sides}
    if len(pools) < 2:
        return
    limit = max(1, int(most * _SHARE))
    shares = {name: Share(limit) for name in pools}
    for route in routes:
        route.is_bounded = not route.answers
    for side in sides:
        side.share = shares[side.pool_name]
