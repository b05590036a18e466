"""The admin application (L5): one table of routes, one file of handlers per resource."""

from aiohttp import web

from balancer.admin import metrics, pools, probes
from balancer.admin.keys import INSTANCE
from balancer.admin.view import Instance


def build_app(instance: Instance) -> web.Application:
    """The aiohttp application over `instance`; the caller serves it."""
    app = web.Application()
    app[INSTANCE] = instance
    app.add_routes(
        [
            web.get("/healthz", probes.healthz),
            web.get("/readyz", probes.readyz),
            web.get("/metrics", metrics.scrape),
            web.get("/api/pools", pools.list_pools),
        ]
    )
    return app
