"""The roles of a client connection for the code that keeps, counts and sweeps it (L6)."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from mypy_extensions import mypyc_attr

from balancer.clients.listener_counts import ListenerCounts
from balancer.http.forwarding import Peer
from balancer.messages import RoutesUpdate
from balancer.proxy.exchange import Exchange
from balancer.proxy.router import Router


@mypyc_attr(allow_interpreted_subclasses=True)
class Guest(ABC):
    """A client connection in the view of admission. `admitted`: it counts towards the connection limit.
    `counts` are those of its listener."""

    __slots__ = ("admitted", "counts", "peer")

    peer: Peer
    admitted: bool
    counts: ListenerCounts

    @abstractmethod
    def spare_rank(self) -> int:
        """The lower, the sooner it is closed for another client; -1 if it must not be."""

    @abstractmethod
    def make_room(self) -> bool:
        """Close, for another client; False if it must not be closed after all."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Client(Guest):
    """A client connection in the view of the data plane. `deadline_ns` applies while no exchange is running,
    on the monotonic clock; `exchange` is the running or the last one."""

    __slots__ = ("deadline_ns", "exchange")
    __deletable__ = ("exchange",)

    deadline_ns: int
    exchange: Exchange

    @abstractmethod
    def check_deadline(self, now_ns: int) -> None:
        """`deadline_ns` has passed, and no exchange is running."""

    @abstractmethod
    def drain(self) -> None:
        """Accept no more requests, except one that is on its way: closing at once would lose it."""

    @abstractmethod
    def forget_head(self) -> None:
        """The routes have changed: do not recognise its last request, if it comes again."""

    @abstractmethod
    def cut_off(self) -> None:
        """End now: a request without a response gets 503, a response that has begun is reset."""

    @property
    @abstractmethod
    def paused_fd(self) -> int:
        """The descriptor while reading is paused, when only polling shows that the client left; else -1."""

    @abstractmethod
    def peer_vanished(self, events: int) -> None:
        """Polling shows that the client has closed while it was not being read."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Routers(ABC):
    """Makes the routers of the listeners, in the view of the data plane."""

    __slots__ = ()

    @abstractmethod
    def changed(self, update: RoutesUpdate) -> Sequence[Router] | None:
        """That of each listener for these routes; None if a pool of theirs is not there."""

    @abstractmethod
    def sweep(self) -> list[int]:
        """The rows of routes that are gone, and that are not written to any more, since the last call."""
