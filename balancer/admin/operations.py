"""The table of everything that the admin API can be asked (L6)."""

from typing import Any

from balancer.admin import (
    certificates,
    config,
    events,
    explain,
    failures,
    index,
    metrics,
    openapi,
    overview,
    pools,
    probes,
    reload,
    replies,
    routes,
)
from balancer.admin.bodies import (
    ExplainOrder,
    NewUpstream,
    NoOrder,
    ReloadOrder,
    RoutePatch,
    Shares,
    SplitPatch,
    UpstreamPatch,
)
from balancer.admin.events import MOST_WAIT
from balancer.admin.operation import TEXT, Operation, Parameter
from balancer.admin.view import PoolView, ReloadView, ReplaceView, RouteView, UpstreamView
from balancer.overview.shape import OverviewShape

_STRICT = Parameter("strict", {"enum": ["0", "1"]}, "1: every pool must also have an eligible upstream")
_FORMAT = Parameter("format", {"enum": ["json", "yaml"]}, "yaml: as a settings file")
_AFTER = Parameter(
    "after", {"type": "integer", "minimum": 0, "maximum": 10**15 - 1}, "only those after this revision"
)
_WAIT = Parameter(
    "wait",
    {"type": "number", "minimum": 0, "maximum": MOST_WAIT},
    "seconds to wait for one, if there is none",
)
_ONLY = Parameter("only", {"type": "string", "pattern": "^(route|pool):"}, "`route:NAME` or `pool:NAME`")
_POOL = "/api/pools/{pool}"
_UPSTREAMS = f"{_POOL}/upstreams"
_UPSTREAM = f"{_UPSTREAMS}/{{id}}"
_ROUTE = "/api/routes/{route}"


def _get(path: str, handler: Any, says: str, answers: Any, **more: Any) -> Operation:
    return Operation("GET", path, handler, says, answers, **more)


def _state(path: str, handler: Any, says: str, answers: Any, **more: Any) -> Operation:
    """One that shows what operators have set."""
    return Operation("GET", path, handler, says, answers, is_conditional=True, **more)


def _change(method: str, path: str, handler: Any, says: str, answers: Any, **more: Any) -> Operation:
    """A change, which may be impossible."""
    return Operation(method, path, handler, says, answers, refuses=(409,), is_conditional=True, **more)


OPERATIONS = (
    _get("/", index.overview, "The paths, for people", TEXT),
    _get("/healthz", probes.healthz, "Whether the process is alive", replies.Alive),
    _get(
        "/readyz",
        probes.readyz,
        "Whether the instance should get traffic",
        replies.Alive,
        query=(_STRICT,),
        also={503: replies.Unready},
    ),
    _get("/metrics", metrics.scrape, "The metrics, for Prometheus", TEXT),
    _state("/api/pools", pools.list_pools, "All pools with their upstreams", replies.Pools),
    _state(_POOL, pools.one_pool, "One pool", PoolView),
    _state(_UPSTREAMS, pools.list_upstreams, "The upstreams of a pool", replies.Upstreams),
    _state(_UPSTREAM, pools.one_upstream, "One upstream", UpstreamView),
    _change(
        "POST",
        _UPSTREAMS,
        pools.add_upstream,
        "Adds an upstream: 201 if it is new, 200 if it was there",
        UpstreamView,
        takes=(NewUpstream,),
        also={201: UpstreamView},
    ),
    _change(
        "PATCH",
        _UPSTREAM,
        pools.change_upstream,
        "Changes the admin state or the weight of an upstream",
        UpstreamView,
        takes=(UpstreamPatch,),
    ),
    _change("DELETE", _UPSTREAM, pools.remove_upstream, "Removes an upstream that was added", UpstreamView),
    _state("/api/routes", routes.list_routes, "All routes with the counts of their sides", replies.Routes),
    _change(
        "PATCH",
        _ROUTE,
        routes.change_route,
        "Lets a route serve no changes for some seconds",
        RouteView,
        takes=(RoutePatch,),
    ),
    _state(f"{_ROUTE}/split", routes.one_split, "The weights of a split route", replies.SplitView),
    _change(
        "PATCH",
        f"{_ROUTE}/split",
        routes.change_split,
        "Changes the weights of a split route",
        replies.SplitView,
        takes=(Shares, SplitPatch),
    ),
    _get(
        "/api/certificates",
        certificates.list_certificates,
        "The certificates of the TLS listener and of pools",
        replies.Certificates,
    ),
    _get(
        "/api/events", events.list_events, "The last changes of state", replies.Events, query=(_AFTER, _WAIT)
    ),
    _get("/api/failures", failures.list_failures, "The last errors that the balancer made", replies.Failures),
    _get(
        "/api/explain",
        explain.list_explained,
        "The requests that are explained, and which will be",
        replies.Explaining,
    ),
    _get(
        "/api/explain/{id}",
        explain.show_explained,
        "Which way a request took, and why, by its X-Request-ID",
        replies.Explained,
    ),
    _change(
        "POST",
        "/api/explain",
        explain.order_explanations,
        "Explains such requests for some seconds, 0 to stop",
        replies.Explaining,
        takes=(ExplainOrder,),
    ),
    _state(
        "/api/config",
        config.show_config,
        "The settings in force, and what operators have changed since",
        replies.Config,
        query=(_FORMAT,),
        or_else=("application/yaml",),
    ),
    _change(
        "DELETE",
        "/api/live_changes",
        config.forget_changes,
        "Forgets all that operators have changed: the settings are in force again",
        replies.Forgotten,
    ),
    Operation(
        "POST",
        "/api/reload",
        reload.reload_settings,
        "Reads the settings again, and takes up what has changed",
        ReloadView,
        takes=(ReloadOrder,),
        also={422: replies.NotReloaded},
        refuses=(409,),
        is_conditional=True,
    ),
    Operation(
        "POST",
        "/api/replace",
        reload.replace_program,
        "Starts the program anew, on the same sockets",
        ReplaceView,
        takes=(NoOrder,),
        refuses=(409,),
        is_conditional=True,
    ),
    _get(
        "/api/overview",
        overview.show_overview,
        "What the dashboard shows: findings, rates of the last 10 s, states",
        OverviewShape,
    ),
    _get(
        "/api/stream",
        overview.stream,
        "The overview as server-sent events: `overview`, then each second `patch`, a merge patch (RFC 7396)",
        "text/event-stream",
    ),
    _get(
        "/api/history",
        overview.show_history,
        "Thirty minutes of rates, percentiles and states",
        replies.History,
        query=(_ONLY,),
    ),
    _get("/api/openapi.json", openapi.show_document, "This document", dict[str, Any]),
)
