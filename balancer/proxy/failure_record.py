"""What `/api/failures` shows of one error answered here: when, what, why, and how each attempt ended.

Under overload there are thousands of errors, and few are ever asked for: so a note holds little more than
references, and is rendered only on request.
"""

from typing import Final, NamedTuple

from balancer.errors import Failure
from balancer.http.forwarding import Peer
from balancer.messages import AttemptRecord, FailureRecord
from balancer.proxy.connecting import FailedAttempt
from balancer.proxy.state import ExchangeState

_LONGEST: Final = 256  # bytes kept of each value that a client sent


class FailureNote(NamedTuple):
    """One error. `wall` is the time in seconds since the epoch. Fields are None if they are unknown, because
    the request never became an exchange."""

    failure: Failure
    detail: str
    wall: float
    client: str
    method: bytes | None = None
    target: bytes | None = None
    host: bytes | None = None
    route: str | None = None
    pool: str | None = None
    request_id: bytes | None = None
    attempts: tuple[FailedAttempt, ...] = ()

    def in_words(self) -> FailureRecord:
        """The record that the API shows."""
        failure = self.failure
        return FailureRecord(
            time=self.wall,
            status=failure.status,
            reason=failure.reason,
            source=failure.source.value,
            detail=self.detail or failure.text,
            client=self.client,
            method=_text(self.method),
            target=_text(self.target),
            host=_text(self.host),
            route=self.route,
            pool=self.pool,
            request_id=_text(self.request_id),
            attempts=tuple(
                AttemptRecord(upstream=one.upstream.id, failure=one.failure.reason, detail=one.detail)
                for one in self.attempts
            ),
        )


def exchange_failure(exchange: ExchangeState, failure: Failure, detail: str, wall: float) -> FailureNote:
    """`wall` is the time in seconds since the epoch."""
    head = exchange.head
    route = exchange.route
    return FailureNote(
        failure,
        detail,
        wall,
        exchange.client.peer.client_address(head),
        head.method,
        head.target[:_LONGEST],
        head.host[:_LONGEST],
        route.name,
        exchange.side.pool_name,
        exchange.request_id,
        exchange.connecting.failed_attempts,
    )


def late_in_words(exchange: ExchangeState, detail: str) -> str:
    """The log line for a request that no upstream has answered in time; `detail` names the setting."""
    head = exchange.head
    tried = [one.upstream.id for one in exchange.connecting.failed_attempts]
    return (
        f"{_text(head.method)} {_text(head.target)} of route {exchange.route.name} was answered "
        f"504 after {' and '.join(tried)}: {detail}; this is logged once a minute, /api/failures "
        "lists every such request"
    )


def refusal_failure(peer: Peer, failure: Failure, detail: str, wall: float) -> FailureNote:
    """For a request that never became an exchange: its head was not understood, so little is known."""
    return FailureNote(failure, detail, wall, peer.address)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value[:_LONGEST].decode("latin-1")
