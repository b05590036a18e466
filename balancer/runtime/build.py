"""Builds a worker's data plane from the `start` message: the only place that knows all its parts."""

import asyncio
import os
import traceback
from collections.abc import Callable
from random import Random
from typing import Any

from balancer.clock import Clock
from balancer.connections.connector import Connector
from balancer.connections.keepalive import KeepalivePool, KeepaliveSettings
from balancer.http.forwarding import Forwarding, RequestIds
from balancer.policies.registry import PolicyContext
from balancer.policies.registry import build as build_policy
from balancer.pools.pool import UpstreamPool
from balancer.proxy.limits import Limits, Timeouts, timeout_ns
from balancer.proxy.proxy import Proxy
from balancer.proxy.router import Route, Router
from balancer.telemetry.access_log import RecordSink
from balancer.telemetry.segment import Segment
from balancer.upstreams.upstream import Upstream


def build_proxy(
    start: dict[str, Any],
    *,
    loop: asyncio.AbstractEventLoop,
    segment: Segment,
    clock: Clock,
    records: RecordSink,
    log: Callable[[str, str, str | None], None],
) -> Proxy:
    """`start` is the first message on the control channel; durations in it are seconds, 0 = off."""

    def report(error: Exception) -> None:
        log("error", f"internal error: {error!r}", "".join(traceback.format_exception(error)))

    page = segment.page(start["page"])
    context = PolicyContext(Random(os.urandom(16)), start["slot"])
    limits = Limits(**start["limits"])
    timeouts = start["timeouts"]
    connector = Connector(loop, clock, timeouts["connect"] or None, limits.header_bytes, limits.header_count)
    pools: dict[str, UpstreamPool] = {}
    for spec in start["pools"]:
        keepalive = spec["keepalive"]
        keepalive_settings = KeepaliveSettings(
            max_idle=keepalive["max_idle"],
            idle_timeout_ns=timeout_ns(keepalive["idle_timeout"]),
            max_requests=keepalive["max_requests"],
            max_lifetime_ns=round(keepalive["max_lifetime"] * 1e9),
        )
        upstreams = []
        for one in spec["upstreams"]:
            upstream = Upstream(one["id"], one["host"], one["port"], one["weight"], page.row(one["row"]))
            connector.add(KeepalivePool(upstream, keepalive_settings))
            upstreams.append(upstream)
        policy = build_policy(spec["policy"], spec["policy_options"], context)
        pool = UpstreamPool(
            spec["name"], upstreams, policy, spec["retry"]["max_attempts"], page.row(spec["row"]), report
        )
        if start["workers"] > 1:
            others = [
                segment.page(index) for index in range(1, 2 * start["workers"] + 3) if index != start["page"]
            ]
            pool.watch_remote({one["id"]: [p.row(one["row"]) for p in others] for one in spec["upstreams"]})
        pools[pool.name] = pool
    routes = [Route(one["name"], pools[one["pool"]], page.row(one["row"])) for one in start["routes"]]
    return Proxy(
        loop=loop,
        clock=clock,
        router=Router(routes),
        pools=list(pools.values()),
        connector=connector,
        forwarding=Forwarding(start["trusted_proxies"]),
        request_ids=RequestIds(int.from_bytes(os.urandom(8))),
        timeouts=Timeouts(
            first_byte_ns=timeout_ns(timeouts["first_byte"]),
            idle_ns=timeout_ns(timeouts["idle"]),
            total_ns=timeout_ns(timeouts["total"]),
            request_head_ns=timeout_ns(timeouts["request_head"]),
            client_idle_ns=timeout_ns(timeouts["client_idle"]),
            tunnel_idle_ns=timeout_ns(timeouts["tunnel_idle"]),
        ),
        limits=limits,
        records=records,
        report=report,
        listener_cells=page.row(start["rows"]["listener"]),
        worker_cells=page.row(start["rows"]["worker"]),
    )
