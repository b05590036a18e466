"""A connection to a TLS listener, from its accept to the end of its handshake.

    SILENT → STARTED → WAITING → SHAKING → OVER
                                         → REFUSED → OVER

SILENT has sent nothing, STARTED a part of its first TLS record. WAITING has sent all of it, and waits for
other handshakes to begin. SHAKING becomes a client, or is REFUSED: it is told why, and may read that. From
any of these it may be OVER: it left, was too slow, or is not TLS. One that begins with an HTTP method becomes
a client that gets a response, and nothing else: its request may be a secret, but it is too late for that.
"""

import asyncio
import ssl
from abc import ABC, abstractmethod
from typing import Final

from mypy_extensions import mypyc_attr

from balancer.clients.connection import ClientConnection
from balancer.clients.context import ClientContext
from balancer.clients.ending import SLOW, SLOW_NS
from balancer.clients.entrance import Entrance
from balancer.clients.first_bytes import Opening, https_url, look_at
from balancer.clients.proofs import Proofs
from balancer.clients.roles import Guest
from balancer.connections.tcp_info import has_arrived
from balancer.connections.tls_transport import TlsTransport
from balancer.errors import PLAIN_HTTP, ProtocolError
from balancer.http.forwarding import Peer

SILENT: Final = 0
STARTED: Final = 1
WAITING: Final = 2
SHAKING: Final = 3
REFUSED: Final = 4
OVER: Final = 5

# Bytes before a handshake begins: a first record, and as much early data, which OpenSSL skips. Nobody sends
# more without an answer.
_MOST_AHEAD: Final = 48 * 1024


@mypyc_attr(allow_interpreted_subclasses=True)
class ArrivalOwner(ABC):
    """Lets arrivals begin their handshakes, and counts how they end. `port` is where clients connect to."""

    __slots__ = ("context", "entrance", "port", "proofs")

    context: ClientContext
    entrance: Entrance
    port: int
    proofs: Proofs | None  # while authorities look for them

    @abstractmethod
    def arrived(self, arrival: "Arrival", now_ns: int) -> bool:
        """It has been accepted; False if it is one too many."""

    @abstractmethod
    def queue(self, arrival: "Arrival") -> None:
        """It is WAITING: it gets `begin` in a later turn of the loop."""

    @abstractmethod
    def settled(self, arrival: "Arrival", result: str) -> None:
        """It is REFUSED or OVER; `result` is one of HANDSHAKE_RESULTS. Comes once."""

    @abstractmethod
    def gone(self, arrival: "Arrival") -> None:
        """It was REFUSED, and is OVER."""


class Arrival(Guest):
    """An asyncio protocol by its methods. `since_ns`, `begun_ns` and `deadline_ns` are on the monotonic
    clock: when it was accepted, when its handshake began, and when that must be over."""

    __slots__ = ("_held", "_is_proof", "_owner", "_start", "_tcp", "_tls", "_wanted", "begun_ns",
                 "deadline_ns", "since_ns", "state")  # fmt: skip

    _tcp: asyncio.Transport

    def __init__(self, owner: ArrivalOwner) -> None:
        self.admitted = False
        self.counts = owner.entrance.counts
        self.state = SILENT
        self.since_ns = 0
        self.begun_ns = 0
        self.deadline_ns = 0
        self._owner = owner
        self._start = b""  # what it has sent before its handshake begins
        self._wanted = 1  # bytes, before which looking again is useless
        self._held = False
        self._is_proof = False  # an authority looks for it
        self._tls: TlsTransport | None = None

    # --- asyncio's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It has been accepted."""
        owner = self._owner
        context = owner.context
        peername = transport.get_extra_info("peername")
        self._tcp = transport  # type: ignore[assignment]  # asyncio's stub says BaseTransport
        self.peer: Peer = owner.entrance.forwarding.peer(peername[0] if peername else "")
        self.since_ns = now = context.monotonic_ns()
        self.deadline_ns = now + context.timeouts.request_head_ns
        if not owner.arrived(self, now):
            # No response is possible before a handshake, which would cost more than the request.
            self.state = OVER
            self._tcp.abort()

    def data_received(self, data: bytes) -> None:
        """Bytes have arrived."""
        state = self.state
        if state == SHAKING:
            self._shake_hands(data)
        elif state <= STARTED:
            self._start = start = self._start + data if self._start else data
            if len(start) >= self._wanted:
                self._look(start)
        elif state == WAITING:
            self._start += data
            self._held = True
            self._tcp.pause_reading()
        if self.state == WAITING and len(self._start) > _MOST_AHEAD:
            self.end("failed")

    def eof_received(self) -> bool:
        """A FIN."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self.end("left")

    def pause_writing(self) -> None:
        """What is written before the end of a handshake is little."""

    def resume_writing(self) -> None:
        """As above."""

    # --- the first bytes

    def _look(self, start: bytes) -> None:
        opening, self._wanted = look_at(start)
        if opening is Opening.UNKNOWN:
            self.state = STARTED
        elif opening is Opening.TLS:
            self.state = WAITING
            self._owner.queue(self)
        elif opening is Opening.HTTP:
            tcp = self._tcp
            advice = https_url(start, self._owner.port)
            client = self._client(tcp, self.peer, "plain_http")
            tcp.set_protocol(client)  # type: ignore[arg-type]  # a protocol by its methods
            client.refuse(ProtocolError(PLAIN_HTTP, advice), start)
        else:
            self.end("not_tls")

    # --- the handshake

    def begin(self, front: ssl.SSLContext, now_ns: int) -> None:
        """It is its turn."""
        self.begun_ns = now_ns
        self.state = SHAKING
        start, self._start = self._start, b""
        proofs = self._owner.proofs
        proof = None if proofs is None else proofs.wanted_by(start)
        if proof is not None:
            self._is_proof = True
            front = proof
        self._tls = TlsTransport(
            self._tcp, self._owner.context.proxy.connector.turns, front, server_side=True
        )
        if self._held:
            self._tcp.resume_reading()
        self._shake_hands(start)

    def _shake_hands(self, data: bytes) -> None:
        tls = self._tls
        assert tls is not None
        try:
            if not tls.shake_hands(data):
                return
        except ssl.SSLError as error:
            self._refuse(_result(error))
            return
        if self._is_proof:  # the authority has seen it: there is nothing more to say (RFC 8737 section 3)
            self._leave("ok")
            tls.close()
            return
        peer = self.peer
        certificate = tls.get_extra_info("ssl_object").getpeercert(True)
        if certificate is not None:
            peer = self._owner.entrance.forwarding.certified(peer.address, certificate)
        # A transport by its methods.
        tls.begin(self._client(tls, peer, "ok"))  # type: ignore[arg-type]

    def _client(self, transport: asyncio.Transport, peer: Peer, result: str) -> ClientConnection:
        """What it is from now on."""
        owner = self._owner
        context = owner.context
        client = ClientConnection(context, owner.entrance)
        client.begin(transport, peer, context.monotonic_ns())
        self.state = OVER
        context.became(self, client)
        owner.settled(self, result)
        if context.draining:
            client.drain()
        return client

    # --- the end

    def _refuse(self, result: str) -> None:
        """It has been told why. Closing at once could reset the connection before it has read that."""
        self.state = REFUSED
        self._tls = None
        self._owner.settled(self, result)
        if not self._tcp.is_closing():
            self._tcp.write_eof()

    def end(self, result: str) -> None:
        """End it without a client."""
        if self.state != OVER:
            self._leave(result)
            self._tcp.abort()

    def _leave(self, result: str) -> None:
        state, self.state = self.state, OVER
        self._tls = None
        self._owner.context.departed(self)
        if state == REFUSED:
            self._owner.gone(self)
        else:
            self._owner.settled(self, result)

    def spare_rank(self) -> int:
        """As that of a client that is idle, or sends its head slowly (`EndingConnection`)."""
        if self.state in (SILENT, REFUSED):
            return self.since_ns
        is_slow = self._owner.context.monotonic_ns() - self.since_ns >= SLOW_NS
        return SLOW + self.since_ns if is_slow else -1

    def make_room(self) -> bool:
        """End it, for another client; returns whether it did. Not if it has just begun to speak."""
        if self.state == SILENT and has_arrived(self._tcp):
            return False
        self.end("dropped")
        return True


def _result(error: ssl.SSLError) -> str:
    """What ended a handshake."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return "client_certificate"
    # Only OpenSSL's own errors have a reason.
    is_missing = getattr(error, "reason", "") == "PEER_DID_NOT_RETURN_A_CERTIFICATE"
    return "client_certificate" if is_missing else "failed"
