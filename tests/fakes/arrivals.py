"""Clients of a TLS listener without sockets: the test decides what arrives, and when."""

import ssl

from balancer.clients.handshakes import Handshakes
from tests.fakes.tls_specs import client_context
from tests.fakes.transport import FakeTransport, Soon

_context = client_context()


class ArrivingClient:
    """A connection as accepted, with OpenSSL's client at its other end. `transport` is the worker's end.
    `ended`: the client has read a close_notify."""

    def __init__(
        self, loop: Soon, handshakes: Handshakes, address: str, context: ssl.SSLContext | None = None
    ) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = (context or _context).wrap_bio(
            self._incoming, self._outgoing, server_hostname="shop.example"
        )
        self.ended = False
        self.arrival = handshakes.protocol()
        self.transport = FakeTransport(loop, self.arrival, peername=(address, 50000))

    def hello(self) -> bytes:
        """Its ClientHello, not sent."""
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return self._outgoing.read()
        raise AssertionError("a handshake without an answer")

    def shake_hands(self) -> None:
        """Go on with what the worker has written. Raises ssl.SSLError if it has refused."""
        self._incoming.write(self.transport.take())
        self.tls.do_handshake()
        self.flush()

    def write(self, data: bytes) -> None:
        """Send data."""
        self.tls.write(data)
        self.flush()

    def flush(self) -> None:
        """Send what OpenSSL has to say."""
        self.transport.receive(self._outgoing.read())

    def read(self) -> bytes:
        """All that the worker has written since the last call. Raises ssl.SSLError for an alert."""
        self._incoming.write(self.transport.take())
        found = b""
        try:
            while piece := self.tls.read(1 << 16):
                found += piece
            self.ended = True
        except ssl.SSLWantReadError:
            pass
        return found
