"""`/api/pools` (L5): what the pools and their upstreams are doing."""

from collections.abc import Iterable

from aiohttp import web

from balancer.admin.answers import NotFoundError, answer
from balancer.admin.keys import INSTANCE
from balancer.admin.view import PoolView
from balancer.telemetry.columns import BUCKETS

_MOST_NAMES = 20  # that a message lists


async def list_pools(request: web.Request) -> web.Response:
    """`{"first_byte_bounds": [seconds...], "pools": [...]}`; see `PoolView` for the fields."""
    pools = await request.app[INSTANCE].pools()
    return answer({"first_byte_bounds": BUCKETS, "pools": pools})


async def one_pool(request: web.Request) -> web.Response:
    """One element of `pools`."""
    return answer(await _asked_pool(request))


async def list_upstreams(request: web.Request) -> web.Response:
    """`{"upstreams": [...]}` of one pool."""
    pool = await _asked_pool(request)
    return answer({"upstreams": pool.upstreams})


async def one_upstream(request: web.Request) -> web.Response:
    """One element of `upstreams`."""
    pool, wanted = await _asked_pool(request), request.match_info["id"]
    for upstream in pool.upstreams:
        if upstream.id == wanted:
            return answer(upstream)
    names = _listed(upstream.id for upstream in pool.upstreams)
    raise NotFoundError(f"there is no upstream {wanted!r} in pool {pool.name}; it has {names}")


async def _asked_pool(request: web.Request) -> PoolView:
    wanted = request.match_info["pool"]
    pools = await request.app[INSTANCE].pools()
    for pool in pools:
        if pool.name == wanted:
            return pool
    raise NotFoundError(f"there is no pool {wanted!r}; there is {_listed(pool.name for pool in pools)}")


def _listed(names: Iterable[str]) -> str:
    listed = list(names)
    more = len(listed) - _MOST_NAMES
    return ", ".join(listed[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "") or "none"
