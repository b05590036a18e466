"""The data plane of one worker: creates and keeps its client connections, and sweeps them."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from balancer.clients.connection import ClientConnection
from balancer.clients.context import DRAIN_GRACE_NS, ClientContext
from balancer.clients.door import Door
from balancer.clients.entrance import Entrance
from balancer.clients.handshakes import Handshakes
from balancer.clients.inspection import Inspection, is_overdue
from balancer.clients.rescue import Rescue
from balancer.clients.roles import Client, Routers
from balancer.clients.tunnel_drain import TunnelDrain
from balancer.clock import Clock
from balancer.lateness import Lateness, look_first
from balancer.messages import (
    Explained,
    FailureRecord,
    PoolUpdate,
    ReadOnly,
    RoutesUpdate,
    SplitUpdate,
    TlsUpdate,
    Traces,
)
from balancer.proxy.context import ProxyContext
from balancer.proxy.exchange import Exchange
from balancer.proxy.journal import Journal
from balancer.proxy.membership import Membership
from balancer.proxy.overdue import deadline_passed, total_passed
from balancer.proxy.router import Router
from balancer.spec.tls import ChallengeSpec
from balancer.spec.worker import FOREVER_NS

# Clients whose time is over that are answered in one turn of the loop: takes about 3 ms.
_AT_ONCE: Final = 64


class DataPlane:
    """Creates client connections (`client_protocol`); call `sweep` every quarter of a second. `handshakes`
    takes the connections of the TLS listener, None if there is no such listener.

    Everything here is for one event loop, without locks.
    """

    __slots__ = (
        "_clients",
        "_clients_context",
        "_doors",
        "_inspection",
        "_journal",
        "_late",
        "_lateness",
        "_looking",
        "_loop",
        "_monotonic_ns",
        "_released",
        "_rescue",
        "_routers",
        "_tunnel_drain",
        "context",
        "entrance",
        "handshakes",
        "membership",
        "router",
    )  # fmt: skip

    def __init__(
        self,
        clients: ClientContext,
        context: ProxyContext,
        membership: Membership,
        journal: Journal,
        clock: Clock,
        entrance: Entrance,
        handshakes: Handshakes | None = None,
        doors: Sequence[Door] = (),
        routers: Routers | None = None,
    ) -> None:
        """`entrance` is that of the plain listener, `doors` are those of all listeners; `routers` makes their
        routers for other routes."""
        self.router: Router = context.router
        self._routers = routers
        self.handshakes = handshakes
        self.entrance = entrance
        self.membership = membership
        self.context = context
        self._clients_context = clients
        self._doors = doors
        self._journal = journal
        self._loop: asyncio.AbstractEventLoop = context.loop
        self._monotonic_ns = clock.monotonic_ns
        self._clients: set[Client] = clients.clients
        self._rescue = Rescue(self._clients, membership, context.loop, clock)
        self._inspection = Inspection(
            self._clients, self.router.bounds_total, context.loop, clock, self._inspected
        )
        self._released: list[int] = []
        self._lateness = Lateness()
        self._tunnel_drain: TunnelDrain | None = None
        self._late = False  # the worker was late since the last `_judge`
        self._looking = False  # a sweep has found overdue clients, and arrived data is being read first

    # --- the worker's calls

    def client_protocol(self) -> asyncio.Protocol:
        """The protocol for a newly accepted connection of the plain listener."""
        # A protocol by its methods, which is all that an event loop needs.
        return ClientConnection(self._clients_context, self.entrance)  # type: ignore[return-value]

    def take_update(self, news: PoolUpdate) -> None:
        """Apply the supervisor's update of a pool's upstreams (`Membership.apply`), also to running
        requests."""
        self.membership.apply(news)
        self._rescue.look()

    @property
    def connections(self) -> int:
        """Open client connections; 0 when drained."""
        return self._clients_context.count

    def sweep(self, late_ns: int = 0) -> None:
        """Enforce deadlines, and update gauges. Call it every 0.25 s; this call is `late_ns` late."""
        self._clients_context.set_date()
        given_ns = self._lateness.swept(late_ns)
        if given_ns:
            self._late = True
            self._give_back(given_ns)
        if self.handshakes is not None:
            self.handshakes.sweep(given_ns)
        self._inspection.begin()
        if self._tunnel_drain is not None:
            self._tunnel_drain.look(self._monotonic_ns())
        self._released += self.membership.sweep()
        if self._routers is not None:
            self._released += self._routers.sweep()
        self.flush()

    def take_split(self, update: SplitUpdate) -> None:
        """A route is divided otherwise from now on, if it has these sides here."""
        for route in self.router.routes:
            if route.name == update.route and route.split is not None:
                route.split.weigh(update.weights)

    def take_read_only(self, update: ReadOnly) -> None:
        """A route serves no changes until a time, if there is one of that name here."""
        for route in self.router.routes:
            if route.name == update.route:
                route.read_only_until_ns = update.until_ns
                route.reconsider()

    def take_routes(self, update: RoutesUpdate) -> None:
        """Other routes for requests that come from now on; those that are running keep theirs."""
        routers = None if self._routers is None else self._routers.changed(update)
        if routers is None:
            return
        self.router = self.context.router = self.context.explaining.router = routers[-1]
        self._inspection.bounds_total = self.router.bounds_total
        for door, router in zip(self._doors, routers, strict=True):
            door.lead(router, update.routes)
        for client in self._clients:
            client.forget_head()
        for split in update.splits:
            self.take_split(split)
        for read_only in update.read_only:
            self.take_read_only(read_only)

    def take_tls(self, update: TlsUpdate) -> None:
        """Other certificates for new connections. Raises ssl.SSLError, and keeps the old ones then."""
        if self.handshakes is not None:
            self.handshakes.update(update.tls)

    def take_challenges(self, pending: Sequence[ChallengeSpec]) -> None:
        """Show these to authorities, and no others."""
        answers = {each.token: each.answer for each in pending if each.token}
        for door in self._doors:
            door.answer(answers)
        if self.handshakes is not None:
            self.handshakes.show([each for each in pending if each.chain])

    def flush(self) -> None:
        """Store the counts of this worker."""
        self.context.batch.flush()

    def retire(self) -> None:
        """Every connection's next response is its last. None is closed before that, or before it has been
        idle for as long as it may be: a request may be on its way."""
        self._clients_context.draining = True
        self._clients_context.grace_ns = FOREVER_NS

    def drain(self, within_ns: int = FOREVER_NS) -> None:
        """Every connection's next response is its last; idle clients are closed after a short grace, tunnels
        early enough to be over within that time."""
        self._clients_context.draining = True
        self._clients_context.grace_ns = DRAIN_GRACE_NS
        first_ns = min(route.timeouts.tunnel_drain_ns for route in self.router.routes)
        self._tunnel_drain = TunnelDrain(self._clients, self._loop, self._monotonic_ns(), within_ns, first_ns)
        for client in list(self._clients):
            client.drain()
        if self.handshakes is not None:
            self.handshakes.drain()

    def abort_all(self) -> None:
        """The drain timeout has passed: close everything now, so that clients see a cut-off response."""
        if self.handshakes is not None:
            self.handshakes.abort()
        for client in list(self._clients):
            client.cut_off()
        self.close()

    def close(self) -> None:
        """Close idle upstream connections, and cancel timers."""
        self.context.connect_races.close()
        self._inspection.close()
        self._rescue.close()
        self.membership.close()
        self.context.connector.close()
        self.flush()

    def take_released(self) -> list[int]:
        """Rows of removed upstreams and routes that are no longer written to here, since the last call."""
        released, self._released = self._released, []
        return released

    def take_failures(self) -> list[FailureRecord]:
        """The newest errors answered here since the last call, oldest first."""
        return self._journal.take_failures()

    def take_traces(self) -> Traces | None:
        """What was traced since the last call; None if that is nothing."""
        tracing = self.context.tracing
        if tracing is None:
            return None
        records = tracing.take()
        dropped, tracing.dropped = tracing.dropped, 0
        return Traces(records=tuple(records), dropped=dropped) if records or dropped else None

    def take_explanations(self) -> list[Explained]:
        """Messages with explanations of requests, since the last call."""
        return self.context.explaining.take()

    # --- parts of the sweep

    def _give_back(self, late_ns: int) -> None:
        """This worker was late: extend all deadlines by that time."""
        for client in self._clients:
            client.deadline_ns += late_ns
            if client.exchange.active:
                client.exchange.deadline_ns += late_ns
                client.exchange.late_ns += late_ns

    def _inspected(self, overdue: Sequence[Client], too_long: Sequence[Client]) -> None:
        now = self._monotonic_ns()
        if not overdue and not too_long and not self._late:
            self.context.connector.sweep(now)
            self._rescue.look()
        elif not self._looking:
            self._looking = True
            look_first(self._loop, self._judge, overdue, too_long, now)

    def _judge(self, overdue: Sequence[Client], too_long: Sequence[Client], now: int) -> None:
        """Act on clients that were overdue, or whose exchanges were too long, at `now`. All data that had
        arrived by then has been read. If that took long itself, leave it to the next sweep."""
        self._looking = False
        if self._lateness.looked(self._monotonic_ns() - now):
            self._late = True
            return
        self._end_overdue([*overdue], [*too_long], now)

    def _end_overdue(self, overdue: list[Client], too_long: list[Client], now: int) -> None:
        """Act on the last ones, and on the others in the next turns: all clients of a pool that hangs may be
        overdue at the same moment."""
        clients = self._clients
        late_ones, long_ones = overdue[-_AT_ONCE:], too_long[-_AT_ONCE:]
        del overdue[-_AT_ONCE:], too_long[-_AT_ONCE:]
        self._looking = bool(overdue or too_long)
        if self._looking:
            self._loop.call_soon(self._end_overdue, overdue, too_long, now)
        for client in late_ones:
            if client in clients and is_overdue(client, now):
                if client.exchange.active:
                    self._end(client.exchange, deadline_passed, now)
                else:
                    client.check_deadline(now)
        for client in long_ones:
            if client in clients and client.exchange.exceeds_total(now):
                self._end(client.exchange, total_passed, now)
        if not self._looking:
            late, self._late = self._late, False
            self.context.connector.sweep(now, late=late)
            self._rescue.look()

    def _end(self, exchange: Exchange, how: Callable[[Exchange, int], None], now: int) -> None:
        try:
            how(exchange, now)
        except Exception as error:
            exchange.crashed(error)
