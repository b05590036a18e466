"""What `/api/failures` tells of one error made here: when, what, why, and what each attempt came to.

Under overload errors are made by the thousand, and a few are asked for now and then: so what is noted of each
is little more than references, and put into words only when asked for.
"""

from typing import NamedTuple

from balancer.errors import Failure
from balancer.http.forwarding import Peer
from balancer.messages import AttemptRecord, FailureRecord
from balancer.proxy.connecting import FailedAttempt
from balancer.proxy.state import ExchangeState

_LONGEST = 256  # bytes kept of what a client sent


class FailureNote(NamedTuple):
    """One error. `wall` is the time in seconds since the epoch; None is what is not known, where nothing
    became an exchange."""

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
        """As the API has it."""
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
        route.pool.name,
        exchange.request_id,
        exchange.connecting.failed_attempts,
    )


def late_in_words(exchange: ExchangeState, detail: str) -> str:
    """What the log tells of a request that no upstream has answered in time; `detail` names the setting."""
    head = exchange.head
    tried = [one.upstream.id for one in exchange.connecting.failed_attempts]
    return (
        f"{_text(head.method)} {_text(head.target)} of route {exchange.route.name} was answered "
        f"504 after {' and '.join(tried)}: {detail}; this is logged once a minute, /api/failures "
        "lists every such request"
    )


def refusal_failure(peer: Peer, failure: Failure, detail: str, wall: float) -> FailureNote:
    """For what never became an exchange: no head was understood, so little is known."""
    return FailureNote(failure, detail, wall, peer.address)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value[:_LONGEST].decode("latin-1")
