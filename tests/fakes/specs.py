"""Specs with defaults for tests; changes are named as in the settings, with times in seconds."""

from collections.abc import Mapping, Sequence
from typing import Any

from balancer.config.forwarded import ONLY_PROXIES_MAY_SEND
from balancer.connections.upstream_tls import UpstreamTls
from balancer.spec.part import replaced
from balancer.spec.tls import TlsSpec, UpstreamTlsSpec
from balancer.spec.worker import (
    FOREVER_NS,
    AccessLogSpec,
    AdaptiveSpec,
    ForwardedSpec,
    KeepaliveSpec,
    Limits,
    ListenerSpec,
    ListenerTimeouts,
    MatchSpec,
    OutlierSpec,
    PolicySpec,
    PoolSpec,
    QueueSpec,
    RetryRules,
    RouteSpec,
    RouteTimeouts,
    SideSpec,
    StickySpec,
    TracesSpec,
    WorkerSpec,
    patience,
)
from balancer.telemetry.log_line import FIELDS

VIA = "balancer-0123abcd"  # the instance's name
VERIFIED = UpstreamTlsSpec(verify=True)
UPSTREAM_TLS = UpstreamTls(VERIFIED)
Changes = Mapping[str, Any]

_STICKY: Changes = {
    "app_cookie": "",
    "cookie": "balancer_sticky",
    "secret": "",
    "path": "/",
    "domain": "",
    "max_age": 0,
    "secure": False,
    "http_only": True,
    "same_site": "lax",
}
_RETRY: Changes = {
    "max_attempts": 3,
    "statuses": [502, 503, 504],
    "methods": ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"],
    "budget_ratio": 0.2,
    "budget_min_per_second": 10.0,
    "replay_bytes": 65536,
}
_KEEPALIVE: Changes = {
    "max_idle": 64,
    "idle_timeout": 4.0,
    "max_requests": 0,
    "max_lifetime": 0.0,
    "learn": True,
}
_TIMEOUTS: Changes = {
    "connect": 1.0,
    "first_byte": 30.0,
    "idle": 60.0,
    "total": 0.0,
    "request_head": 10.0,
    "client_idle": 60.0,
    "tunnel_idle": 3600.0,
    "tunnel_drain": 10.0,
}
_LIMITS: Changes = {
    "max_connections": 20000,
    "connections_per_client": 0,
    "header_bytes": 65536,
    "header_count": 200,
    "uri_bytes": 8192,
    "body_bytes": 0,
}


def retry_rules(**changes: Any) -> RetryRules:
    """With the defaults of the settings."""
    values = {**_RETRY, **changes}
    floor = values.pop("budget_min_per_second")
    values["statuses"] = frozenset(values["statuses"])
    values["methods"] = frozenset(method.encode() for method in values["methods"])
    return RetryRules(budget_floor=floor, **values)


def keepalive(**changes: Any) -> KeepaliveSpec:
    """With the default of the settings."""
    values = {**_KEEPALIVE, **changes}
    idle_timeout, max_lifetime = values.pop("idle_timeout"), values.pop("max_lifetime")
    return KeepaliveSpec(idle_timeout_ns=_timeout(idle_timeout), max_lifetime_ns=_ns(max_lifetime), **values)


def pool_spec(
    name: str = "default",
    *,
    policy: str = "round_robin",
    policy_options: Changes | None = None,
    hash_key: str = "client_ip",
    panic: bool = True,
    slow_start: float = 0.0,
    keepalive: Changes | None = None,
    retry: Changes | None = None,
    queue: Changes | None = None,
    adaptive: Changes | None = None,
    outlier: Changes | None = None,
    sticky: Changes | None = None,
    upstream_tls: UpstreamTlsSpec = VERIFIED,
) -> PoolSpec:
    """A pool without queue, adaptive limits, outlier detection and sticky sessions, unless given:
    `adaptive` and `outlier` with `enabled`, a queue with `size`."""
    queue = {"size": 0, "timeout": 5.0, **(queue or {})}
    return PoolSpec(
        name=name,
        connect=1.0,
        policy=PolicySpec(name=policy, options=tuple((policy_options or {}).items())),
        hash_key=hash_key,
        panic=panic,
        slow_start_ns=_ns(slow_start),
        keepalive=_keepalive(keepalive),
        tls=upstream_tls,
        retry=retry_rules(**(retry or {})),
        queue=QueueSpec(**queue) if queue["size"] else None,
        adaptive=_where_enabled(AdaptiveSpec, {"min_limit": 1, "max_limit": 10000}, adaptive),
        outlier=_where_enabled(OutlierSpec, {"consecutive_5xx": 5, "consecutive_failures": 3}, outlier),
        sticky=None if sticky is None else _sticky(sticky),
    )


def _keepalive(changes: Changes | None) -> KeepaliveSpec:
    return keepalive(**(changes or {}))


def _where_enabled(kind: Any, defaults: Changes, changes: Changes | None) -> Any:
    given = dict(changes or {})
    return kind(**{**defaults, **given}) if given.pop("enabled", False) else None


def _sticky(changes: Changes) -> StickySpec:
    values = {**_STICKY, **changes}
    return StickySpec(
        **{k: v.encode() if k in ("secret", "cookie", "app_cookie") else v for k, v in values.items()}
    )


def route_spec(
    name: str,
    side: SideSpec | str | None = None,
    *,
    match: Changes | None = None,
    timeouts: Changes | None = None,
    body_bytes: int = 0,
    **changes: Any,
) -> RouteSpec:
    """A route to a pool, of the same name unless given; "" for none. `changes` are those of its spec."""
    if not isinstance(side, SideSpec):
        pool = name if side is None else side
        side = SideSpec(pool=pool, retry=retry_rules()) if pool else None
    seconds = {**_TIMEOUTS, **(timeouts or {})}
    own = ("first_byte", "idle", "total", "tunnel_idle")
    own_ns = {f"{each}_ns": _timeout(seconds[each]) for each in own}
    values: Changes = {"split": None, "answer": None, "rewrite": None, "response": None, **changes}
    return RouteSpec(
        name=name,
        match=MatchSpec(**(match or {})),
        sides=() if side is None else (side,),
        timeouts=RouteTimeouts(**own_ns, tunnel_drain_ns=_ns(seconds["tunnel_drain"])),
        body_bytes=body_bytes,
        **values,
    )


def worker_spec(
    *pools: PoolSpec,
    workers: int = 1,
    timeouts: Changes | None = None,
    limits: Changes | None = None,
    trusted_proxies: Sequence[str] = (),
    via: str = VIA,
    request_trailers: bool = False,
    forwarded: Changes | None = None,
    access_log: Changes | None = None,
    tls: TlsSpec | None = None,
    traces: Changes | None = None,
    explain_sample: float = 0.0,
) -> WorkerSpec:
    """A worker with a route to each pool, of the same name; without pools, to one pool, `default`."""
    pools = pools or (pool_spec(),)
    names = {"told": [name.lower() for name in ONLY_PROXIES_MAY_SEND], "kept": (), **(forwarded or {})}
    seconds = {**_TIMEOUTS, **(timeouts or {})}
    connect = seconds.pop("connect")
    nanoseconds = {f"{name}_ns": _timeout(value) for name, value in seconds.items()}
    most = {**_LIMITS, **(limits or {})}
    of_routes: Changes = {"body_bytes": most.pop("body_bytes"), "timeouts": timeouts}
    return WorkerSpec(
        workers=workers,
        log_level="info",
        access_log=AccessLogSpec(**{"enabled": True, "sample": 1.0, "fields": FIELDS, **(access_log or {})}),
        via=via,
        drain=25.0,
        listener=ListenerSpec(
            name="0.0.0.0:8080",
            timeouts=ListenerTimeouts(
                request_head_ns=nanoseconds["request_head_ns"],
                client_idle_ns=nanoseconds["client_idle_ns"],
                patience_ns=patience(nanoseconds["idle_ns"]),
            ),
            limits=Limits(**most),
            trusted_proxies=tuple(trusted_proxies),
            forwarded=ForwardedSpec(told=tuple(names["told"]), kept=tuple(names["kept"])),
            request_trailers=request_trailers,
        ),
        routes=tuple(
            route_spec(pool.name, SideSpec(pool=pool.name, retry=pool.retry), **of_routes) for pool in pools
        ),
        pools=tuple(replaced(pool, connect=connect or None) for pool in pools),
        tls=tls,
        traces=None if traces is None else TracesSpec(**{"sample": 1.0, **traces}),
        explain_sample=explain_sample,
    )


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)


def _timeout(seconds: float) -> int:
    return _ns(seconds) if seconds else FOREVER_NS
