"""The objects that all client connections of a worker share, and their counters."""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

import asyncio
from email.utils import formatdate
from typing import Final

from balancer.clients.admission import Admission
from balancer.clients.roles import Client, Guest
from balancer.clock import Clock
from balancer.errors import Failure
from balancer.http.fields import FieldTable
from balancer.http.forwarding import Peer
from balancer.http.head_memory import RequestHeads
from balancer.http.responses import render_failure
from balancer.proxy.context import ProxyContext
from balancer.proxy.journal import Journal
from balancer.spec.worker import Limits, ListenerTimeouts
from balancer.telemetry.columns import LISTENER_CONNECTIONS, LISTENER_CONNECTIONS_TOTAL

DRAIN_GRACE_NS: Final = 1_000_000_000  # for an idle client's next request, which may be on its way


class ClientContext:
    """`clients` are all open connections, `arrivals` those that do not speak TLS yet, but are to. While
    `draining`, the next response of each connection is its last, and an idle one is closed after `grace_ns`.
    `date_line` is the present Date field, with
    its CRLF."""

    __slots__ = ("_admission", "_clock", "arrivals", "clients", "date_line", "draining",
                 "grace_ns", "journal", "limits", "loop", "monotonic_ns", "proxy",
                 "request_fields", "request_heads", "timeouts")  # fmt: skip

    def __init__(
        self,
        proxy: ProxyContext,
        journal: Journal,
        *,
        clock: Clock,
        request_fields: FieldTable,
        timeouts: ListenerTimeouts,
        limits: Limits,
    ) -> None:
        self.proxy = proxy
        self.journal = journal
        self.loop: asyncio.AbstractEventLoop = proxy.loop
        self.monotonic_ns = clock.monotonic_ns
        self.timeouts = timeouts
        self.request_fields = request_fields
        self.request_heads = RequestHeads(request_fields, limits.uri_bytes, limits.header_count)
        self.limits = limits
        self.clients: set[Client] = set()
        self.arrivals: set[Guest] = set()
        self.draining = False
        self.grace_ns = DRAIN_GRACE_NS
        self.date_line = b""
        self._clock = clock
        self._admission = Admission(
            limits.max_connections, limits.connections_per_client, self.clients, self.arrivals
        )
        self.set_date()

    def set_date(self) -> None:
        """Update `date_line`; call it at least once a second."""
        self.date_line = f"Date: {formatdate(self._clock.wall(), usegmt=True)}\r\n".encode()

    @property
    def count(self) -> int:
        """Connections open, in a handshake or not."""
        return len(self.clients) + len(self.arrivals)

    @property
    def surplus(self) -> int:
        """The number of clients beyond the limits on connections, which are being refused."""
        return self.count - self._admission.admitted

    def admit(self, guest: Guest, now_ns: int) -> Failure | None:
        """Count a connection, just added to `clients` or `arrivals`; returns the failure to refuse it with if
        it is one too many."""
        counts = guest.counts
        cells = counts.cells
        counts.open = cells[LISTENER_CONNECTIONS] = counts.open + 1
        counts.ever = cells[LISTENER_CONNECTIONS_TOTAL] = counts.ever + 1
        return self._admission.admit(guest, now_ns)

    def closed(self, client: Client) -> None:
        """The client's connection is gone."""
        self.clients.discard(client)
        self._admission.left(client)
        counts = client.counts
        counts.open = counts.cells[LISTENER_CONNECTIONS] = counts.open - 1

    def departed(self, arrival: Guest) -> None:
        """It is gone without becoming a client."""
        self.arrivals.discard(arrival)
        self._admission.left(arrival)
        counts = arrival.counts
        counts.open = counts.cells[LISTENER_CONNECTIONS] = counts.open - 1

    def became(self, arrival: Guest, client: Client) -> None:
        """The arrival is `client` from now on, and counts as before."""
        self.arrivals.discard(arrival)
        self.clients.add(client)
        client.admitted, arrival.admitted = arrival.admitted, False

    def refusal(self, peer: Peer, failure: Failure, detail: str, head_only: bool) -> bytes:
        """The response to a request that did not become an exchange, counted and logged. `head_only`: the
        request is a HEAD."""
        self.journal.refused(peer, failure, detail)
        return render_failure(
            failure,
            detail,
            date_line=self.date_line,
            close=True,
            as_json=False,
            head_only=head_only,
            request_id=b"",
        )[0]
