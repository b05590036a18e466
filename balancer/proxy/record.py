"""Access-log entries: what is known about an exchange at its end."""

from typing import Final

from balancer.errors import Failure
from balancer.http.forwarding import Peer
from balancer.proxy.connecting import Connecting
from balancer.proxy.state import ExchangeState
from balancer.telemetry.columns import STICKY_RESULTS
from balancer.telemetry.log_entry import Entry, TriedInVain

_NONE: Final = -1


def describe(entry: Entry, exchange: ExchangeState, duration: int, wall: float) -> None:
    """Fill `entry`. `duration` is in ns, `wall` seconds since the epoch."""
    head = exchange.head
    connecting = exchange.connecting
    failure = exchange.failure
    route = exchange.route
    attempts = connecting.attempts
    started = exchange.started_ns
    entry.wall = wall
    entry.peer = exchange.peer
    entry.head = head
    entry.status = exchange.status
    entry.reason = None if failure is None else failure.reason
    entry.route = route.name
    entry.pool = exchange.side.pool_name
    sent = exchange.own_attempt
    entry.first_byte = -1
    if sent.started_ns >= started:  # its request was written
        entry.upstream = sent.upstream.id
        entry.reused = sent.reused
        if sent.first_byte_ns >= 0:
            entry.first_byte = sent.started_ns - started + sent.first_byte_ns
    else:
        entry.upstream = connecting.tried[-1].id if connecting.tried else None
        entry.reused = False
    entry.tried = None if attempts < 2 else _all_tried(connecting)
    entry.attempts = attempts
    entry.request_bytes = exchange.request_bytes
    entry.response_bytes = exchange.response_bytes
    entry.duration = duration
    entry.request_id = exchange.request_id
    # What most requests do not have.
    waits = connecting.waits
    if (
        attempts != 1
        or failure is not None
        or waits is not None
        or exchange.side.is_sticky
        or route.split is not None
        or exchange.client.tls
        or exchange.trace_id
    ):
        _describe_more(entry, exchange)
    elif entry.has_more:
        entry.forget_more()


def _describe_more(entry: Entry, exchange: ExchangeState) -> None:
    started = exchange.started_ns
    connecting = exchange.connecting
    failure = exchange.failure
    waits = connecting.waits
    entry.has_more = True
    entry.tls = exchange.client.tls
    entry.queue = _NONE if waits is None else waits.queue_ns
    entry.connect = _NONE if waits is None else waits.connect_ns
    entry.failures = _in_vain(connecting, started)
    served = failure is None and entry.first_byte >= 0
    entry.sticky = None
    if served and exchange.side.is_sticky:
        entry.sticky = STICKY_RESULTS[exchange.sticky]
    entry.side = None if exchange.route.split is None else entry.pool
    entry.source = None if failure is None else str(failure.source)
    entry.trace_id = exchange.trace_id or None


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
    entry.forget_more()
    entry.has_more = True
    entry.source = str(failure.source)


def _in_vain(connecting: Connecting, started: int) -> list[TriedInVain] | None:
    """The attempts that did not serve, in the order of their ends."""
    failed, refused = connecting.failed_attempts, connecting.refused_attempts
    if not failed and not refused:
        return None
    found: list[TriedInVain] = [
        (one.ended_ns - started, one.upstream.id, one.failure.reason) for one in failed
    ]
    found += [(one.ended_ns - started, one.upstream.id, f"status_{one.status}") for one in refused]
    found.sort()
    return found


def _all_tried(connecting: Connecting) -> list[str] | None:
    """The ids of all upstreams that were tried; None if there was only one."""
    tried = connecting.tried
    # An upstream whose idle connection was stale may be chosen again, so it is not in `tried`.
    stale = [one.upstream for one in connecting.failed_attempts if one.upstream not in tried]
    names = list(dict.fromkeys([upstream.id for upstream in (*stale, *tried)]))
    return names if len(names) > 1 else None
