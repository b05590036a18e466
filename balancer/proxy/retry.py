"""When a request may be sent a second time."""

from balancer.http.framing import NO_BODY
from balancer.http.head import RequestHead
from balancer.telemetry.columns import POOL_RETRIES, RETRY_REASONS

# RFC 9110 section 9.2.2. Sending one of these twice has the effect of sending it once.
_IDEMPOTENT = frozenset([b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"])

_COLUMNS = {reason: POOL_RETRIES + column for column, reason in enumerate(RETRY_REASONS)}


def may_resend(head: RequestHead) -> bool:
    """Whether a request that may have reached the app can go again: idempotent, nothing to replay."""
    return head.method in _IDEMPOTENT and head.length == NO_BODY


def retry_column(reason: str) -> int:
    """The column of a pool's row that counts retries for `reason`, one of RETRY_REASONS."""
    return _COLUMNS[reason]
