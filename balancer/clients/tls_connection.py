"""What becomes of a connection to a TLS listener: one that speaks TLS, or one that is told to."""

import asyncio
from abc import abstractmethod

from mypy_extensions import mypyc_attr

from balancer.clients.connection import ClientConnection
from balancer.clients.context import ClientContext
from balancer.clients.entrance import Entrance
from balancer.clients.roles import Client, Guest
from balancer.connections.tls_transport import TlsTransport
from balancer.errors import PLAIN_HTTP, ProtocolError


@mypyc_attr(allow_interpreted_subclasses=True)
class Predecessor(Guest):
    """What the connection was before, and counted as."""

    __slots__ = ()

    @property
    @abstractmethod
    def is_over(self) -> bool:
        """It has been ended, and does not count any more."""

    @abstractmethod
    def became(self, client: Client) -> None:
        """It is a client from now on."""

    @abstractmethod
    def proved(self) -> None:
        """It was an authority that has seen a proof, and is no client."""


class Successor(ClientConnection):
    """A client whose connection counted before there was a transport."""

    __slots__ = ("_predecessor",)

    def __init__(self, context: ClientContext, entrance: Entrance, predecessor: Predecessor) -> None:
        super().__init__(context, entrance)
        self._predecessor: Predecessor | None = predecessor  # until it is a client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The client is there, unless its connection was ended in this turn of the loop."""
        predecessor = self._predecessor
        assert predecessor is not None
        # asyncio's stub says BaseTransport.
        if predecessor.is_over:
            transport.abort()  # type: ignore[attr-defined]
            return
        self._predecessor = None
        self._welcome(transport, predecessor)  # type: ignore[arg-type]

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        if self._predecessor is None:
            super().connection_lost(exc)

    def _welcome(self, transport: asyncio.Transport, predecessor: Predecessor) -> None:
        raise NotImplementedError


class TlsConnection(Successor):
    """A client whose handshake is over: uvloop calls `connection_made` only then."""

    __slots__ = ()

    def _welcome(self, transport: asyncio.Transport, predecessor: Predecessor) -> None:
        context = self._context
        peer = predecessor.peer
        certificate = transport.get_extra_info("ssl_object").getpeercert(True)
        if certificate is not None:
            peer = self._entrance.forwarding.certified(peer.address, certificate)
        self._begin(TlsTransport(transport, context.loop), peer, context.monotonic_ns())
        predecessor.became(self)
        if context.draining:
            self.drain()


class PlainConnection(Successor):
    """A client that speaks HTTP without TLS. It gets a response that says so, and nothing else: its request
    may be a secret, but it is too late for that."""

    __slots__ = ("_advice", "_start")

    def __init__(
        self, context: ClientContext, entrance: Entrance, predecessor: Predecessor, start: bytes, advice: str
    ) -> None:
        """`start`: the first bytes of its request. `advice` is where to go instead."""
        super().__init__(context, entrance, predecessor)
        self._start = start
        self._advice = advice

    def _welcome(self, transport: asyncio.Transport, predecessor: Predecessor) -> None:
        self._begin(transport, predecessor.peer, self._context.monotonic_ns())
        predecessor.became(self)
        self.refuse(ProtocolError(PLAIN_HTTP, self._advice), self._start)
