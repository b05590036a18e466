"""Metrics counted by workers (L2): the sums of the stats segment's pages under their public names.

A series must exist before its first event, or `rate()` misses that event; so series with few label values
start at 0. Of status codes, only those used by alerts do. Others appear when they first occur.
"""

from collections.abc import Iterator

from balancer.errors import FAILURES
from balancer.telemetry import columns as c
from balancer.telemetry.buckets import Buckets
from balancer.telemetry.columns import Kind
from balancer.telemetry.ledger import Labels, Ledger
from balancer.telemetry.metrics import Family, counter, gauge, histogram, observe

# Exported even before they occur: for every upstream, and for every method that a route has seen.
FIRST_CODES = frozenset(["200", "500", "502", "503", "504"])
FIRST_METHODS = frozenset(["GET", "POST"])
_ROUTE_POOL = ("route", "pool")  # the pool is empty if the route answers by itself
_POOL_UPSTREAM = ("pool", "upstream")

Row = tuple[Labels, list[int]]


def families(ledger: Ledger, log_dropped: int, buckets: Buckets) -> Iterator[Family]:
    """All families. `log_dropped` counts lines lost by the supervisor's writer; workers count their own."""
    yield from _routes(ledger.totals(Kind.ROUTE), buckets)
    yield from _upstreams(ledger.totals(Kind.UPSTREAM), buckets)
    yield from _pools(ledger.totals(Kind.POOL), buckets)
    yield from _listeners(ledger.totals(Kind.LISTENER), ledger.totals(Kind.TLS_LISTENER))
    yield from _workers(ledger.totals(Kind.WORKER), log_dropped)


def _routes(rows: list[Row], buckets: Buckets) -> Iterator[Family]:
    requests = counter("requests", "Requests answered.", (*_ROUTE_POOL, "method", "code"))
    duration = histogram(
        "request_duration_seconds", "Time from the request's head to the response's last byte.", _ROUTE_POOL
    )
    inflight = gauge("requests_inflight", "Requests being served.", _ROUTE_POOL)
    broken_off = counter(
        "responses_broken_off", "Responses reset after their head; not if the client left.", _ROUTE_POOL
    )
    received = counter(
        "request_bytes", "Bytes of request bodies received from clients; heads do not count.", _ROUTE_POOL
    )
    sent = counter(
        "response_bytes", "Bytes of response bodies sent to clients; heads do not count.", _ROUTE_POOL
    )
    width = len(c.CODES)
    for labels, cells in rows:
        for number, method in enumerate(c.METHODS):
            counts = cells[number * width : (number + 1) * width]
            seen = method in FIRST_METHODS or any(counts)
            for code, count in zip(c.CODES, counts, strict=True):
                if count or (seen and code in FIRST_CODES):
                    requests.add_metric([*labels, method, code], count)
        observe(
            duration, labels, _histogram(cells, c.ROUTE_DURATION), cells[c.ROUTE_DURATION_SUM] / 1e9, buckets
        )
        inflight.add_metric(labels, cells[c.ROUTE_INFLIGHT])
        broken_off.add_metric(labels, cells[c.ROUTE_BROKEN_OFF])
        received.add_metric(labels, cells[c.ROUTE_REQUEST_BYTES])
        sent.add_metric(labels, cells[c.ROUTE_RESPONSE_BYTES])
    yield from (requests, duration, inflight, broken_off, received, sent)


def _upstreams(rows: list[Row], buckets: Buckets) -> Iterator[Family]:
    requests = counter("upstream_requests", "Responses received.", (*_POOL_UPSTREAM, "code"))
    first_byte = histogram(
        "upstream_first_byte_seconds", "Time from request sent to first byte of the response.", _POOL_UPSTREAM
    )
    inflight = gauge("upstream_inflight", "Requests in flight at the upstream.", _POOL_UPSTREAM)
    limit = gauge(
        "upstream_inflight_limit",
        "Requests that it may have in flight, if a limit is in force.",
        _POOL_UPSTREAM,
    )
    idle = gauge("upstream_idle_connections", "Idle keepalive connections.", _POOL_UPSTREAM)
    left = counter(
        "upstream_abandoned", "Requests whose client left before a response began.", _POOL_UPSTREAM
    )
    connects = counter("upstream_connects", "Connections opened.", _POOL_UPSTREAM)
    reuses = counter("upstream_connection_reuses", "Requests sent on a kept connection.", _POOL_UPSTREAM)
    closes = counter(
        "upstream_connection_closes", "Connections ended, by cause.", (*_POOL_UPSTREAM, "reason")
    )
    failures = counter(
        "upstream_connect_failures", "Connections that could not be opened.", (*_POOL_UPSTREAM, "reason")
    )
    for labels, cells in rows:
        for code, count in zip(c.CODES, cells, strict=False):
            if count or code in FIRST_CODES:
                requests.add_metric([*labels, code], count)
        observe(
            first_byte,
            labels,
            _histogram(cells, c.UPSTREAM_FIRST_BYTE),
            cells[c.UPSTREAM_FIRST_BYTE_SUM] / 1e9,
            buckets,
        )
        inflight.add_metric(labels, cells[c.UPSTREAM_INFLIGHT])
        if cells[c.UPSTREAM_INFLIGHT_LIMIT]:
            limit.add_metric(labels, cells[c.UPSTREAM_INFLIGHT_LIMIT])
        idle.add_metric(labels, cells[c.UPSTREAM_IDLE])
        left.add_metric(labels, cells[c.UPSTREAM_LEFT])
        connects.add_metric(labels, cells[c.UPSTREAM_CONNECTS])
        reuses.add_metric(labels, cells[c.UPSTREAM_REUSES])
        for reason, count in zip(c.CLOSE_REASONS, cells[c.UPSTREAM_CLOSES :], strict=False):
            if count:
                closes.add_metric([*labels, reason], count)
        for reason, count in zip(
            c.CONNECT_FAILURE_REASONS, cells[c.UPSTREAM_CONNECT_FAILURES :], strict=True
        ):
            failures.add_metric([*labels, reason], count)
    yield from (requests, first_byte, inflight, limit, idle, left, connects, reuses, closes, failures)


def _pools(rows: list[Row], buckets: Buckets) -> Iterator[Family]:
    retries = counter(
        "retries", "Requests sent again, to another upstream or on a fresh connection.", ("pool", "reason")
    )
    exhausted = counter(
        "retry_budget_exhausted", "Retries not made because the retry budget was exhausted.", ("pool",)
    )
    tunnels = gauge("tunnels", "WebSocket tunnels open.", ("pool",))
    sticky = counter("sticky_requests", "Requests of pools with sticky sessions.", ("pool", "result"))
    diverted = counter(
        "sticky_diverted", "Pinned requests that the policy would have sent elsewhere.", ("pool",)
    )
    queued = gauge("queue_length", "Requests that wait because every upstream is full.", ("pool",))
    waits = histogram(
        "queue_wait_seconds", "Time that requests waited for the slot that they got.", ("pool",)
    )
    rejected = counter(
        "queue_rejected", "Requests answered with 503 instead of a slot, by reason.", ("pool", "reason")
    )
    abandoned = counter("queue_abandoned", "Requests whose client left while they waited.", ("pool",))
    for labels, cells in rows:
        for reason, count in zip(c.RETRY_REASONS, cells[c.POOL_RETRIES :], strict=False):
            retries.add_metric([*labels, reason], count)
        exhausted.add_metric(labels, cells[c.POOL_RETRY_BUDGET_EXHAUSTED])
        tunnels.add_metric(labels, cells[c.POOL_TUNNELS])
        for result, count in zip(c.STICKY_RESULTS, cells[c.POOL_STICKY :], strict=False):
            sticky.add_metric([*labels, result], count)
        diverted.add_metric(labels, cells[c.POOL_STICKY_DIVERTED])
        queued.add_metric(labels, cells[c.POOL_QUEUE_LENGTH])
        observe(
            waits, labels, _histogram(cells, c.POOL_QUEUE_WAIT), cells[c.POOL_QUEUE_WAIT_SUM] / 1e9, buckets
        )
        for reason, count in zip(c.QUEUE_REJECTIONS, cells[c.POOL_QUEUE_REJECTED :], strict=False):
            rejected.add_metric([*labels, reason], count)
        abandoned.add_metric(labels, cells[c.POOL_QUEUE_ABANDONED])
    yield from (retries, exhausted, tunnels, sticky, diverted, queued, waits, rejected, abandoned)


def _listeners(plain: list[Row], tls: list[Row]) -> Iterator[Family]:
    now = gauge("client_connections", "Client connections open.", ("listener",))
    ever = counter("client_connections", "Client connections accepted.", ("listener",))
    text = "Client connections closed to make room for new ones."
    reclaimed = counter("client_connections_reclaimed", text, ("listener",))
    handshakes = counter(
        "tls_handshakes", "Connections to the TLS listener, by the result.", ("listener", "result")
    )
    for labels, cells in (*plain, *tls):
        now.add_metric(labels, cells[c.LISTENER_CONNECTIONS])
        ever.add_metric(labels, cells[c.LISTENER_CONNECTIONS_TOTAL])
        reclaimed.add_metric(labels, cells[c.LISTENER_CONNECTIONS_RECLAIMED])
    for labels, cells in tls:
        for result, count in zip(c.HANDSHAKE_RESULTS, cells[c.LISTENER_TLS_HANDSHAKES :], strict=False):
            handshakes.add_metric([*labels, result], count)
    yield from (now, ever, reclaimed, handshakes)


def _workers(rows: list[Row], log_dropped: int) -> Iterator[Family]:
    lag = gauge("event_loop_lag_seconds", "How late the worker's last sweep ran.", ("worker",))
    local = counter("local_responses", "Responses made or broken off by the balancer.", ("code", "reason"))
    drops = counter("log_dropped", "Access-log lines dropped.")
    failures = [0] * len(FAILURES)
    for labels, cells in rows:
        lag.add_metric(labels, cells[c.WORKER_LOOP_LAG_NS] / 1e9)
        log_dropped += cells[c.WORKER_LOG_DROPPED]
        failures = [a + b for a, b in zip(failures, cells[c.WORKER_LOCAL_RESPONSES :], strict=True)]
    for failure, count in zip(FAILURES, failures, strict=True):
        local.add_metric([str(failure.status), failure.reason], count)
    drops.add_metric([], log_dropped)
    yield from (lag, local, drops)


def _histogram(cells: list[int], first: int) -> list[int]:
    return cells[first : first + c.HISTOGRAM_CELLS]
