"""The data plane of one worker: what its client connections share, and the sweep that watches them."""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

import asyncio
import select
from collections import deque
from collections.abc import Callable, Sequence
from email.utils import formatdate

from balancer.clock import Clock
from balancer.connections.connector import Connector
from balancer.errors import FAILURES, FIRST_BYTE_TIMEOUT, Failure
from balancer.http.fields import FieldTable
from balancer.http.forwarding import Forwarding, Peer, RequestIds
from balancer.http.responses import render_failure
from balancer.lateness import Lateness, look_first
from balancer.proxy.admission import Admission
from balancer.proxy.attempt import Attempt
from balancer.proxy.client_connection import ClientConnection
from balancer.proxy.delay_queue import DelayQueue
from balancer.proxy.dialling import CONNECT_RACE_DELAY, Dialling
from balancer.proxy.exchange import Exchange
from balancer.proxy.failure_record import (
    FailureNote,
    FailureRecord,
    exchange_failure,
    late_in_words,
    refusal_failure,
)
from balancer.proxy.limits import FOREVER_NS, Limits, Timeouts
from balancer.proxy.loops import Loops
from balancer.proxy.membership import Membership, MemberState
from balancer.proxy.record import exchange_record, refusal_record
from balancer.proxy.rescue import Rescue
from balancer.proxy.resending import Kept
from balancer.proxy.router import Router
from balancer.proxy.tunnel import Tunnel
from balancer.telemetry.access_log import RecordSink
from balancer.telemetry.columns import (
    LISTENER_CONNECTIONS,
    LISTENER_CONNECTIONS_RECLAIMED,
    LISTENER_CONNECTIONS_TOTAL,
    WORKER_LOCAL_RESPONSES,
)

# What the admin API shows of errors; one worker's part is taken four times a second.
_FAILURES_KEPT = 200
_WARN_EVERY_NS = 60_000_000_000
_LOCAL_COLUMN: dict[str, int] = {
    failure.reason: WORKER_LOCAL_RESPONSES + column for column, failure in enumerate(FAILURES)
}


class Proxy:
    """Makes client connections (`client_protocol`), and must be swept every quarter of a second.

    Everything in here is for one event loop; nothing is locked.
    """

    __slots__ = ("_admission", "_clients", "_clock", "_failures", "_late", "_lateness", "_listener_cells",
                 "_looking", "_released", "_rescue", "_warn", "_warned", "_worker_cells", "connect_races",
                 "connector", "date_line",
                 "draining", "forwarding", "half_closed", "kept", "limits", "loop", "loops", "membership",
                 "monotonic_ns", "records", "report", "request_fields", "request_ids", "router",
                 "timeouts")  # fmt: skip

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        router: Router,
        membership: Membership,
        connector: Connector,
        forwarding: Forwarding,
        loops: Loops,
        request_ids: RequestIds,
        request_fields: FieldTable,
        timeouts: Timeouts,
        limits: Limits,
        records: RecordSink,
        report: Callable[[Exception], None],
        listener_cells: memoryview[int],
        worker_cells: memoryview[int],
        warn: Callable[[str, str], object],
    ) -> None:
        """`warn` tells the operator; its second argument names what all workers together tell only once."""
        self.loop = loop
        self.monotonic_ns = clock.monotonic_ns
        self.router = router
        self.membership = membership
        self.connector = connector
        self.forwarding = forwarding
        self.loops = loops
        self.request_ids = request_ids
        self.request_fields = request_fields
        self.timeouts = timeouts
        self.limits = limits
        self.records = records
        self.report = report
        self.connect_races: DelayQueue[Dialling] = DelayQueue(loop, clock, CONNECT_RACE_DELAY, Dialling.race)
        self.kept = Kept()
        self.half_closed: set[Tunnel] = set()  # of one side; nothing reads that one any more
        self.draining = False
        self.date_line = b""
        self._clock = clock
        self._warn = warn
        self._warned = -1  # the last minute in which the operator was told of a first-byte timeout
        self._failures: deque[FailureNote] = deque(maxlen=_FAILURES_KEPT)
        self._released: list[int] = []
        self._lateness = Lateness()
        self._late = False  # since what was last judged
        self._looking = False  # the sweep before has found overdue clients, and what has come is being read
        self._clients: set[ClientConnection] = set()
        self._rescue = Rescue(self._clients, membership, loop, clock)
        self._admission = Admission(limits.max_connections, limits.connections_per_client, self._clients)
        self._listener_cells = listener_cells
        self._worker_cells = worker_cells
        self._set_date()

    # --- the worker's calls

    def client_protocol(self) -> ClientConnection:
        """The protocol for a newly accepted connection."""
        return ClientConnection(self)

    def take_news(
        self, pool_name: str, states: Sequence[MemberState], revision: int, *, starting: bool = False
    ) -> None:
        """What the supervisor says of a pool's upstreams (`Membership.apply`), and what follows for requests
        that run."""
        self.membership.apply(pool_name, states, revision, starting=starting)
        self._rescue.look()

    @property
    def connections(self) -> int:
        """Open client connections; 0 when drained."""
        return len(self._clients)

    @property
    def surplus(self) -> int:
        """Clients beyond the limits on connections, who are being sent away."""
        return len(self._clients) - self._admission.admitted

    def sweep(self, late_ns: int = 0) -> None:
        """Hold everything to its deadline, and bring gauges up to date. Every 0.25 s, but `late_ns` late."""
        now = self.monotonic_ns()
        self._set_date()
        given_ns = self._lateness.swept(late_ns)
        if given_ns:
            self._late = True
            for client in self._clients:
                client.give_back(given_ns)
        overdue = [client for client in self._clients if client.deadline_ns < now]
        too_long: list[ClientConnection] = []
        if self.timeouts.total_ns < FOREVER_NS:
            too_long = [client for client in self._clients if client.exceeds_total(now)]
        if overdue or too_long or self._late:
            if not self._looking:
                self._looking = True
                look_first(self.loop, self._judge, overdue, too_long, now)
        else:
            self.connector.sweep(now)
            self._rescue.look()
        self._poll_unread()
        self._released += self.membership.sweep()
        for route in self.router.routes:
            route.flush()

    def drain(self) -> None:
        """Every connection's next response is its last; idle clients are closed after a short grace."""
        self.draining = True
        for client in list(self._clients):
            client.drain()

    def abort_all(self) -> None:
        """The time to drain is over: close everything now, visibly broken off."""
        for client in list(self._clients):
            client.cut_off()
        self.close()

    def close(self) -> None:
        """Let go of idle upstream connections and timers."""
        self.connect_races.close()
        self._rescue.close()
        self.membership.close()
        self.connector.close()
        for route in self.router.routes:
            route.flush()

    def take_released(self) -> list[int]:
        """Rows of upstreams that have left, to which nothing here writes any more, since last asked."""
        released, self._released = self._released, []
        return released

    def take_failures(self) -> list[FailureRecord]:
        """The newest errors made here since last asked, oldest first."""
        failures = [note.in_words() for note in self._failures]
        self._failures.clear()
        return failures

    # --- the client connections' calls

    def connection_opened(self, client: ClientConnection) -> Failure | None:
        """Take in a new client; a failure where it is one too many, and to be sent away."""
        self._clients.add(client)
        self._listener_cells[LISTENER_CONNECTIONS] = len(self._clients)
        self._listener_cells[LISTENER_CONNECTIONS_TOTAL] += 1
        refused = self._admission.admit(client, self.monotonic_ns())
        self._listener_cells[LISTENER_CONNECTIONS_RECLAIMED] += self._admission.take_reclaimed()
        return refused

    def connection_closed(self, client: ClientConnection) -> None:
        """The client's connection is gone."""
        self._clients.discard(client)
        self._admission.left(client)
        self._listener_cells[LISTENER_CONNECTIONS] = len(self._clients)

    def refusal(self, peer: Peer, failure: Failure, detail: str, head_only: bool) -> bytes:
        """The response to what could not become an exchange, counted and logged. `head_only`: to HEAD."""
        self._count_local(failure)
        wall = self._clock.wall()
        self._failures.append(refusal_failure(peer, failure, detail, wall))
        if self.records.enabled:
            self.records.append(refusal_record(peer, failure, wall))
        return render_failure(
            failure,
            detail,
            date_line=self.date_line,
            close=True,
            as_json=False,
            head_only=head_only,
            request_id=b"",
        )[0]

    def exchange_failed(self, exchange: Exchange, failure: Failure, detail: str) -> None:
        """A response was made here, or broken off here."""
        self._count_local(failure)
        self._failures.append(exchange_failure(exchange, failure, detail, self._clock.wall()))
        if failure is FIRST_BYTE_TIMEOUT:
            minute = self.monotonic_ns() // _WARN_EVERY_NS
            if minute != self._warned:
                self._warned = minute
                self._warn(late_in_words(exchange, detail), f"first-byte timeout, minute {minute}")

    def _count_local(self, failure: Failure) -> None:
        self._worker_cells[_LOCAL_COLUMN[failure.reason]] += 1

    def record_exchange(self, exchange: Exchange, sent: Attempt | None, duration: int) -> None:
        """Log an ended exchange. `sent` is its attempt if one was sent; `duration` in ns."""
        self.records.append(exchange_record(exchange, sent, duration, self._clock.wall()))

    # --- parts of the sweep

    def _judge(
        self, overdue: Sequence[ClientConnection], too_long: Sequence[ClientConnection], now: int
    ) -> None:
        """All is read that had come by `now`, when these were overdue, or their exchanges too long. Where
        that took long itself, the next sweep shall judge."""
        self._looking = False
        if self._lateness.looked(self.monotonic_ns() - now):
            self._late = True
            return
        for client in overdue:
            if client.deadline_ns < now and client in self._clients:
                client.check_deadline(now)
        for client in too_long:
            if client in self._clients:
                client.check_total(now)
        late, self._late = self._late, False
        self.connector.sweep(now, late=late)
        self._rescue.look()

    def _set_date(self) -> None:
        self.date_line = f"Date: {formatdate(self._clock.wall(), usegmt=True)}\r\n".encode()

    def _poll_unread(self) -> None:
        """Find peers that left while not being read: without reading, only polling tells."""
        unread: dict[int, ClientConnection | Tunnel] = {
            fd: client for client in self._clients if (fd := client.paused_fd) >= 0
        }
        unread |= {fd: tunnel for tunnel in self.half_closed if (fd := tunnel.ended_fd) >= 0}
        if not unread:
            return
        poll = select.poll()
        for fd in unread:
            poll.register(fd, select.POLLRDHUP)
        for fd, events in poll.poll(0):
            unread[fd].peer_vanished(events)
