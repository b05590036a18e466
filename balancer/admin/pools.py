"""`/api/pools` (L5): what the pools and their upstreams are doing."""

import asyncio
from dataclasses import asdict

from aiohttp import web

from balancer.admin.keys import INSTANCE
from balancer.telemetry.columns import BUCKETS


async def list_pools(request: web.Request) -> web.Response:
    """`{"first_byte_bounds": [seconds...], "pools": [...]}`; see `PoolView` for the fields."""
    pools = await asyncio.to_thread(request.app[INSTANCE].pools)
    return web.json_response({"first_byte_bounds": BUCKETS, "pools": [asdict(pool) for pool in pools]})
