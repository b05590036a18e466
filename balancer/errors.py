"""What can go wrong (L0): the failures reported to clients, the outcomes of attempts, and the exceptions.

A `Failure` defines the source of the fault, the response status and the RFC 9209 error type. The response,
the metric label and the log line are all derived from it. `SettingsError` and `StartupError` are for the
operator: each carries one plain sentence with cause and remedy.
"""

import errno
from dataclasses import dataclass, replace
from enum import Enum, IntEnum, StrEnum
from typing import Final

# This machine has run out of a resource. That says nothing about the peer.
EXHAUSTED: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


class Source(StrEnum):
    """Who must act on a failure."""

    CLIENT = "client"
    UPSTREAM = "upstream"
    BALANCER = "balancer"


class Outcome(IntEnum):
    """How one attempt ended, as reported to policies and health logic.

    `CLIENT_GONE` and `CANCELLED` do not count against the upstream (for an upstream on probation, see
    `outliers/local_ejector.py`).
    """

    SUCCESS = 0
    SERVER_ERROR = 1  # a 5xx from the upstream, unless it concerns the request itself (`attempt`)
    CONNECT_FAILED = 2
    FAILED = 3  # reset, malformed, truncated or stalled response
    CLIENT_GONE = 4
    CANCELLED = 5  # cancelled by the balancer: lost a connect race, no descriptors left, shutdown
    TIMED_OUT = 6  # connected, but the response did not arrive or complete in time


class RetrySafety(Enum):
    """Whether the request may be sent again after a failure."""

    NEVER = 0  # caused by the client or the balancer, or a response has begun
    UNSENT = 1  # no connection, so nothing was read: any request may be sent again
    UNREAD = 2  # may have been read: only if the method is idempotent, or it is proven unread
    DEAD = 3  # as UNREAD, but only if the upstream is known to be dead: it might keep others busy too


@dataclass(frozen=True, slots=True, eq=False)
class Failure:
    """One way an exchange can fail; compared by identity.

    `reason` is the metric label and the value in the access log; `proxy_error` is the error type of RFC 9209
    section 2.3, None if none fits; `text` is the sentence for the client. `outcome` is that of the failed
    attempt. A `free` failure took no time and does not count as an attempt. `in_vain`: the upstream did not
    answer, so the request itself may be what keeps upstreams busy: it is not sent a second time.
    """

    reason: str
    status: int
    source: Source
    proxy_error: str | None
    text: str
    retry: RetrySafety = RetrySafety.NEVER
    outcome: Outcome = Outcome.FAILED
    free: bool = False
    in_vain: bool = False


_CLIENT: Final = Source.CLIENT
_UPSTREAM: Final = Source.UPSTREAM
_BALANCER: Final = Source.BALANCER

MALFORMED_REQUEST: Final = Failure(
    "malformed_request", 400, _CLIENT, "http_request_error", "The request is not valid HTTP/1.1."
)
PLAIN_HTTP: Final = Failure(
    "plain_http", 400, _CLIENT, "http_request_error", "This port speaks TLS. Please use https."
)
HEAD_TIMEOUT: Final = Failure(
    "head_timeout", 408, _CLIENT, "http_request_error", "The request head did not arrive in time."
)
BODY_TIMEOUT: Final = Failure(
    "body_timeout", 408, _CLIENT, "http_request_error", "The request body did not arrive in time."
)
BODY_TOO_LARGE: Final = Failure(
    "body_too_large", 413, _CLIENT, "http_request_denied", "The request body is larger than allowed here."
)
URI_TOO_LONG: Final = Failure(
    "uri_too_long", 414, _CLIENT, "http_request_denied", "The request target is longer than allowed here."
)
HEAD_TOO_LARGE: Final = Failure(
    "head_too_large", 431, _CLIENT, "http_request_denied", "The request head is larger than allowed here."
)
METHOD_NOT_SUPPORTED: Final = Failure(
    "method_not_supported", 501, _CLIENT, "http_request_error", "This method is not supported here."
)
CODING_NOT_SUPPORTED: Final = Failure(
    "coding_not_supported", 501, _CLIENT, "http_request_error", "This transfer coding is not supported here."
)
VERSION_NOT_SUPPORTED: Final = Failure(
    "version_not_supported",
    505,
    _CLIENT,
    "http_request_error",
    "Only HTTP/1.0 and HTTP/1.1 are supported here.",
)
TOO_MANY_CONNECTIONS: Final = Failure(
    "too_many_connections", 503, _BALANCER, None, "Too many client connections. Please retry shortly."
)
TOO_MANY_FROM_CLIENT: Final = Failure(
    "too_many_from_client",
    429,
    _CLIENT,
    "http_request_denied",
    "Too many connections from this address. Please close or reuse some.",
)
READ_ONLY: Final = Failure(
    "read_only", 503, _BALANCER, "http_request_denied", "No changes are accepted for a moment. Please retry."
)
POOL_HOLDS_TOO_MANY: Final = Failure(
    "pool_connections",
    503,
    _BALANCER,
    "connection_limit_reached",
    "Too many clients are waiting for this part of the site. Please retry.",
)
NO_ROUTE: Final = Failure(
    "no_route", 404, _CLIENT, "destination_not_found", "Nothing is served under this host and path."
)
NO_UPSTREAM: Final = Failure(
    "no_upstream", 503, _BALANCER, "destination_unavailable", "No upstream is available for this request."
)
UPSTREAMS_FULL: Final = Failure(
    "upstreams_full",
    503,
    _BALANCER,
    "connection_limit_reached",
    "All upstreams are at their concurrency limit. Please retry.",
)
BODIES_FULL: Final = Failure(
    "bodies_full",
    503,
    _BALANCER,
    "connection_limit_reached",
    "Too many request bodies are waiting for upstreams. Please retry.",
)
QUEUE_FULL: Final = Failure(
    "queue_full",
    503,
    _BALANCER,
    "connection_limit_reached",
    "All upstreams are at their concurrency limit and the queue is full. Please retry.",
)
QUEUE_WOULD_TIME_OUT: Final = Failure(
    "queue_would_time_out",
    503,
    _BALANCER,
    "connection_limit_reached",
    "More requests are waiting than the upstreams can serve in time. Please retry.",
)
QUEUE_TIMEOUT: Final = Failure(
    "queue_timeout",
    503,
    _BALANCER,
    "connection_limit_reached",
    "No upstream had a free slot for this request in time. Please retry.",
)
CONNECT_REFUSED: Final = Failure(
    "connect_refused",
    502,
    _UPSTREAM,
    "connection_refused",
    "The upstream refused the connection.",
    retry=RetrySafety.UNSENT,
    outcome=Outcome.CONNECT_FAILED,
    free=True,
)
CONNECT_FAILED: Final = Failure(
    "connect_failed",
    502,
    _UPSTREAM,
    "destination_ip_unroutable",
    "The upstream could not be reached.",
    retry=RetrySafety.UNSENT,
    outcome=Outcome.CONNECT_FAILED,
)
CONNECT_TIMEOUT: Final = Failure(
    "connect_timeout",
    504,
    _UPSTREAM,
    "connection_timeout",
    "The upstream did not accept a connection in time.",
    retry=RetrySafety.UNSENT,
    outcome=Outcome.CONNECT_FAILED,
)
# No TLS connection: the upstream's certificate is refused; there is no handshake; or just after it the
# upstream refuses or breaks the protocol. A request that was sent meanwhile is not known to be unread.
UPSTREAM_CERTIFICATE: Final = Failure(
    "upstream_tls",
    502,
    _UPSTREAM,
    "tls_certificate_error",
    "The upstream could not prove its identity.",
    retry=RetrySafety.UNSENT,
    outcome=Outcome.CONNECT_FAILED,
)
UPSTREAM_TLS: Final = replace(
    UPSTREAM_CERTIFICATE,
    proxy_error="tls_protocol_error",
    text="There is no secure connection to the upstream.",
)
UPSTREAM_TLS_BROKEN: Final = replace(UPSTREAM_TLS, retry=RetrySafety.UNREAD)
UPSTREAM_TLS_ALERT: Final = replace(UPSTREAM_TLS, proxy_error="tls_alert_received", retry=RetrySafety.UNREAD)
APPS_STARTING: Final = Failure(
    "apps_starting",
    503,
    _UPSTREAM,
    "destination_unavailable",
    "No upstream accepts connections, and none has passed a check yet: the app may still be "
    "starting. Please retry.",
)
UPSTREAM_CLOSED: Final = Failure(
    "upstream_closed",
    502,
    _UPSTREAM,
    "connection_terminated",
    "The upstream closed the connection before it responded.",
    retry=RetrySafety.UNREAD,
)
RESPONSE_TRUNCATED: Final = Failure(
    "response_truncated", 502, _UPSTREAM, "http_response_incomplete", "The upstream's response broke off."
)
MALFORMED_RESPONSE: Final = Failure(
    "malformed_response",
    502,
    _UPSTREAM,
    "http_protocol_error",
    "The upstream's response is not valid HTTP/1.1.",
    retry=RetrySafety.UNREAD,
)
RESPONSE_HEAD_TOO_LARGE: Final = Failure(
    "response_head_too_large",
    502,
    _UPSTREAM,
    "http_response_header_section_size",
    "The upstream's response head is larger than allowed here.",
)
UPGRADE_FAILED: Final = Failure(
    "upgrade_failed",
    502,
    _UPSTREAM,
    "http_upgrade_failed",
    "The upstream switched protocols without being asked.",
)
FIRST_BYTE_TIMEOUT: Final = Failure(
    "first_byte_timeout",
    504,
    _UPSTREAM,
    "http_response_timeout",
    "The upstream did not answer in time.",
    retry=RetrySafety.DEAD,
    outcome=Outcome.TIMED_OUT,
    in_vain=True,
)
UPSTREAM_UNRESPONSIVE: Final = Failure(
    "upstream_unresponsive",
    504,
    _UPSTREAM,
    "destination_unavailable",
    "The upstream has stopped answering: it failed its checks while this request waited.",
    retry=RetrySafety.UNREAD,
    outcome=Outcome.CANCELLED,  # its checks have ejected it already
    in_vain=True,
)
IDLE_TIMEOUT: Final = Failure(
    "idle_timeout",
    504,
    _UPSTREAM,
    "connection_read_timeout",
    "The upstream stopped in the middle of its response.",
)
TOTAL_TIMEOUT: Final = Failure(
    "total_timeout",
    504,
    _BALANCER,
    "http_response_timeout",
    "The exchange took longer than allowed here.",
    outcome=Outcome.TIMED_OUT,
)
DRAIN_TIMEOUT: Final = Failure(
    "drain_timeout", 503, _BALANCER, None, "The balancer stopped before this request was complete."
)
LOOP_DETECTED: Final = Failure(  # RFC 5842 section 7.2
    "loop_detected",
    508,
    _BALANCER,
    "proxy_loop_detected",
    "The request has looped back to the balancer that forwarded it.",
)
INTERNAL_ERROR: Final = Failure(
    "internal_error", 500, _BALANCER, "proxy_internal_error", "The balancer failed on this request."
)

# The closed list of `local_responses_total{code,reason}`. Its order is the column order in the segment.
FAILURES: Final[tuple[Failure, ...]] = (
    MALFORMED_REQUEST,
    PLAIN_HTTP,
    HEAD_TIMEOUT,
    BODY_TIMEOUT,
    BODY_TOO_LARGE,
    URI_TOO_LONG,
    HEAD_TOO_LARGE,
    METHOD_NOT_SUPPORTED,
    CODING_NOT_SUPPORTED,
    VERSION_NOT_SUPPORTED,
    TOO_MANY_CONNECTIONS,
    READ_ONLY,
    POOL_HOLDS_TOO_MANY,
    BODIES_FULL,
    NO_ROUTE,
    NO_UPSTREAM,
    UPSTREAMS_FULL,
    QUEUE_FULL,
    QUEUE_WOULD_TIME_OUT,
    QUEUE_TIMEOUT,
    CONNECT_REFUSED,
    CONNECT_FAILED,
    CONNECT_TIMEOUT,
    APPS_STARTING,
    UPSTREAM_CLOSED,
    RESPONSE_TRUNCATED,
    MALFORMED_RESPONSE,
    RESPONSE_HEAD_TOO_LARGE,
    UPGRADE_FAILED,
    FIRST_BYTE_TIMEOUT,
    UPSTREAM_UNRESPONSIVE,
    IDLE_TIMEOUT,
    TOTAL_TIMEOUT,
    DRAIN_TIMEOUT,
    INTERNAL_ERROR,
    LOOP_DETECTED,
    TOO_MANY_FROM_CLIENT,
    UPSTREAM_TLS,
)
# They count as those of the same reason.
VARIANTS: Final[tuple[Failure, ...]] = (UPSTREAM_CERTIFICATE, UPSTREAM_TLS_ALERT, UPSTREAM_TLS_BROKEN)


# Reasons for refusing a request because no slot is free. The client may retry when slots are free.
WANT_OF_A_SLOT: Final = frozenset(
    failure.reason for failure in (UPSTREAMS_FULL, QUEUE_FULL, QUEUE_WOULD_TIME_OUT, QUEUE_TIMEOUT)
)


class BalancerError(Exception):
    """The root of every error this project raises."""


class ProtocolError(BalancerError):
    """A peer violated HTTP or exceeded a limit; `failure` determines the response to the client.

    `detail` is a short explanation for the response body. It never quotes the peer's bytes.
    """

    def __init__(self, failure: Failure, detail: str) -> None:
        super().__init__(detail)
        self.failure = failure
        self.detail = detail


class OperatorError(BalancerError):
    """An error for the operator to fix: shown as one plain line, never as a traceback."""


class SettingsError(OperatorError):
    """Settings are invalid. `problems` has one sentence per problem: the setting, its value, the remedy."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class StartupError(OperatorError):
    """The process cannot start: a port is in use, a file is unreadable, or a worker fails at once."""
