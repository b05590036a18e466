"""What becomes of a connection to a TLS listener: one that speaks TLS, or one that is told to."""

import asyncio
from abc import abstractmethod

from mypy_extensions import mypyc_attr

from balancer.clients.connection import ClientConnection
from balancer.clients.context import ClientContext
from balancer.clients.entrance import Entrance
from balancer.clients.roles import Client, Guest
from balancer.clients.tls_transport import TlsTransport
from balancer.errors import PLAIN_HTTP, ProtocolError


@mypyc_attr(allow_interpreted_subclasses=True)
class Predecessor(Guest):
    """What the connection was before, and counted as."""

    __slots__ = ()

    @abstractmethod
    def became(self, client: Client) -> None:
        """It is a client from now on."""


class TlsConnection(ClientConnection):
    """A client whose handshake is over: uvloop calls `connection_made` only then."""

    __slots__ = ("_predecessor",)

    def __init__(self, context: ClientContext, entrance: Entrance, predecessor: Predecessor) -> None:
        super().__init__(context, entrance)
        self._predecessor: Predecessor | None = predecessor

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The handshake is over."""
        predecessor, self._predecessor = self._predecessor, None
        assert predecessor is not None
        context = self._context
        peer = predecessor.peer
        certificate = transport.get_extra_info("ssl_object").getpeercert(True)
        if certificate is not None:
            peer = self._entrance.forwarding.certified(peer.address, certificate)
        # asyncio's stub says BaseTransport.
        secure = TlsTransport(transport, context.loop)  # type: ignore[arg-type]
        self._begin(secure, peer, context.monotonic_ns())
        predecessor.became(self)
        if context.draining:
            self.drain()


class PlainConnection(ClientConnection):
    """A client that speaks HTTP without TLS. It gets a response that says so, and nothing else: its request
    may be a secret, but it is too late for that."""

    __slots__ = ("_advice", "_predecessor", "_start")

    def __init__(
        self, context: ClientContext, entrance: Entrance, predecessor: Predecessor, start: bytes, advice: str
    ) -> None:
        """`start`: the first bytes of its request. `advice` is where to go instead."""
        super().__init__(context, entrance)
        self._predecessor: Predecessor | None = predecessor
        self._start = start
        self._advice = advice

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Refuse it at once."""
        predecessor, self._predecessor = self._predecessor, None
        assert predecessor is not None
        now = self._context.monotonic_ns()
        self._begin(transport, predecessor.peer, now)  # type: ignore[arg-type]  # asyncio says BaseTransport
        predecessor.became(self)
        self.refuse(ProtocolError(PLAIN_HTTP, self._advice), self._start)
