"""Getting a new connection for an exchange: one dial, and if that takes long a race of two.

A killed container does not refuse, it swallows. So a dial that is not done after CONNECT_RACE_DELAY is
joined by one to another upstream, and the first to connect gets the request. Nothing has been sent yet,
so this is right for every method.
"""

import asyncio
from typing import TYPE_CHECKING

from balancer.connections.connector import Connector, DialError
from balancer.connections.upstream_connection import UpstreamConnection
from balancer.errors import INTERNAL_ERROR, Failure, Outcome
from balancer.upstreams.upstream import Upstream

if TYPE_CHECKING:
    from balancer.proxy.exchange import Exchange

CONNECT_RACE_DELAY = 0.25  # seconds


class Dialling:
    """The running dials of one exchange; ends by `exchange.connected`, `connect_failed` or `cancel`.

    Each dialled upstream has been counted in flight by `choose`; those that do not win are given back here.
    """

    __slots__ = ("_connector", "_dials", "_exchange", "_loop")

    def __init__(self, exchange: "Exchange", loop: asyncio.AbstractEventLoop, connector: Connector) -> None:
        self._exchange: Exchange | None = exchange
        self._loop = loop
        self._connector = connector
        self._dials: dict[asyncio.Task[UpstreamConnection], Upstream] = {}

    def start(self, upstream: Upstream) -> None:
        """Dial `upstream`, beside the dials already running."""
        task = self._loop.create_task(self._connector.dial(upstream))
        self._dials[task] = upstream
        task.add_done_callback(self._done)

    def race(self) -> None:
        """The race delay has passed since `start`: a second dial, if this one is still alone."""
        if self._exchange is not None and len(self._dials) == 1:
            self._exchange.join_race(self)

    def cancel(self, outcome: Outcome) -> None:
        """No connection is wanted any more."""
        exchange = self._exchange
        self._exchange = None
        if exchange is not None:
            for task, upstream in self._dials.items():
                task.cancel()
                exchange.give_back(upstream, outcome)

    def _done(self, task: asyncio.Task[UpstreamConnection]) -> None:
        upstream = self._dials.pop(task)
        exchange = self._exchange
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            connection = task.result()
            if exchange is None:
                connection.close()  # it came too late: cancelled between connecting and this call
                return
            self.cancel(Outcome.CANCELLED)
            exchange.connected(upstream, connection)
        elif exchange is not None:
            failure: Failure = INTERNAL_ERROR
            detail = repr(error)
            if isinstance(error, DialError):
                failure, detail = error.failure, error.detail
            exchange.give_back(upstream, Outcome.CONNECT_FAILED)
            if not self._dials:
                self._exchange = None
                exchange.connect_failed(failure, detail)
