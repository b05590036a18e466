"""The columns of the stats segment: the meaning of each 64-bit cell in an entity's row.

Workers write them as plain integer stores (`cells[column] += 1`), the supervisor reads them at a scrape.
Durations are in nanoseconds, sizes in bytes. A histogram is HISTOGRAM_CELLS counters, whose meaning is in
`edges.Edges`; its count is their sum. Where it is written "histogram", it begins at that column.
"""

from enum import StrEnum
from typing import Final

from balancer.edges import CELLS
from balancer.errors import FAILURES

CELLS_PER_ROW: Final = 512  # 4 KiB: a row is one memory page, touched only when used

HISTOGRAM_CELLS: Final = CELLS

OTHER: Final = "other"
OTHER_5XX: Final = "5xx"  # 511, 521 and the like; codes above 599 too (RFC 9110 section 15)
METHODS: Final[tuple[str, ...]] = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", OTHER)
CODES: Final[tuple[str, ...]] = (
    "101", "200", "201", "202", "203", "204", "205", "206", "207",
    "300", "301", "302", "303", "304", "307", "308",
    "400", "401", "402", "403", "404", "405", "406", "408", "409", "410", "411", "412", "413", "414", "415",
    "416", "417", "422", "423", "425", "426", "428", "429", "431", "499",
    "500", "501", "502", "503", "504", "505", "508", OTHER_5XX, OTHER,
)  # fmt: skip


class Kind(StrEnum):
    """The kind of an entity; it determines the meaning of its row's columns."""

    WORKER = "worker"
    LISTENER = "listener"
    TLS_LISTENER = "tls_listener"
    ROUTE = "route"
    POOL = "pool"
    UPSTREAM = "upstream"


def _code_columns() -> tuple[int, ...]:
    known = {int(code): column for column, code in enumerate(CODES) if code.isdigit()}
    other, other_5xx = CODES.index(OTHER), CODES.index(OTHER_5XX)
    return tuple(known.get(code, other_5xx if code >= 500 else other) for code in range(1000))


# Status code (0 to 999) -> its column among CODES.
CODE_COLUMN: Final[tuple[int, ...]] = _code_columns()
# Method -> the first of its CODES columns in a route's row; unknown methods use METHOD_OTHER.
METHOD_COLUMN: Final[dict[bytes, int]] = {
    m.encode(): i * len(CODES) for i, m in enumerate(METHODS) if m != OTHER
}
METHOD_OTHER: Final = (len(METHODS) - 1) * len(CODES)

# --- route: METHODS x CODES counters, then
ROUTE_DURATION: Final = len(METHODS) * len(CODES)  # histogram
ROUTE_DURATION_SUM: Final = ROUTE_DURATION + HISTOGRAM_CELLS
ROUTE_REQUEST_BYTES: Final = ROUTE_DURATION_SUM + 1
ROUTE_RESPONSE_BYTES: Final = ROUTE_REQUEST_BYTES + 1
ROUTE_INFLIGHT: Final = ROUTE_RESPONSE_BYTES + 1  # gauge
ROUTE_BROKEN_OFF: Final = ROUTE_INFLIGHT + 1  # responses reset after their head; not if the client left
ROUTE_RETRIES: Final = ROUTE_BROKEN_OFF + 1
# Most responses arrive whole, so their first byte is in the bucket of their last one. Of the others, one more
# is counted here where they began (none if the client left before that), and one less where they ended: added
# to the durations this is the histogram of the times to the first byte.
ROUTE_BEGAN: Final = ROUTE_RETRIES + 1  # histogram
ROUTE_CELLS: Final = ROUTE_BEGAN + HISTOGRAM_CELLS
assert ROUTE_CELLS <= CELLS_PER_ROW

# --- upstream: CODES counters (responses received, by code), then
UPSTREAM_FIRST_BYTE_SUM: Final = len(CODES)
UPSTREAM_INFLIGHT: Final = UPSTREAM_FIRST_BYTE_SUM + 1  # gauge
UPSTREAM_IDLE: Final = UPSTREAM_INFLIGHT + 1  # gauge
UPSTREAM_INFLIGHT_LIMIT: Final = UPSTREAM_IDLE + 1  # gauge: the worker's limit in force, 0 for none
UPSTREAM_STREAMING: Final = UPSTREAM_INFLIGHT_LIMIT + 1  # gauge: in flight, response has begun
UPSTREAM_LEFT: Final = UPSTREAM_STREAMING + 1  # attempts whose client left before the response began
UPSTREAM_FIRST_BYTE: Final = UPSTREAM_LEFT + 1  # histogram
UPSTREAM_CONNECTS: Final = UPSTREAM_FIRST_BYTE + HISTOGRAM_CELLS
UPSTREAM_REUSES: Final = UPSTREAM_CONNECTS + 1
UPSTREAM_CLOSES: Final = UPSTREAM_REUSES + 1  # one counter per CLOSE_REASONS
CLOSE_REASONS: Final[tuple[str, ...]] = (
    "upstream_closed",  # by the upstream, while idle
    "unexpected_data",  # something arrived on an idle connection
    "idle_timeout",
    "max_idle",
    "max_requests",
    "max_lifetime",
    "not_reusable",  # ended by the response: close-delimited, Connection: close, HTTP/1.0
    "client_gone",
    "failed",  # reset, timed out, malformed, truncated
    "tunnel_ended",
    "expired",  # removed from the pool, draining, shutdown
)
# One counter per CONNECT_FAILURE_REASONS.
UPSTREAM_CONNECT_FAILURES: Final = UPSTREAM_CLOSES + len(CLOSE_REASONS)
CONNECT_FAILURE_REASONS: Final[tuple[str, ...]] = ("refused", "timeout", "unreachable", "tls")
# What a worker has learned, for its successor: in no total. 0 for nothing.
UPSTREAM_SERVICE_NS: Final = UPSTREAM_CONNECT_FAILURES + len(CONNECT_FAILURE_REASONS)  # without a backlog
UPSTREAM_IDLE_TIMEOUT_NS: Final = UPSTREAM_SERVICE_NS + 1  # its own, of idle connections
assert UPSTREAM_IDLE_TIMEOUT_NS < CELLS_PER_ROW

# --- pool
POOL_RETRIES: Final = 0  # one counter per RETRY_REASONS
RETRY_REASONS: Final[tuple[str, ...]] = (
    "connect_failed",
    "connect_timeout",
    "connect_race",
    "stale_connection",
    "status",  # a response among RETRY__STATUSES
    "upstream_closed",
    "first_byte_timeout",
    "malformed_response",
    "upstream_unresponsive",  # it failed its checks while the request waited
    "upstream_tls",  # an alert instead of the first response
)
RETRY_COLUMN: Final[dict[str, int]] = {reason: POOL_RETRIES + i for i, reason in enumerate(RETRY_REASONS)}
POOL_RETRY_BUDGET_EXHAUSTED: Final = POOL_RETRIES + len(RETRY_REASONS)
POOL_TUNNELS: Final = POOL_RETRY_BUDGET_EXHAUSTED + 1  # gauge
POOL_STICKY: Final = POOL_TUNNELS + 1  # one counter per STICKY_RESULTS
STICKY_RESULTS: Final[tuple[str, ...]] = ("hit", "new", "repinned", "overflow", "invalid")
POOL_STICKY_DIVERTED: Final = POOL_STICKY + len(STICKY_RESULTS)
POOL_QUEUE_LENGTH: Final = POOL_STICKY_DIVERTED + 1  # gauge
POOL_QUEUE_WAIT: Final = POOL_QUEUE_LENGTH + 1  # histogram
POOL_QUEUE_WAIT_SUM: Final = POOL_QUEUE_WAIT + HISTOGRAM_CELLS
POOL_QUEUE_REJECTED: Final = POOL_QUEUE_WAIT_SUM + 1  # one counter per QUEUE_REJECTIONS
QUEUE_REJECTIONS: Final[tuple[str, ...]] = ("full", "timeout", "would_time_out")
POOL_QUEUE_ABANDONED: Final = POOL_QUEUE_REJECTED + len(QUEUE_REJECTIONS)

# --- listener
LISTENER_CONNECTIONS: Final = 0  # gauge
LISTENER_CONNECTIONS_TOTAL: Final = 1
LISTENER_CONNECTIONS_RECLAIMED: Final = 2  # closed while idle, to make room for others
LISTENER_TLS_HANDSHAKES: Final = 3  # of the TLS listener: one counter per HANDSHAKE_RESULTS
HANDSHAKE_RESULTS: Final[tuple[str, ...]] = (
    "ok",
    "timeout",
    "left",  # the client closed first, perhaps without a byte
    "plain_http",
    "not_tls",
    "client_certificate",  # none where one is required, or an invalid one
    "failed",  # no common version or cipher, or the client does not accept the certificate
    "dropped",  # too many connections, made room for others, or a shutdown
)

# --- worker
WORKER_LOOP_LAG_NS: Final = 0  # gauge: how late the last sweep ran
WORKER_LOG_DROPPED: Final = 1
WORKER_LOCAL_RESPONSES: Final = 2  # one counter per errors.FAILURES
assert WORKER_LOCAL_RESPONSES + len(FAILURES) < CELLS_PER_ROW

# Zeroed, not folded, when an incarnation ends.
GAUGES: Final[dict[Kind, tuple[int, ...]]] = {
    Kind.WORKER: (WORKER_LOOP_LAG_NS,),
    Kind.LISTENER: (LISTENER_CONNECTIONS,),
    Kind.TLS_LISTENER: (LISTENER_CONNECTIONS,),
    Kind.ROUTE: (ROUTE_INFLIGHT,),
    Kind.POOL: (POOL_TUNNELS, POOL_QUEUE_LENGTH),
    Kind.UPSTREAM: (UPSTREAM_INFLIGHT, UPSTREAM_IDLE, UPSTREAM_INFLIGHT_LIMIT, UPSTREAM_STREAMING),
}
