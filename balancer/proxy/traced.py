"""The record of an exchange that is traced (L5), for the spans that the supervisor makes of it."""

from typing import Final

from balancer.http.headers import values_in
from balancer.proxy.state import CLIENT_GONE_STATUS, ExchangeState
from balancer.proxy.tracing import ExchangeTrace, TracedAttempt
from balancer.spec.traced import TracedAttempt as AttemptRecord
from balancer.spec.traced import TracedRequest

_LONGEST: Final = 1024  # bytes kept of each value that a client sent
_AGENT: Final = [b"user-agent"]


def traced(exchange: ExchangeState, trace: ExchangeTrace, duration: int, wall: float) -> TracedRequest:
    """The record of an exchange that has just ended. `duration` is in ns, `wall` the time now in seconds
    since the epoch."""
    started = exchange.started_ns
    failure = exchange.failure
    head = exchange.head
    peer = exchange.peer
    reason = "" if failure is None else failure.reason
    ended = reason or ("client_gone" if exchange.status == CLIENT_GONE_STATUS else "")
    first_byte = exchange.own_attempt.first_byte_ns
    trace.end(exchange.status if first_byte >= 0 else 0, ended, first_byte, started + duration)
    waits = exchange.connecting.waits
    (agent,) = values_in(head.forwarded_block(), _AGENT)
    parent = trace.parent
    return TracedRequest(
        trace=parent.trace_id.decode(),
        span=trace.span_id.decode(),
        parent=parent.span_id.decode(),
        flags=parent.flags,
        state=_text(parent.state),
        began_ns=round(wall * 1e9) - duration,
        duration_ns=duration,
        queue_ns=-1 if waits is None else waits.queue_ns,
        method=_text(head.method),
        target=_text(head.target),
        scheme=peer.client_scheme(head).decode(),
        minor=head.minor,
        host=_text(head.host),
        agent=_text(agent or b""),
        client=peer.client_address(head),
        peer=peer.address,
        status=exchange.status,
        reason=reason,
        route=exchange.route.name,
        pool=exchange.side.pool_name,
        request_id=_text(exchange.request_id),
        request_bytes=exchange.request_bytes,
        response_bytes=exchange.response_bytes,
        attempts=tuple([_attempt(one, started) for one in trace.attempts]),
    )


def _attempt(attempt: TracedAttempt, started: int) -> AttemptRecord:
    upstream = attempt.upstream
    return AttemptRecord(
        span=attempt.span_id.decode(),
        upstream=upstream.id,
        host=attempt.host,
        port=upstream.port,
        scheme="https" if upstream.server_name else "http",
        reused=attempt.reused,
        began_ns=attempt.started_ns - started,
        sent_ns=attempt.sent_ns - started if attempt.sent_ns else -1,
        first_byte_ns=attempt.first_byte_ns,
        ended_ns=attempt.ended_ns - started,
        status=attempt.status,
        failure=attempt.failure,
    )


def _text(value: bytes) -> str:
    return value[:_LONGEST].decode("latin-1")
