"""`/metrics` (L5), for Prometheus."""

import asyncio

from aiohttp import web

from balancer.admin.keys import INSTANCE

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


async def scrape(request: web.Request) -> web.Response:
    """Rendered in a thread: a scrape of many upstreams would stall the supervisor."""
    body = await asyncio.to_thread(request.app[INSTANCE].scrape)
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})
