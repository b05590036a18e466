"""Builds a worker's data plane from the `start` message (L7): the only place that knows all its parts.

One function for each package that has something to build.
"""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

import asyncio
import os
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeAlias

from balancer.clients.context import ClientContext
from balancer.clients.data_plane import DataPlane
from balancer.clients.door import Door
from balancer.clients.entrance import Entrance
from balancer.clients.handshakes import Handshakes
from balancer.clients.listener_counts import ListenerCounts
from balancer.clients.untrusted import UntrustedPeers
from balancer.clock import Clock
from balancer.connections.connector import Connector
from balancer.counters import Batch
from balancer.edges import Edges
from balancer.http.cookies import cookie_attributes
from balancer.http.fields import FORWARDING, REQUEST_KINDS, TRACED_KINDS, FieldTable
from balancer.http.forwarding import Forwarding
from balancer.http.request_ids import RequestIds
from balancer.limits.adaptive_limits import AdaptiveLimits
from balancer.limits.concurrency_limit import ConcurrencyBounds
from balancer.messages import Elsewhere, LogLine, Rows, Start, Tell
from balancer.outliers.detector import OutlierDetector
from balancer.outliers.local_ejector import LocalEjector
from balancer.policies.base import Policy, PolicyContext
from balancer.policies.least_connections import LeastConnections
from balancer.policies.registry import build as build_policy
from balancer.pools.parts import PoolParts
from balancer.pools.picker import Picker
from balancer.pools.pool import UpstreamPool
from balancer.pools.slow_start import SlowStart
from balancer.proxy.context import ProxyContext
from balancer.proxy.explaining import Explaining
from balancer.proxy.journal import Journal
from balancer.proxy.loops import Loops
from balancer.proxy.membership import Membership
from balancer.proxy.router import Router
from balancer.proxy.tracing import Tracing
from balancer.queueing.queue import SlotQueue
from balancer.runtime.routing import Routing
from balancer.spec.part import replaced
from balancer.spec.worker import Level, ListenerSpec, PolicySpec, PoolSpec, StickySpec, WorkerSpec
from balancer.sticky.affinity import Affinity
from balancer.sticky.diversion import Diversion
from balancer.sticky.pin_cookie import AppCookie, BalancerCookie, PinCookie
from balancer.telemetry.access_log import AccessLog
from balancer.telemetry.segment import OtherPages, Segment

# Logs for the operator: level, message, and the traceback of a bug.
Log: TypeAlias = Callable[[Level, str, str | None], None]


@dataclass(frozen=True, slots=True)
class _Place:
    """A worker's environment, for its parts. `remote_rows` returns a row in the pages of all other
    incarnations, also those of this slot; `part` returns this worker's share of a cap on a row's count."""

    loop: asyncio.AbstractEventLoop
    clock: Clock
    tell: Tell
    report: Callable[[Exception], None]
    slot: int
    workers: int
    edges: Edges
    cells: Callable[[int], memoryview[int]]
    remote_rows: Callable[[int], list[memoryview[int]]]

    def part(self, cap: int, row: int) -> int:
        return share(cap, self.workers, self.slot, row)


def build_data_plane(
    start: Start,
    *,
    loop: asyncio.AbstractEventLoop,
    segment: Segment,
    clock: Clock,
    access_log: AccessLog,
    log: Log,
    tell: Tell,
) -> DataPlane:
    """The part that serves this worker's clients. `tell` sends a message to the supervisor."""

    def report(error: Exception) -> None:
        log("error", f"internal error: {error!r}", "".join(traceback.format_exception(error)))

    spec, rows, listener = start.spec, start.rows, start.spec.listener
    page = segment.page(start.page)
    others = OtherPages(segment, start.page, start.others.pages, start.others.predecessors)
    place = _Place(
        loop=loop,
        clock=clock,
        tell=tell,
        report=report,
        slot=start.slot,
        workers=spec.workers,
        edges=Edges(spec.edges),
        cells=page.row,
        remote_rows=others.rows,
    )
    limits = replaced(listener.limits, max_connections=place.part(listener.limits.max_connections, 0))
    batch = Batch(place.edges)
    connector = _connector(listener, place)
    membership = Membership(connector, place.cells, place.part, batch, others)
    pools = {pool.name: _pool(pool, row, place) for pool, row in zip(spec.pools, rows.pools, strict=True)}
    for pool in spec.pools:
        membership.add_pool(pools[pool.name], pool, SlowStart(pool.slow_start_ns, clock))
    for update in start.pools:
        membership.apply(update)
    if start.heritage is not None:
        membership.resume(segment.page(start.heritage.page).row, start.heritage.part)
    routing = Routing(pools, place.cells, batch, limits.max_connections, spec.tls)
    routers = routing.routers(spec.routes, rows.routes)
    explaining = Explaining(spec.explain_sample, routers[-1], clock, Random(os.urandom(16)))
    if start.watch is not None:
        explaining.watch(start.watch)
    proxy = ProxyContext(
        loop=loop,
        clock=clock,
        batch=batch,
        router=routers[-1],
        connector=connector,
        loops=Loops(spec.via, clock, tell),
        request_ids=RequestIds(int.from_bytes(os.urandom(8))),
        report=report,
        explaining=explaining,
        tracing=_tracing(spec),
    )
    journal = Journal(
        access_log,
        place.cells(rows.worker),
        clock,
        lambda text, once: tell(LogLine(level="warning", message=text, once=once)),
    )
    clients = ClientContext(
        proxy,
        journal,
        clock=clock,
        request_fields=FieldTable(
            REQUEST_KINDS if spec.traces is None else TRACED_KINDS,
            listener.forwarded.told,
            listener.forwarded.kept,
            passes_trailers=listener.request_trailers,
        ),
        timeouts=listener.timeouts,
        limits=limits,
    )
    plain, secure = _entrances(spec, rows, routers, place)
    doors = [Door(each, spec.routes) for each in (plain, secure) if each is not None]
    handshakes = None if secure is None or spec.tls is None else Handshakes(clients, secure, spec.tls)
    plane = DataPlane(clients, proxy, membership, journal, clock, plain, handshakes, doors, routing)
    for split in start.splits:
        plane.take_split(split)
    for read_only in start.read_only:
        plane.take_read_only(read_only)
    plane.take_challenges(start.challenges)
    return plane


def _tracing(spec: WorkerSpec) -> Tracing | None:
    if spec.traces is None:
        return None
    forwarded = spec.listener.forwarded
    field = FieldTable(REQUEST_KINDS, forwarded.told, forwarded.kept).learn(b"traceparent: ", False)
    believes_all = field is None or field.kind != FORWARDING
    return Tracing(spec.traces.sample, Random(os.urandom(16)), believes_all)


def _entrances(
    spec: WorkerSpec, rows: Rows, routers: Sequence[Router], place: _Place
) -> tuple[Entrance, Entrance | None]:
    """Those of the plain and of the TLS listener."""
    trusted, via, tls = spec.listener.trusted_proxies, spec.via, spec.tls
    plain = Forwarding(trusted, via, UntrustedPeers(place.tell, place.clock, bool(trusted)).seen)
    counts = ListenerCounts(place.cells(rows.listener))
    if tls is None or rows.tls_listener is None:
        return Entrance(plain, routers[0], counts), None
    untrusted = UntrustedPeers(place.tell, place.clock, bool(trusted), is_tls=True)
    secure = Forwarding(trusted, via, untrusted.seen, scheme=b"https", port=tls.public_port)
    return (
        Entrance(plain, routers[0], counts),
        Entrance(secure, routers[1], ListenerCounts(place.cells(rows.tls_listener)), tls.hsts),
    )


def _connector(listener: ListenerSpec, place: _Place) -> Connector:
    tell = place.tell
    return Connector(
        place.loop,
        place.clock,
        listener.limits.header_bytes,
        listener.limits.header_count,
        # Each worker learns it by itself: log it once.
        lambda upstream, text: tell(LogLine(level="info", message=text, once=f"idle timeout of {upstream}")),
        lambda upstream, host, why: tell(
            Elsewhere(row=upstream.row, host=upstream.host, other=host, why=why)
        ),
    )


def _pool(spec: PoolSpec, row: int, place: _Place) -> UpstreamPool:
    context = PolicyContext(Random(os.urandom(16)), place.slot, place.clock)
    cells = place.cells(row)
    return UpstreamPool(
        spec,
        Picker(spec.name, _policy(spec.policy, context), LeastConnections(context), place.report),
        cells,
        place.clock.monotonic_ns(),
        PoolParts(
            affinity=None if spec.sticky is None else _affinity(spec, spec.sticky, cells, place),
            queue=_queue(spec, row, place),
            ejector=_ejector(spec, place),
            adaptive=_adaptive(spec, row, place),
            remote_rows=place.remote_rows,
        ),
    )


def _policy(spec: PolicySpec, context: PolicyContext) -> Policy:
    return build_policy(spec.name, dict(spec.options), context)


def _queue(spec: PoolSpec, row: int, place: _Place) -> SlotQueue | None:
    """Where requests wait for a slot; None if this worker's share of it is 0."""
    size = 0 if spec.queue is None else place.part(spec.queue.size, row)
    if spec.queue is None or not size:
        return None
    return SlotQueue(
        size,
        spec.queue.timeout,
        loop=place.loop,
        clock=place.clock,
        cells=place.cells(row),
        edges=place.edges,
    )


def _affinity(spec: PoolSpec, sticky: StickySpec, cells: memoryview[int], place: _Place) -> Affinity:
    # The twin has its own random numbers, so that it does not change the policy's draws.
    twin = _policy(spec.policy, PolicyContext(Random(os.urandom(16)), 0, place.clock))
    return Affinity(spec.name, sticky.secret, pin_cookie(sticky), cells, Diversion(twin, cells, place.report))


def pin_cookie(sticky: StickySpec) -> PinCookie:
    """The cookie that carries a pin: ours, or the app's."""
    if sticky.app_cookie:
        return AppCookie(sticky.app_cookie)
    attributes = cookie_attributes(
        path=sticky.path,
        domain=sticky.domain,
        max_age=sticky.max_age,
        secure=sticky.secure,
        http_only=sticky.http_only,
        same_site=sticky.same_site,
    )
    return BalancerCookie(sticky.cookie, attributes)


def _ejector(spec: PoolSpec, place: _Place) -> LocalEjector | None:
    if spec.outlier is None:
        return None
    detector = OutlierDetector(spec.outlier, place.clock)
    return LocalEjector(spec.name, detector, spec.retry.methods, place.tell, place.clock)


def _adaptive(spec: PoolSpec, row: int, place: _Place) -> AdaptiveLimits | None:
    if spec.adaptive is None:
        return None
    least, most = (max(1, place.part(cap, row)) for cap in (spec.adaptive.min_limit, spec.adaptive.max_limit))
    bounds = ConcurrencyBounds(least, most)
    return AdaptiveLimits(bounds, loop=place.loop, clock=place.clock, rows=place.remote_rows)


def share(total: int, workers: int, slot: int, index: int) -> int:
    """The share of `total` for the worker of `slot`; the shares of all slots add up to `total`.

    The indivisible rest goes to different workers for different `index` (a row of the stats segment, for
    example), so that no worker gets less of every limit.
    """
    each, surplus = divmod(total, workers)
    return each + ((slot - index) % workers < surplus)
