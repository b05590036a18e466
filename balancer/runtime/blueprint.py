"""From settings to specs (L7): the only place that knows both declarations of a setting, model and spec.

Pure, so that a reload can compare two results.
"""

from collections.abc import Mapping

from balancer.config.catalogue import variable
from balancer.config.durations import format_duration
from balancer.config.listener import ListenerSettings
from balancer.config.own_cookies import sticky_cookie
from balancer.config.pool import PoolLimits, PoolSettings, PoolTimeouts
from balancer.config.settings import LimitSettings, Settings, TimeoutSettings
from balancer.config.slo_bounds import BUCKETS, bounds
from balancer.config.tls_files import NO_TLS, TlsFiles
from balancer.config.upstream_spec import DEFAULT
from balancer.config.upstream_tls_files import NO_FILES, UpstreamTlsFiles
from balancer.edges import CELLS, MOST_OWN, with_own
from balancer.edges import DEFAULT as DEFAULT_BOUNDS
from balancer.errors import SettingsError
from balancer.runtime import member_specs
from balancer.runtime.route_specs import route_specs, timeout_ns
from balancer.runtime.slo_specs import slo_specs
from balancer.runtime.tls_spec import tls_spec, upstream_tls_spec
from balancer.spec.instance import (
    CheckSpec,
    EjectionSpec,
    InstanceSpec,
    SupervisedPool,
)
from balancer.spec.worker import (
    AccessLogSpec,
    AdaptiveSpec,
    ForwardedSpec,
    KeepaliveSpec,
    Limits,
    ListenerSpec,
    ListenerTimeouts,
    OutlierSpec,
    PolicyOption,
    PolicySpec,
    PoolSpec,
    QueueSpec,
    RetryRules,
    StickySpec,
    TracesSpec,
    WorkerSpec,
    patience,
)


def instance_spec(
    settings: Settings,
    *,
    via: str,
    max_connections: int,
    tls: TlsFiles = NO_TLS,
    upstream_tls: Mapping[str, UpstreamTlsFiles] | None = None,
    counted: tuple[float, ...] = DEFAULT_BOUNDS,
) -> InstanceSpec:
    """The spec of these settings. `via` is the instance's name in Via, "" for no Via; `max_connections` is
    what the open-file limit allows, for all workers together; `tls` and, by pool, `upstream_tls` are the
    certificates that were read. `counted` are the bounds of histograms that a running instance has. Raises
    SettingsError for a file of a route that cannot be read, and if there is no room for more bounds."""
    pools: list[tuple[str, PoolSettings, PoolTimeouts, PoolLimits]] = [
        (name, pool, pool.timeouts, pool.limits) for name, pool in settings.pools.items()
    ]
    if settings.has_default:
        pools.insert(0, (DEFAULT, settings, settings.timeouts, settings.limits))
    files = upstream_tls or {}
    specs = {
        name: _pool(name, pool, timeouts, limits, settings, files.get(name, NO_FILES))
        for name, pool, timeouts, limits in pools
    }
    routes = route_specs(settings, specs)
    return InstanceSpec(
        worker=WorkerSpec(
            workers=settings.workers,
            log_level=settings.log_level,
            access_log=AccessLogSpec(
                enabled=settings.access_log.enabled,
                sample=settings.access_log.sample,
                fields=settings.access_log.fields,
                format=settings.access_log.format,
            ),
            via=via,
            drain=settings.timeouts.drain,
            listener=_listener(settings, settings.timeouts, settings.limits, max_connections),
            routes=routes,
            pools=tuple(specs.values()),
            tls=tls_spec(settings.tls, tls),
            edges=_edges(settings, counted),
            explain_sample=settings.explain.sample,
            traces=TracesSpec(sample=settings.traces.sample) if settings.traces.enabled else None,
        ),
        pools=tuple(_supervised(specs[name], pool, limits) for name, pool, _, limits in pools),
        slos=tuple(slo_specs(settings, routes)),
        buckets=settings.metrics.buckets,
    )


def _edges(settings: Settings, counted: tuple[float, ...]) -> tuple[float, ...]:
    edges = with_own(counted, bounds(settings))
    if len(edges) >= CELLS:
        new = ", ".join(map(format_duration, edges[len(counted) :]))
        raise SettingsError(
            [
                f"{variable(BUCKETS)}: since its start the instance has counted so many bounds besides "
                f"the default ones that there is no room for {new} (at most {MOST_OWN}): run balancer "
                "replace, which takes up settings too, or start it anew"
            ]
        )
    return edges


def _listener(
    settings: ListenerSettings, timeouts: TimeoutSettings, limits: LimitSettings, max_connections: int
) -> ListenerSpec:
    return ListenerSpec(
        # The setting, not the actual port if it is 0: the label must be from a closed list.
        name=str(settings.listen),
        timeouts=ListenerTimeouts(
            request_head_ns=timeout_ns(timeouts.request_head),
            client_idle_ns=timeout_ns(timeouts.client_idle),
            patience_ns=patience(timeout_ns(timeouts.idle)),
        ),
        limits=Limits(
            max_connections=max_connections,
            connections_per_client=limits.connections_per_client,
            header_bytes=limits.header_bytes,
            header_count=limits.header_count,
            uri_bytes=limits.uri_bytes,
        ),
        trusted_proxies=settings.trusted_proxies,
        forwarded=ForwardedSpec(told=settings.forwarded.told, kept=settings.forwarded.kept),
        request_trailers=settings.request_trailers,
    )


def _pool(
    name: str,
    settings: PoolSettings,
    timeouts: PoolTimeouts,
    limits: PoolLimits,
    default: PoolSettings,
    files: UpstreamTlsFiles,
) -> PoolSpec:
    return PoolSpec(
        name=name,
        connect=timeouts.connect or None,
        policy=PolicySpec(name=settings.policy, options=_options(settings.policy_options)),
        hash_key=settings.hash_key,
        panic=settings.panic,
        slow_start_ns=_ns(settings.slow_start),
        keepalive=_keepalive(settings),
        tls=upstream_tls_spec(settings.upstream_tls, files),
        retry=_retry(settings),
        queue=_queue(settings, limits),
        adaptive=_adaptive(settings),
        outlier=_outlier(settings),
        sticky=_sticky(name, settings, default),
    )


def _options(given: Mapping[str, object]) -> tuple[tuple[str, PolicyOption], ...]:
    """Raises SettingsError for a value that no policy accepts; `config.loader` refuses it earlier."""
    options = []
    for name, value in sorted(given.items()):
        if not isinstance(value, bool | int | float | str):
            raise SettingsError([f"BALANCER_POLICY_OPTIONS: {name} is not a number, text, true or false"])
        options.append((name, value))
    return tuple(options)


def _keepalive(settings: PoolSettings) -> KeepaliveSpec:
    group = settings.keepalive
    return KeepaliveSpec(
        max_idle=group.max_idle,
        idle_timeout_ns=timeout_ns(group.idle_timeout),
        max_requests=group.max_requests,
        max_lifetime_ns=_ns(group.max_lifetime),
        learn=group.learn,
    )


def _retry(settings: PoolSettings) -> RetryRules:
    group = settings.retry
    return RetryRules(
        max_attempts=group.max_attempts,
        statuses=frozenset(group.statuses),
        methods=frozenset(method.encode() for method in group.methods),
        replay_bytes=group.replay_bytes,
        budget_ratio=group.budget_ratio,
        budget_floor=group.budget_min_per_second,
    )


def _queue(settings: PoolSettings, limits: PoolLimits) -> QueueSpec | None:
    """None if upstreams cannot be full, or no request may wait."""
    if not (limits.max_inflight or settings.adaptive.enabled) or not limits.queue_size:
        return None
    return QueueSpec(size=limits.queue_size, timeout=limits.queue_timeout)


def _adaptive(settings: PoolSettings) -> AdaptiveSpec | None:
    group = settings.adaptive
    return AdaptiveSpec(min_limit=group.min_limit, max_limit=group.max_limit) if group.enabled else None


def _outlier(settings: PoolSettings) -> OutlierSpec | None:
    group = settings.outlier
    if not group.enabled:
        return None
    return OutlierSpec(consecutive_5xx=group.consecutive_5xx, consecutive_failures=group.consecutive_failures)


def _sticky(name: str, settings: PoolSettings, default: PoolSettings) -> StickySpec | None:
    group = settings.sticky
    if not group.enabled:
        return None
    return StickySpec(
        secret=group.secret.get_secret_value().encode(),
        app_cookie=group.app_cookie.encode(),
        cookie=sticky_cookie(name, settings, default).encode(),
        path=group.path,
        domain=group.domain,
        max_age=group.max_age,
        secure=group.secure,
        http_only=group.http_only,
        same_site=group.same_site,
    )


def _supervised(spec: PoolSpec, settings: PoolSettings, limits: PoolLimits) -> SupervisedPool:
    outlier = settings.outlier
    return SupervisedPool(
        name=spec.name,
        upstreams=member_specs.upstreams(settings.upstreams, spec.tls),
        names=member_specs.finding(settings.upstreams, spec.tls),
        max_inflight=limits.max_inflight,
        check=_check(settings),
        ejection=EjectionSpec(
            time=outlier.ejection_time,
            max_time=outlier.max_ejection_time,
            max_percent=outlier.max_ejection_percent,
        ),
    )


def _check(settings: PoolSettings) -> CheckSpec | None:
    group = settings.health_check
    if not group.enabled:
        return None
    return CheckSpec(
        path=group.path,
        interval=group.interval,
        timeout=group.timeout,
        rise=group.rise,
        fall=group.fall,
        expect=group.expect,
        body=group.body,
        port=group.port,
        headers=tuple(group.headers.items()),
        drain_status=group.drain_status,
    )


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
