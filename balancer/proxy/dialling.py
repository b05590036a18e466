"""New connections for one attempt: one dial, and if it is slow a race of two.

A killed container does not refuse connections, its packets are dropped. So if a dial is not done after
CONNECT_RACE_DELAY, a dial to another upstream joins it, and the first to connect gets the request. Nothing
has been sent yet, so this is safe for every method.
"""

import asyncio
from abc import ABC, abstractmethod
from typing import Final

from mypy_extensions import mypyc_attr

from balancer.connections.connector import Connector, DialError
from balancer.connections.roles import UpstreamSide
from balancer.errors import Failure, Outcome
from balancer.upstreams.upstream import Upstream

CONNECT_RACE_DELAY: Final = 0.25  # seconds


@mypyc_attr(allow_interpreted_subclasses=True)
class DialOwner(ABC):
    """Is called at the end of every dial, and at the end of the last one with `connected` or `failed`."""

    __slots__ = ()

    @abstractmethod
    def join_race(self, dialling: "Dialling") -> None:
        """A dial is slow, or one of two has failed: `dialling.start` another upstream, if there is one."""

    @abstractmethod
    def attempt_failed(self, upstream: Upstream, failure: Failure, detail: str) -> None:
        """A dial has failed."""

    @abstractmethod
    def give_back(self, upstream: Upstream, outcome: Outcome) -> None:
        """A dial did not win: release its upstream's slot."""

    @abstractmethod
    def connected(self, upstream: Upstream, connection: UpstreamSide) -> None:
        """This dial was the first to connect."""

    @abstractmethod
    def failed(self, failure: Failure, detail: str) -> None:
        """All dials have failed; these are the last one's failure and detail."""

    @abstractmethod
    def dial_crashed(self, upstream: Upstream, error: Exception) -> None:
        """A bug of ours."""


class Dialling:
    """The running dials of one attempt; it ends with `connected`, `failed` or `cancel`.

    `choose` has counted each dialled upstream as in flight; the ones that do not win are given back here.
    Never reused, so that a dial that ends late finds its own finished object, not that of a later attempt.
    """

    __slots__ = ("_connector", "_dials", "_loop", "_owner")

    def __init__(self, owner: DialOwner, loop: asyncio.AbstractEventLoop, connector: Connector) -> None:
        self._owner: DialOwner | None = owner  # None when over
        self._loop = loop
        self._connector = connector
        self._dials: dict[asyncio.Task[UpstreamSide], Upstream] = {}

    def start(self, upstream: Upstream) -> None:
        """Dial `upstream`, in addition to the dials already running."""
        task = self._loop.create_task(self._connector.dial(upstream))
        self._dials[task] = upstream
        task.add_done_callback(self._done)

    def race(self) -> None:
        """The race delay has passed since `start`: ask for a second dial if the first still runs alone."""
        if self._owner is not None and len(self._dials) == 1:
            self._owner.join_race(self)

    def cancel(self, outcome: Outcome) -> None:
        """Stop all dials: no connection is needed any more."""
        owner = self._owner
        self._owner = None
        if owner is not None:
            for task, upstream in self._dials.items():
                task.cancel()
                owner.give_back(upstream, outcome)

    def _done(self, task: asyncio.Task[UpstreamSide]) -> None:
        upstream = self._dials.pop(task)
        owner = self._owner
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            connection = task.result()
            if owner is None:
                # Too late: cancelled between the connect and this call.
                self._connector.close_now(connection, "expired")
                return
            self.cancel(Outcome.CANCELLED)
            owner.connected(upstream, connection)
        elif owner is None:
            return
        elif isinstance(error, DialError):
            owner.give_back(upstream, error.outcome)
            owner.attempt_failed(upstream, error.failure, error.detail)
            if self._dials:
                owner.join_race(self)  # the other dial may never be answered
            else:
                self._owner = None
                owner.failed(error.failure, error.detail)
        elif isinstance(error, Exception):
            self.cancel(Outcome.CANCELLED)
            owner.dial_crashed(upstream, error)
