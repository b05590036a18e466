"""From settings to what a worker is told (L6): the one place where pydantic models end.

Nothing here touches the network or the processes, so that a reload can compare two blueprints.
"""

from typing import Any

from balancer.config.address import is_ip
from balancer.config.settings import Settings
from balancer.config.sticky import StickySettings
from balancer.config.upstream_spec import DnsSpec, UpstreamSpec
from balancer.health.outlier import EjectionSettings
from balancer.health.settings import CheckSettings
from balancer.runtime.channel import Message
from balancer.runtime.fleet import Fleet
from balancer.runtime.states import PoolState, UpstreamState
from balancer.telemetry.columns import Kind
from balancer.telemetry.ledger import Ledger
from balancer.upstreams.shares import share
from balancer.upstreams.state import FirstCheck

DEFAULT = "default"  # the pool that UPSTREAMS defines, and the route to it


def build_pools(settings: Settings, ledger: Ledger) -> list[PoolState]:
    """The pools of the settings, a row of the segment for each entity.

    Names have no address yet, and what discovery has to find is not there yet.
    """
    pool = PoolState(
        name=DEFAULT,
        row=ledger.row(Kind.POOL, DEFAULT),
        settings={
            "policy": settings.policy,
            "policy_options": settings.policy_options,
            "hash_key": settings.hash_key,
            "panic": settings.panic,
            "slow_start": settings.slow_start,
            "keepalive": settings.keepalive.model_dump(),
            "retry": {
                **settings.retry.model_dump(),
                "statuses": list(settings.retry.statuses),
                "methods": list(settings.retry.methods),
            },
            "sticky": _sticky(settings.sticky),
            "queue": {
                "size": settings.limits.queue_size if settings.has_queue else 0,
                "timeout": settings.limits.queue_timeout,
            },
            "adaptive": settings.adaptive.model_dump(),
            "checked_within": check_settings(settings).found_within if settings.health_check.enabled else 0.0,
            "outlier": settings.outlier.model_dump(
                include={"enabled", "consecutive_5xx", "consecutive_failures"}
            ),
        },
        panic_allowed=settings.panic,
        is_checked=settings.health_check.enabled,
        slow_start=settings.slow_start,
        max_inflight=settings.limits.max_inflight,
    )
    for spec in settings.upstreams:
        if isinstance(spec, UpstreamSpec):
            pool.upstreams[spec.id] = UpstreamState(
                pool=DEFAULT,
                id=spec.id,
                host=spec.host,
                port=spec.port,
                weight=spec.weight,
                row=ledger.row(Kind.UPSTREAM, DEFAULT, spec.id),
                address=spec.host if is_ip(spec.host) else "",
                backup=spec.backup,
                max_inflight=pool.max_inflight,
                first_check=FirstCheck.AWAITED if pool.is_checked else FirstCheck.DONE,
            )
    return [pool]


def _sticky(group: StickySettings) -> dict[str, Any] | None:
    """What workers are told of sticky sessions; None where there are none."""
    if not group.enabled:
        return None
    return {**group.model_dump(exclude={"enabled"}), "secret": group.secret.get_secret_value()}


def discovered(settings: Settings) -> list[tuple[str, DnsSpec]]:
    """What discovery has to find: the name of the pool, and the entry."""
    return [(DEFAULT, spec) for spec in settings.upstreams if isinstance(spec, DnsSpec)]


def check_settings(settings: Settings) -> CheckSettings:
    """How the upstreams are checked."""
    group = settings.health_check
    return CheckSettings(
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


def ejection_settings(settings: Settings) -> EjectionSettings:
    """How outliers are ejected."""
    group = settings.outlier
    return EjectionSettings(group.ejection_time, group.max_ejection_time, group.max_ejection_percent)


class Blueprint:
    """Makes the `start` message of each incarnation."""

    def __init__(
        self,
        settings: Settings,
        fleet: Fleet,
        ledger: Ledger,
        *,
        listener: str,
        max_connections: int,
        via: str,
    ) -> None:
        """`via` is the name that Via tells, "" where there is to be none."""
        self._fleet = fleet
        self._workers = settings.workers
        self._max_connections = max_connections
        self._worker_rows = [ledger.row(Kind.WORKER, str(slot)) for slot in range(settings.workers)]
        self._listener_row = ledger.row(Kind.LISTENER, listener)
        self._limits = settings.limits.model_dump(exclude={"max_inflight", "queue_size", "queue_timeout"})
        self._constant: dict[str, Any] = {
            "type": "start",
            "workers": settings.workers,
            "timeouts": settings.timeouts.model_dump(exclude={"drain", "drain_delay"}),
            "drain": settings.timeouts.drain,
            "trusted_proxies": list(settings.trusted_proxies),
            "via": via,
            "request_trailers": settings.request_trailers,
            "forwarded": {"told": list(settings.forwarded.told), "kept": list(settings.forwarded.kept)},
            "access_log": settings.access_log.model_dump(exclude={"fields"}),
            "log_level": settings.log_level,
            "routes": [{"name": DEFAULT, "row": ledger.row(Kind.ROUTE, DEFAULT), "pool": DEFAULT}],
        }

    def start_message(self, slot: int, page: int) -> Message:
        """What the worker of `slot` needs to know; the shares of MAX_CONNECTIONS add up to it."""
        max_connections = share(self._max_connections, self._workers, slot, 0)
        return {
            **self._constant,
            "revision": self._fleet.revision,
            "slot": slot,
            "page": page,
            "rows": {"worker": self._worker_rows[slot], "listener": self._listener_row},
            "limits": {**self._limits, "max_connections": max_connections},
            "pools": self._fleet.snapshot(),
        }
