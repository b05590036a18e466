"""What cut a request: in which phase the balancer gave it up, and by which limit. For explanations."""

from typing import Final

from balancer.errors import (
    BODIES_FULL,
    BODY_TIMEOUT,
    BODY_TOO_LARGE,
    CONNECT_FAILED,
    CONNECT_REFUSED,
    CONNECT_TIMEOUT,
    DRAIN_TIMEOUT,
    FIRST_BYTE_TIMEOUT,
    IDLE_TIMEOUT,
    LOOP_DETECTED,
    NO_ROUTE,
    NO_UPSTREAM,
    POOL_HOLDS_TOO_MANY,
    QUEUE_FULL,
    QUEUE_TIMEOUT,
    QUEUE_WOULD_TIME_OUT,
    READ_ONLY,
    RESPONSE_HEAD_TOO_LARGE,
    TOTAL_TIMEOUT,
    UPSTREAMS_FULL,
    Failure,
    Source,
)
from balancer.proxy.account import Account
from balancer.proxy.state import ExchangeState
from balancer.spec.explained import Cut

# The setting to look at, by the failure's reason.
LIMITS: Final[dict[str, str]] = {
    BODY_TIMEOUT.reason: "TIMEOUTS__IDLE",
    BODY_TOO_LARGE.reason: "LIMITS__BODY_BYTES",
    POOL_HOLDS_TOO_MANY.reason: "LIMITS__MAX_CONNECTIONS",
    UPSTREAMS_FULL.reason: "LIMITS__MAX_INFLIGHT",
    QUEUE_FULL.reason: "LIMITS__QUEUE_SIZE",
    QUEUE_WOULD_TIME_OUT.reason: "LIMITS__QUEUE_TIMEOUT",
    QUEUE_TIMEOUT.reason: "LIMITS__QUEUE_TIMEOUT",
    CONNECT_TIMEOUT.reason: "TIMEOUTS__CONNECT",
    RESPONSE_HEAD_TOO_LARGE.reason: "LIMITS__HEADER_BYTES",
    FIRST_BYTE_TIMEOUT.reason: "TIMEOUTS__FIRST_BYTE",
    IDLE_TIMEOUT.reason: "TIMEOUTS__IDLE",
    TOTAL_TIMEOUT.reason: "TIMEOUTS__TOTAL",
    DRAIN_TIMEOUT.reason: "TIMEOUTS__DRAIN",
}
_QUEUED: Final = frozenset(
    one.reason for one in (UPSTREAMS_FULL, QUEUE_FULL, QUEUE_WOULD_TIME_OUT, QUEUE_TIMEOUT, BODIES_FULL)
)
_CHOOSING: Final = frozenset(one.reason for one in (NO_UPSTREAM, POOL_HOLDS_TOO_MANY))
_ROUTING: Final = frozenset(one.reason for one in (NO_ROUTE, READ_ONLY, LOOP_DETECTED))
_DIALLING: Final = frozenset(one.reason for one in (CONNECT_REFUSED, CONNECT_FAILED, CONNECT_TIMEOUT))


def cut(exchange: ExchangeState, account: Account, failure: Failure) -> Cut:
    """`failure` has ended the exchange."""
    return Cut(
        reason=failure.reason,
        source=failure.source.value,
        detail=account.detail or failure.text,
        phase=account.phase or _phase(exchange, account, failure),
        limit=LIMITS.get(failure.reason, ""),
    )


def _phase(exchange: ExchangeState, account: Account, failure: Failure) -> str:
    """As in `proxy/phase.py`, in lower case, and two before it: `routing`, `choosing`."""
    if account.was_begun:
        return "relaying"
    reason = failure.reason
    if reason in _QUEUED:
        return "queued"
    if reason in _CHOOSING:
        return "choosing"
    if reason in _ROUTING:
        return "routing"
    if reason in _DIALLING:
        return "dialling"
    if failure.source is Source.CLIENT:
        return "uploading"
    return "awaiting" if exchange.request_whole else "uploading"
