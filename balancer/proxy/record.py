"""Access-log records: what is known about an exchange at its end, in the order of `access_log.FIELDS`."""

from balancer.errors import Failure
from balancer.http.forwarding import Peer
from balancer.proxy.connecting import Connecting
from balancer.proxy.state import ExchangeState
from balancer.telemetry.access_log import Record


def exchange_record(exchange: ExchangeState, duration: int, wall: float) -> Record:
    """`duration` is in ns, `wall` seconds since the epoch."""
    head = exchange.head
    connecting = exchange.connecting
    upstream: str | None
    first_byte = -1
    sent = exchange.own_attempt
    if sent.started_ns >= exchange.started_ns:  # its request was written
        upstream = sent.upstream.id
        reused = sent.reused
        if sent.first_byte_ns >= 0:
            first_byte = sent.started_ns - exchange.started_ns + sent.first_byte_ns
    else:
        upstream = connecting.tried[-1].id if connecting.tried else None
        reused = False
    attempts = connecting.attempts
    return (
        wall,
        exchange.client.peer.client_address(head),
        head.method,
        head.target,
        head.minor,
        head.host,
        exchange.status,
        exchange.failure.reason if exchange.failure is not None else None,
        exchange.route.name,
        exchange.route.pool.name,
        upstream,
        None if attempts < 2 else _all_tried(connecting),
        attempts,
        reused,
        exchange.request_bytes,
        exchange.response_bytes,
        duration,
        first_byte,
        exchange.request_id,
        head.find(b"user-agent"),
        head.find(b"referer"),
    )


def _all_tried(connecting: Connecting) -> list[str] | None:
    """The ids of all upstreams that were tried; None if there was only one."""
    tried = connecting.tried
    # An upstream whose idle connection was stale may be chosen again, so it is not in `tried`.
    stale = [one.upstream for one in connecting.failed_attempts if one.upstream not in tried]
    names = list(dict.fromkeys([upstream.id for upstream in (*stale, *tried)]))
    return names if len(names) > 1 else None


def refusal_record(peer: Peer, failure: Failure, wall: float) -> Record:
    """For a request that never became an exchange: its head was not understood, so little is known."""
    unknown: None = None
    return (
        wall, peer.address, unknown, unknown, 1, unknown, failure.status, failure.reason, unknown, unknown,
        unknown, unknown, 0, False, 0, 0, 0, -1, unknown, unknown, unknown,
    )  # fmt: skip
