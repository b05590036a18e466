"""New connections for one attempt: one dial, and if it is slow a race of two.

A killed container does not refuse connections, its packets are dropped. So if a dial is not done after
CONNECT_RACE_DELAY, a dial to another upstream joins it, and the first to connect gets the request. Nothing
has been sent yet, so this is safe for every method.
"""

from abc import ABC, abstractmethod
from typing import Final

from mypy_extensions import mypyc_attr

from balancer.connections.connect import DialFailure
from balancer.connections.connector import Connector
from balancer.connections.dial import Dial, Dialler
from balancer.connections.roles import UpstreamSide
from balancer.errors import Failure, Outcome
from balancer.upstreams.upstream import Upstream

CONNECT_RACE_DELAY: Final = 0.25  # seconds
_RACE_DELAY_NS: Final = round(CONNECT_RACE_DELAY * 1e9)


@mypyc_attr(allow_interpreted_subclasses=True)
class DialOwner(ABC):
    """Is called at the end of every dial, and at the end of the last one with `connected` or `failed`."""

    __slots__ = ()

    @abstractmethod
    def join_race(self, dialling: "Dialling") -> None:
        """A dial is slow, or one of two has failed: `dialling.start` another upstream, if there is one."""

    @abstractmethod
    def race_later(self, dialling: "Dialling") -> None:
        """Call `race` again after CONNECT_RACE_DELAY: the dial has waited for its turn."""

    @abstractmethod
    def now_ns(self) -> int:
        """The monotonic clock."""

    @abstractmethod
    def attempt_failed(self, upstream: Upstream, failure: Failure, detail: str) -> None:
        """A dial has failed."""

    @abstractmethod
    def give_back(self, upstream: Upstream, outcome: Outcome) -> None:
        """A dial did not win: release its upstream's slot."""

    @abstractmethod
    def connected(self, upstream: Upstream, connection: UpstreamSide, reused: bool) -> None:
        """This dial was the first to get a connection; `reused`: not a new one."""

    @abstractmethod
    def failed(self, failure: Failure, detail: str) -> None:
        """All dials have failed; these are the last one's failure and detail."""

    @abstractmethod
    def dial_crashed(self, upstream: Upstream, error: Exception) -> None:
        """A bug of ours."""


class Dialling(Dialler):
    """The running dials of one attempt; it ends with `connected`, `failed` or `cancel`.

    Each dialled upstream has been counted as in flight; the ones that do not win are given back here.
    """

    __slots__ = ("_connector", "_dials", "_owner")

    def __init__(self, owner: DialOwner, connector: Connector) -> None:
        self._owner: DialOwner | None = owner  # None when over
        self._connector = connector
        self._dials: list[Dial] = []

    def start(self, upstream: Upstream, fresh: bool, careful: bool) -> None:
        """Dial `upstream`, in addition to the dials already running (`Connector.dial`)."""
        self._dials.append(self._connector.dial(upstream, self, fresh, careful))

    def race(self) -> None:
        """The race delay has passed since `start`: ask for a second dial if the first still runs alone."""
        owner = self._owner
        if owner is not None and len(self._dials) == 1:
            dial = self._dials[0]
            now = owner.now_ns()
            if dial.is_in_time(_RACE_DELAY_NS, now):
                owner.race_later(self)
            elif not dial.take_idle(now):
                owner.join_race(self)

    def cancel(self, outcome: Outcome) -> None:
        """Stop all dials: no connection is needed any more."""
        owner = self._owner
        self._owner = None
        if owner is not None:
            for dial in self._dials:
                dial.cancel()
                owner.give_back(dial.upstream, outcome)

    # --- the dials' calls (Dialler); none comes after `cancel`

    def dialled(self, dial: Dial, connection: UpstreamSide, reused: bool) -> None:
        owner = self._over(dial)
        self.cancel(Outcome.CANCELLED)
        owner.connected(dial.upstream, connection, reused)

    def dial_failed(self, dial: Dial, failure: DialFailure) -> None:
        owner = self._over(dial)
        owner.give_back(dial.upstream, failure.outcome)
        owner.attempt_failed(dial.upstream, failure.failure, failure.detail)
        if self._dials:
            owner.join_race(self)  # the other dial may never be answered
        else:
            self._owner = None
            owner.failed(failure.failure, failure.detail)

    def dial_crashed(self, dial: Dial, error: Exception) -> None:
        owner = self._over(dial)
        self.cancel(Outcome.CANCELLED)
        owner.dial_crashed(dial.upstream, error)

    def _over(self, dial: Dial) -> DialOwner:
        self._dials.remove(dial)
        owner = self._owner
        assert owner is not None
        return owner
