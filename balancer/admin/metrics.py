"""`/metrics` (L6), for Prometheus."""

from aiohttp import web

from balancer.admin.keys import INSTANCE

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


async def scrape(request: web.Request) -> web.Response:
    """The exposition; query parameters are ignored."""
    body = await request.app[INSTANCE].scrape()
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})
