"""The roles of a client connection, for those who hold, count and sweep it (L6)."""

from abc import ABC, abstractmethod

from balancer.http.forwarding import Peer
from balancer.proxy.exchange import Exchange


class Guest(ABC):
    """A client connection, as admission knows it. `admitted`: it counts against the limit on connections."""

    __slots__ = ("admitted", "peer")

    peer: Peer
    admitted: bool

    @abstractmethod
    def spare_rank(self) -> int:
        """The lower, the sooner it may be closed for another client; -1 where it may not."""

    @abstractmethod
    def make_room(self) -> bool:
        """Close, for another client; False where it turns out that it may not."""


class Client(Guest):
    """A client connection, as the data plane knows it. `deadline_ns` is its own, for while no exchange runs,
    on the monotonic clock; `exchange` is the one that runs, or the last one that did."""

    __slots__ = ("deadline_ns", "exchange")

    deadline_ns: int
    exchange: Exchange

    @abstractmethod
    def check_deadline(self, now_ns: int) -> None:
        """`deadline_ns` has passed, and no exchange runs."""

    @abstractmethod
    def drain(self) -> None:
        """No more requests but one that is on its way: closing at once would lose it."""

    @abstractmethod
    def cut_off(self) -> None:
        """End now: what has not been answered gets 503, what has begun a reset."""

    @property
    @abstractmethod
    def paused_fd(self) -> int:
        """The descriptor while nothing is read, when only polling tells that the client has left; else -1."""

    @abstractmethod
    def peer_vanished(self, events: int) -> None:
        """Polling says that the client has closed while it was not being read."""
