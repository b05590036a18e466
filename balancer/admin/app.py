"""The admin application (L6): one table of routes, one file of handlers per resource."""

from aiohttp import web

from balancer.admin import (
    answers,
    certificates,
    config,
    events,
    failures,
    guard,
    index,
    metrics,
    pools,
    probes,
    reload,
    routes,
)
from balancer.admin.hosts import Hosts
from balancer.admin.keys import HOSTS, INSTANCE, TOKEN, VIA
from balancer.admin.view import Instance


def build_app(
    instance: Instance, token: str = "", via: str = "", hosts: Hosts | None = None
) -> web.Application:
    """The aiohttp application for `instance`; the caller serves it. Changes need `token`; if it is empty,
    only programs on this machine may make changes. `via` is the instance's name in Via. `hosts` are the names
    it answers for, None for all."""
    app = web.Application(
        client_max_size=answers.MOST_BODY,
        middlewares=[
            answers.errors_as_json,
            guard.meant_for_this_listener,
            guard.not_from_ourselves,
            guard.changes_need_leave,
        ],
    )
    app[HOSTS] = hosts or Hosts()
    app[VIA] = via
    app[INSTANCE] = instance
    app[TOKEN] = token
    app.add_routes(
        [
            web.get("/", index.overview),
            web.get("/healthz", probes.healthz),
            web.get("/readyz", probes.readyz),
            web.get("/metrics", metrics.scrape),
            web.get("/api/pools", pools.list_pools),
            web.get("/api/pools/{pool}", pools.one_pool),
            web.get("/api/pools/{pool}/upstreams", pools.list_upstreams),
            web.get("/api/pools/{pool}/upstreams/{id}", pools.one_upstream),
            web.post("/api/pools/{pool}/upstreams", pools.add_upstream),
            web.delete("/api/pools/{pool}/upstreams/{id}", pools.remove_upstream),
            web.patch("/api/pools/{pool}/upstreams/{id}", pools.change_upstream),
            web.get("/api/routes", routes.list_routes),
            web.patch("/api/routes/{route}", routes.change_route),
            web.get("/api/routes/{route}/split", routes.one_split),
            web.patch("/api/routes/{route}/split", routes.change_split),
            web.get("/api/certificates", certificates.list_certificates),
            web.get("/api/events", events.list_events),
            web.get("/api/failures", failures.list_failures),
            web.get("/api/config", config.show),
            web.post("/api/reload", reload.reload),
            web.post("/api/replace", reload.replace),
        ]
    )
    app.on_response_prepare.append(answers.name_server)
    app.on_shutdown.append(events.let_go)
    return app
