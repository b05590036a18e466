"""A new connection to an upstream, for one attempt (L3): between `Connect` and the attempt's dials."""

from abc import ABC, abstractmethod

from balancer.connections.connect import Connect, ConnectContext, ConnectOwner, DialFailure
from balancer.connections.keepalive import KeepalivePool
from balancer.connections.roles import UpstreamSide
from balancer.connections.upstream_connection import UpstreamConnection
from balancer.upstreams.upstream import Upstream


class Dialler(ABC):
    """Gets one of these calls for each of its dials that it does not cancel, never from within `begin`."""

    __slots__ = ()

    @abstractmethod
    def dialled(self, dial: "Dial", connection: UpstreamSide) -> None:
        """There is a connection."""

    @abstractmethod
    def dial_failed(self, dial: "Dial", failure: DialFailure) -> None:
        """There is none."""

    @abstractmethod
    def dial_crashed(self, dial: "Dial", error: Exception) -> None:
        """A bug of ours."""


class Dial(ConnectOwner):
    """A connection to the upstream's address. Ends with a call of its dialler, or with `cancel`, after which
    no connection stays open."""

    __slots__ = ("_connect", "_context", "_dialler", "_keepalive", "upstream")

    def __init__(self, dialler: Dialler, context: ConnectContext, keepalive: KeepalivePool) -> None:
        self.upstream: Upstream = keepalive.upstream
        self._dialler = dialler
        self._context = context
        self._keepalive = keepalive
        self._connect: Connect | None = None

    def begin(self) -> None:
        """Connect."""
        self._connect = connect = Connect(self, self._context, self._keepalive, self.upstream.host)
        connect.begin()

    def cancel(self) -> None:
        """No connection is needed any more."""
        if self._connect is not None:
            self._connect.cancel()

    # --- the connect's calls (ConnectOwner)

    def connected(self, connect: Connect, connection: UpstreamConnection) -> None:
        self._dialler.dialled(self, connection)

    def connect_failed(self, connect: Connect, failure: DialFailure) -> None:
        self._dialler.dial_failed(self, failure)

    def connect_crashed(self, connect: Connect, error: Exception) -> None:
        self.cancel()
        self._dialler.dial_crashed(self, error)
