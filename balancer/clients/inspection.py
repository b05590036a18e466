"""Looks through all client connections at each sweep, a part of them in each turn of the loop (L6).

One pool that hangs may hold thousands, and looking at 10,000 at once would take 5 to 20 ms, in which no other
pool's clients are served.
"""

import asyncio
import select
from collections.abc import Callable, Sequence
from typing import Final

from balancer.clients.roles import Client
from balancer.clock import Clock

AT_ONCE: Final = 256  # connections in one turn: 0.1 ms compiled, 0.4 ms plain


class Inspection:
    """Of the connections in `clients`, a live view; `done` is called with those that are overdue, and those
    whose exchanges may be in total too long, which it looks for only if `bounds_total`. It also finds the
    clients that left while they were not being read."""

    __slots__ = ("_armed", "_clients", "_done", "_left", "_loop", "_monotonic_ns", "_overdue", "_too_long",
                 "bounds_total")  # fmt: skip

    def __init__(
        self,
        clients: set[Client],
        bounds_total: bool,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        done: Callable[[Sequence[Client], Sequence[Client]], None],
    ) -> None:
        self._clients = clients
        self.bounds_total = bounds_total
        self._loop = loop
        self._monotonic_ns = clock.monotonic_ns
        self._done = done
        self._armed: asyncio.Handle | None = None
        # of this inspection
        self._left: list[Client] = []
        self._overdue: list[Client] = []
        self._too_long: list[Client] = []

    def begin(self) -> None:
        """Look at those that are there now: AT_ONCE at once, the others in the next turns. Does nothing if
        the previous inspection is not over."""
        if self._armed is not None:
            return
        self._left = list(self._clients)
        self._overdue = []
        self._too_long = []
        self._go_on()

    def close(self) -> None:
        """Look no further."""
        if self._armed is not None:
            self._armed.cancel()
            self._armed = None

    def _go_on(self) -> None:
        self._armed = None
        left, clients = self._left, self._clients
        # Those that have left since have no exchange any more.
        part = [client for client in left[-AT_ONCE:] if client in clients]
        del left[-AT_ONCE:]
        now = self._monotonic_ns()
        # As `is_overdue`, without its call for each of thousands of idle clients.
        self._overdue += [
            client
            for client in part
            if (client.exchange.deadline_ns if client.exchange.active else client.deadline_ns) < now
        ]
        if self.bounds_total:
            self._too_long += [client for client in part if client.exchange.exceeds_total(now)]
        if left:
            self._armed = self._loop.call_soon(self._go_on)
        try:
            _poll_unread(part)
        finally:  # a fault in one of them must not keep the others from being judged
            if not left:
                self._done(self._overdue, self._too_long)


def _poll_unread(clients: Sequence[Client]) -> None:
    """Find peers that left while they were not being read: then only polling shows it."""
    unread: dict[int, Callable[[int], None]] = {}
    for client in clients:
        if (fd := client.paused_fd) >= 0:
            unread[fd] = client.peer_vanished
        tunnel = client.exchange.tunnel
        if tunnel is not None and (fd := tunnel.ended_fd) >= 0:
            unread[fd] = tunnel.side_vanished
    if not unread:
        return
    poll = select.poll()
    for fd in unread:
        poll.register(fd, select.POLLRDHUP)
    for fd, events in poll.poll(0):
        unread[fd](events)


def is_overdue(client: Client, now: int) -> bool:
    """Whether its deadline has passed."""
    exchange = client.exchange
    return (exchange.deadline_ns if exchange.active else client.deadline_ns) < now
