"""Builds a worker's data plane from the `start` message: the only place that knows all its parts."""

import asyncio
import os
import traceback
from collections.abc import Callable
from random import Random
from typing import Any

from balancer.clients.context import ClientContext
from balancer.clients.data_plane import DataPlane
from balancer.clients.untrusted import UntrustedPeers
from balancer.clock import Clock
from balancer.connections.connector import Connector
from balancer.connections.keepalive import KeepaliveSettings
from balancer.http.cookies import cookie_attributes
from balancer.http.fields import REQUEST_KINDS, FieldTable
from balancer.http.forwarding import Forwarding, RequestIds
from balancer.policies.base import PolicyContext
from balancer.policies.least_connections import LeastConnections
from balancer.policies.registry import build as build_policy
from balancer.pools.adaptive_limits import AdaptiveLimits
from balancer.pools.affinity import Affinity
from balancer.pools.concurrency_limit import ConcurrencyBounds
from balancer.pools.diversion import Diversion
from balancer.pools.outlier import OutlierDetector, OutlierSettings
from balancer.pools.pin_cookie import AppCookie, BalancerCookie, PinCookie
from balancer.pools.pool import PoolSettings, UpstreamPool
from balancer.pools.queue import PlaceQueue
from balancer.pools.retry_budget import RetryRules
from balancer.pools.slow_start import SlowStart
from balancer.pools.suspects import Suspects, Tell
from balancer.proxy.context import ProxyContext
from balancer.proxy.journal import Journal
from balancer.proxy.limits import Limits, Timeouts, timeout_ns
from balancer.proxy.loops import Loops
from balancer.proxy.membership import Membership, MemberState
from balancer.proxy.router import Route, Router
from balancer.telemetry.access_log import RecordSink
from balancer.telemetry.segment import Segment
from balancer.upstreams.shares import share
from balancer.upstreams.state import AdminState, Cause, FirstCheck


def build_data_plane(
    start: dict[str, Any],
    *,
    loop: asyncio.AbstractEventLoop,
    segment: Segment,
    clock: Clock,
    records: RecordSink,
    log: Callable[[str, str, str | None], None],
    tell: Tell,
) -> DataPlane:
    """`start` is the first message on the control channel; durations in it are seconds, 0 = off. `tell` sends
    a message to the supervisor."""

    def report(error: Exception) -> None:
        log("error", f"internal error: {error!r}", "".join(traceback.format_exception(error)))

    page = segment.page(start["page"])
    slot, workers = start["slot"], start["workers"]
    context = PolicyContext(Random(os.urandom(16)), slot, clock)
    limits = Limits(**start["limits"])
    timeouts = start["timeouts"]
    connector = Connector(
        loop,
        clock,
        timeouts["connect"] or None,
        limits.header_bytes,
        limits.header_count,
        # All workers find out, each by itself.
        lambda upstream, text: tell(
            {"type": "log", "level": "info", "message": text, "once": f"idle timeout of {upstream}"}
        ),
        lambda upstream, host, why: tell(
            {"type": "elsewhere", "row": upstream.row, "host": upstream.host, "other": host, "why": why}
        ),
    )
    membership = Membership(connector, page.row)
    others = [segment.page(index) for index in range(1, segment.pages) if index != start["page"]]

    def remote_rows(row: int) -> list[memoryview]:
        return [other.row(row) for other in others]

    pools: dict[str, UpstreamPool] = {}
    for spec in start["pools"]:
        cells = page.row(spec["row"])
        queue = None
        if size := share(spec["queue"]["size"], workers, slot, spec["row"]):
            queue = PlaceQueue(size, spec["queue"]["timeout"], loop=loop, clock=clock, cells=cells)
        pool = UpstreamPool(
            spec["name"],
            build_policy(spec["policy"], spec["policy_options"], context),
            LeastConnections(context),
            pool_settings(spec),
            clock.monotonic_ns(),
            cells,
            report,
            remote_rows if workers > 1 else None,
            build_affinity(spec, cells, clock, report),
            queue,
            build_suspects(spec, clock, tell),
            build_adaptive(spec, start, remote_rows if workers > 1 else _no_rows, loop, clock),
        )
        keepalive = spec["keepalive"]
        membership.add_pool(
            pool,
            KeepaliveSettings(
                max_idle=keepalive["max_idle"],
                idle_timeout_ns=timeout_ns(keepalive["idle_timeout"]),
                max_requests=keepalive["max_requests"],
                max_lifetime_ns=round(keepalive["max_lifetime"] * 1e9),
                learn=keepalive["learn"],
            ),
            SlowStart(round(spec["slow_start"] * 1e9), clock),
        )
        states = member_states(spec["upstreams"], workers, slot)
        membership.apply(pool.name, states, start["revision"], starting=spec["starting"])
        pools[pool.name] = pool
    trusted = start["trusted_proxies"]
    routes = [Route(one["name"], pools[one["pool"]], page.row(one["row"])) for one in start["routes"]]
    proxy = ProxyContext(
        loop=loop,
        clock=clock,
        router=Router(routes),
        connector=connector,
        loops=Loops(start["via"], clock, tell),
        request_ids=RequestIds(int.from_bytes(os.urandom(8))),
        timeouts=Timeouts(
            first_byte_ns=timeout_ns(timeouts["first_byte"]),
            idle_ns=timeout_ns(timeouts["idle"]),
            total_ns=timeout_ns(timeouts["total"]),
            request_head_ns=timeout_ns(timeouts["request_head"]),
            client_idle_ns=timeout_ns(timeouts["client_idle"]),
            tunnel_idle_ns=timeout_ns(timeouts["tunnel_idle"]),
        ),
        report=report,
    )
    journal = Journal(
        records,
        page.row(start["rows"]["worker"]),
        clock,
        lambda text, once: tell({"type": "log", "level": "warning", "message": text, "once": once}),
    )
    clients = ClientContext(
        proxy,
        journal,
        clock=clock,
        forwarding=Forwarding(trusted, start["via"], UntrustedPeers(tell, clock, bool(trusted)).seen),
        request_fields=FieldTable(
            REQUEST_KINDS,
            start["forwarded"]["told"],
            start["forwarded"]["kept"],
            passes_trailers=start["request_trailers"],
        ),
        limits=limits,
        listener_cells=page.row(start["rows"]["listener"]),
    )
    return DataPlane(clients, proxy, membership, journal, clock)


def pool_settings(spec: dict[str, Any]) -> PoolSettings:
    """What a pool of the `start` message is told besides its upstreams."""
    retry = spec["retry"]
    return PoolSettings(
        retry=RetryRules(
            max_attempts=retry["max_attempts"],
            statuses=frozenset(retry["statuses"]),
            methods=frozenset(method.encode() for method in retry["methods"]),
            replay_bytes=retry["replay_bytes"],
        ),
        retry_ratio=retry["budget_ratio"],
        retry_floor=retry["budget_min_per_second"],
        panic=spec["panic"],
        hash_key=spec["hash_key"],
        checked_within_ns=round(spec["checked_within"] * 1e9),
    )


def build_affinity(
    spec: dict[str, Any], cells: memoryview, clock: Clock, report: Callable[[Exception], None]
) -> Affinity | None:
    """Sticky sessions for a pool of the `start` message, None where it has none."""
    sticky = spec["sticky"]
    if sticky is None:
        return None
    cookie: PinCookie
    if sticky["app_cookie"]:
        cookie = AppCookie(sticky["app_cookie"].encode())
    else:
        attributes = cookie_attributes(
            path=sticky["path"],
            domain=sticky["domain"],
            max_age=sticky["max_age"],
            secure=sticky["secure"],
            http_only=sticky["http_only"],
            same_site=sticky["same_site"],
        )
        cookie = BalancerCookie(sticky["cookie"].encode(), attributes)
    # The twin's chance is its own: the policy's draws stay what they would be without it.
    context = PolicyContext(Random(os.urandom(16)), 0, clock)
    twin = build_policy(spec["policy"], spec["policy_options"], context)
    return Affinity(spec["name"], sticky["secret"].encode(), cookie, cells, Diversion(twin, cells, report))


def build_suspects(spec: dict[str, Any], clock: Clock, tell: Tell) -> Suspects | None:
    """Outlier detection of a pool, as the `start` message describes it; None where it is off."""
    outlier = spec["outlier"]
    if not outlier["enabled"]:
        return None
    settings = OutlierSettings(outlier["consecutive_5xx"], outlier["consecutive_failures"])
    methods = frozenset(method.encode() for method in spec["retry"]["methods"])
    return Suspects(spec["name"], OutlierDetector(settings, clock), methods, tell, clock)


def build_adaptive(
    spec: dict[str, Any],
    start: dict[str, Any],
    rows: Callable[[int], list[memoryview]],
    loop: asyncio.AbstractEventLoop,
    clock: Clock,
) -> AdaptiveLimits | None:
    """A pool's adaptive limits, as the `start` message describes them; None where they are off."""
    adaptive = spec["adaptive"]
    if not adaptive["enabled"]:
        return None
    least, most = (
        max(1, share(adaptive[name], start["workers"], start["slot"], spec["row"]))
        for name in ("min_limit", "max_limit")
    )
    return AdaptiveLimits(ConcurrencyBounds(least, most), loop=loop, clock=clock, rows=rows)


def _no_rows(row: int) -> list[memoryview]:
    return []


def member_states(upstreams: list[dict[str, Any]], workers: int, slot: int) -> list[MemberState]:
    """The upstreams of a pool as the `start` and `pool` messages carry them, for the worker of `slot`."""
    return [
        MemberState(
            id=one["id"],
            host=one["host"],
            port=one["port"],
            weight=one["weight"],
            row=one["row"],
            admin_state=AdminState(one["admin_state"]),
            leaves_by_itself=one["leaves_by_itself"],
            causes=frozenset(map(Cause, one["causes"])),
            backup=one["backup"],
            ramp_since_ns=one["ramp_since_ns"],
            max_inflight=share(one["max_inflight"], workers, slot, one["row"]),
            on_probation=one["on_probation"],
            silent_since_ns=one["silent_since_ns"],
            first_check=FirstCheck(one["first_check"]),
            other_hosts=tuple(one["other_hosts"]),
        )
        for one in upstreams
    ]
