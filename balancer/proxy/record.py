"""Access-log entries: what is known about an exchange at its end."""

from balancer.errors import Failure
from balancer.http.forwarding import Peer
from balancer.proxy.connecting import Connecting
from balancer.proxy.state import ExchangeState
from balancer.telemetry.log_line import Entry


def describe(entry: Entry, exchange: ExchangeState, duration: int, wall: float) -> None:
    """Fill `entry`. `duration` is in ns, `wall` seconds since the epoch."""
    head = exchange.head
    connecting = exchange.connecting
    failure = exchange.failure
    route = exchange.route
    attempts = connecting.attempts
    entry.wall = wall
    entry.peer = exchange.peer
    entry.head = head
    entry.status = exchange.status
    entry.reason = None if failure is None else failure.reason
    entry.route = route.name
    entry.pool = exchange.side.pool_name
    sent = exchange.own_attempt
    entry.first_byte = -1
    if sent.started_ns >= exchange.started_ns:  # its request was written
        entry.upstream = sent.upstream.id
        entry.reused = sent.reused
        if sent.first_byte_ns >= 0:
            entry.first_byte = sent.started_ns - exchange.started_ns + sent.first_byte_ns
    else:
        entry.upstream = connecting.tried[-1].id if connecting.tried else None
        entry.reused = False
    entry.tried = None if attempts < 2 else _all_tried(connecting)
    entry.attempts = attempts
    entry.request_bytes = exchange.request_bytes
    entry.response_bytes = exchange.response_bytes
    entry.duration = duration
    entry.request_id = exchange.request_id


def describe_refusal(entry: Entry, peer: Peer, failure: Failure, wall: float) -> None:
    """For a request that never became an exchange: its head was not understood, so little is known."""
    entry.wall = wall
    entry.peer = peer
    entry.head = None
    entry.status = failure.status
    entry.reason = failure.reason
    entry.route = entry.pool = entry.upstream = entry.tried = None
    entry.attempts = 0
    entry.reused = False
    entry.request_bytes = entry.response_bytes = entry.duration = 0
    entry.first_byte = -1
    entry.request_id = None


def _all_tried(connecting: Connecting) -> list[str] | None:
    """The ids of all upstreams that were tried; None if there was only one."""
    tried = connecting.tried
    # An upstream whose idle connection was stale may be chosen again, so it is not in `tried`.
    stale = [one.upstream for one in connecting.failed_attempts if one.upstream not in tried]
    names = list(dict.fromkeys([upstream.id for upstream in (*stale, *tried)]))
    return names if len(names) > 1 else None
