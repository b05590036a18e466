"""What `/api/failures` tells of one error made here: when, what, why, and what each attempt came to."""

from typing import TYPE_CHECKING, Any, TypeAlias

from balancer.errors import Failure
from balancer.http.forwarding import Peer

if TYPE_CHECKING:
    from balancer.proxy.exchange import Exchange

# Ready for JSON; the keys are those of `_record`.
FailureRecord: TypeAlias = dict[str, Any]

_LONGEST = 256  # characters kept of what a client sent


def exchange_failure(exchange: "Exchange", failure: Failure, detail: str, wall: float) -> FailureRecord:
    """`wall` is the time in seconds since the epoch."""
    head = exchange.head
    return _record(
        failure,
        detail,
        wall,
        client=exchange.client.peer.client_address(head),
        method=_text(head.method),
        target=_text(head.target),
        host=_text(head.host),
        route=exchange.route.name,
        pool=exchange.route.pool.name,
        request_id=_text(exchange.request_id),
        attempts=[
            {"upstream": upstream.id, "failure": missed.reason, "detail": words}
            for upstream, missed, words in exchange.connecting.misses
        ],
    )


def refusal_failure(peer: Peer, failure: Failure, detail: str, wall: float) -> FailureRecord:
    """For what never became an exchange: no head was understood, so little is known."""
    return _record(failure, detail, wall, client=peer.address)


def _record(
    failure: Failure,
    detail: str,
    wall: float,
    *,
    client: str,
    method: str | None = None,
    target: str | None = None,
    host: str | None = None,
    route: str | None = None,
    pool: str | None = None,
    request_id: str | None = None,
    attempts: list[dict[str, str]] | None = None,
) -> FailureRecord:
    return {
        "time": wall,
        "status": failure.status,
        "reason": failure.reason,
        "source": failure.source.value,
        "detail": detail or failure.text,
        "client": client,
        "method": method,
        "target": target,
        "host": host,
        "route": route,
        "pool": pool,
        "request_id": request_id,
        "attempts": attempts or [],
    }


def _text(value: bytes) -> str:
    return value[:_LONGEST].decode("latin-1")
