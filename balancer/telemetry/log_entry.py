"""What the access log knows of an exchange (L2)."""

from typing import TypeAlias

from balancer.http.forwarding import Peer
from balancer.http.request_head import RequestHead

# An attempt that did not serve: how many ns after the start it ended, its upstream, and why.
TriedInVain: TypeAlias = tuple[int, str, str]


class Entry:
    """What is known about an exchange at its end. It may be filled again once its line is rendered.

    `wall` is in seconds since the epoch, `duration` and `first_byte` in ns, `first_byte` is -1 if there was
    none. `head` is None if it was not understood; `status` is 499 if the client left; `reason` is a
    `Failure.reason`; `pool` follows from `route`; `tried` names all upstreams that were tried, if these are
    several; JSON escapes no character of `request_id`.

    If it does not have `has_more`, all that follows is without a value: `queue` and `connect`, in ns, are how
    long it has waited for a slot and for new connections, -1 for not at all; `failures` are the attempts that
    did not serve; `sticky` is one of STICKY_RESULTS; `side` is the pool if the route is split; `tls` is the
    version of TLS, "" without it; `source` is who has to act, if `reason` is set.
    """

    __slots__ = ("attempts", "connect", "duration", "failures", "first_byte", "has_more", "head", "peer",
                 "pool", "queue", "reason", "request_bytes", "request_id", "response_bytes", "reused",
                 "route", "side", "source", "status", "sticky", "tls", "trace_id", "tried", "upstream",
                 "wall")  # fmt: skip

    peer: Peer

    def __init__(self) -> None:
        self.wall = 0.0
        self.head: RequestHead | None = None
        self.status = 0
        self.reason: str | None = None
        self.route: str | None = None
        self.pool: str | None = None
        self.upstream: str | None = None
        self.tried: list[str] | None = None
        self.attempts = 0
        self.reused = False
        self.request_bytes = 0
        self.response_bytes = 0
        self.duration = 0
        self.first_byte = -1
        self.request_id: bytes | None = None
        self.forget_more()

    def forget_more(self) -> None:
        """There is nothing that most requests do not have."""
        self.has_more = False
        self.queue = self.connect = -1
        self.failures: list[TriedInVain] | None = None
        self.sticky: str | None = None
        self.side: str | None = None
        self.tls = ""
        self.trace_id: bytes | None = None
        self.source: str | None = None
