"""The result of a check without a whole response (L5): maps failures and errors to our closed list."""

from balancer.connections.tls_faults import TlsFault, fault_of_alert, is_of_handshake, trouble_of
from balancer.errors import (
    EXHAUSTED,
    RESPONSE_HEAD_TOO_LARGE,
    RESPONSE_TRUNCATED,
    UPSTREAM_CLOSED,
    UPSTREAM_TLS_ALERT,
    UPSTREAM_TLS_BROKEN,
    Failure,
)
from balancer.health.result import Reply, Result


def fault_of(failure: Failure, detail: str) -> Reply:
    """The reply for a `failure` to read the response; `detail` is the reader's."""
    if failure is RESPONSE_TRUNCATED:
        return Reply(Result.CLOSED, 0, "its response broke off")
    if failure is UPSTREAM_CLOSED:
        return Reply(Result.CLOSED, 0, detail)
    if failure is UPSTREAM_TLS_ALERT:
        return Reply(Result.TLS, 0, detail, fault_of_alert(detail))
    if failure is UPSTREAM_TLS_BROKEN:
        return Reply(Result.TLS, 0, detail, TlsFault.OTHER)
    if failure is RESPONSE_HEAD_TOO_LARGE:
        return too_much(detail)
    return Reply(Result.MALFORMED, 0, f"its response is not valid HTTP/1.1 ({detail})")


def too_much(what: str) -> Reply:
    """The reply for an upstream that sends too much without a response."""
    return Reply(Result.TOO_MUCH, 0, f"{what} came without a final response")


def not_connected(error: OSError, where: str, *, by_tls: bool) -> Reply:
    """The reply for an `error` of connecting; `where` is the address and port that was dialled."""
    if by_tls and is_of_handshake(error):
        trouble = trouble_of(error)
        return Reply(Result.TLS, 0, trouble.text, trouble.fault)
    if isinstance(error, ConnectionRefusedError):
        return Reply(Result.REFUSED, 0, f"refused: nothing listens on {where}")
    reason = error.strerror or str(error)
    if error.errno in EXHAUSTED:
        return Reply(Result.NOT_MADE, 0, f"no check could be made ({reason})")
    return Reply(Result.UNREACHABLE, 0, f"{where} cannot be reached ({reason})", error.errno or 0)
