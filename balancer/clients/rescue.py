"""Takes requests away from silent upstreams, where they would wait in vain.

Not in the path of a request, and it needs no bookkeeping there: it looks through all client connections when
the supervisor reports a silent upstream, and at each sweep while requests wait at one.
"""

import asyncio
from collections.abc import Collection
from typing import Final

from balancer.clients.roles import Client
from balancer.clock import Clock
from balancer.proxy.exchange import Exchange
from balancer.proxy.membership import Membership
from balancer.proxy.overdue import leave_silent, waits_for_upstream
from balancer.upstreams.upstream import Upstream

# Requests taken away in one turn of the loop: takes about 5 ms in which nothing else is served.
_AT_ONCE: Final = 100


class Rescue:
    """For the requests of one worker; `clients` are its present client connections (a live view)."""

    __slots__ = ("_armed", "_clients", "_clock", "_loop", "_membership")

    def __init__(
        self,
        clients: Collection[Client],
        membership: Membership,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
    ) -> None:
        self._clients = clients
        self._membership = membership
        self._loop = loop
        self._clock = clock
        self._armed: asyncio.Handle | None = None

    def look(self) -> None:
        """Take away the requests that wait in vain: at most _AT_ONCE now, the rest in later turns."""
        if self._armed is not None:
            self._armed.cancel()
            self._armed = None
        upstreams = self._membership.unresponsive()
        if not upstreams:
            return
        now = self._clock.monotonic_ns()
        waiting = [client.exchange for client in self._clients if _waits_at(upstreams, client.exchange)]
        waiting.sort(key=_age)  # if not all may go, the oldest do
        left = 0
        for exchange in waiting:
            try:
                left += leave_silent(exchange, now)
            except Exception as error:
                exchange.crashed(error)
            if left == _AT_ONCE:
                self._armed = self._loop.call_soon(self.look)
                return

    def close(self) -> None:
        """Take no more requests away."""
        if self._armed is not None:
            self._armed.cancel()
            self._armed = None


def _waits_at(upstreams: set[Upstream], exchange: Exchange) -> bool:
    attempt = exchange.attempt
    return attempt is not None and attempt.upstream in upstreams and waits_for_upstream(exchange)


def _age(exchange: Exchange) -> int:
    return exchange.started_ns
