"""What distinguishes the listeners of a worker for the connections that come in there."""

from balancer.clients.listener_counts import ListenerCounts
from balancer.http.forwarding import Forwarding
from balancer.proxy.router import Router


class Entrance:
    """A listener in the view of its connections. `forwarding` describes their clients to apps, with the
    listener's scheme; `router` finds their routes; `counts` are of these connections. `policy_line` is its
    Strict-Transport-Security field (RFC 6797), empty for none."""

    __slots__ = ("counts", "forwarding", "policy_line", "router")

    def __init__(
        self, forwarding: Forwarding, router: Router, counts: ListenerCounts, policy: str = ""
    ) -> None:
        """`policy` is the value of Strict-Transport-Security, "" for none."""
        self.forwarding = forwarding
        self.router = router
        self.counts = counts
        self.policy_line = f"Strict-Transport-Security: {policy}".encode() if policy else b""
