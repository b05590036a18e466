"""A connection to a TLS listener, from its accept to the end of its handshake.

    SILENT → STARTED → WAITING → SHAKING → OVER

SILENT has sent nothing, STARTED a part of its first TLS record. WAITING has sent all of it, and waits for
other handshakes to end. uvloop is told of the connection only then, as it calls nothing for a handshake that
stalls or fails. From any of these it may be OVER: it left, was too slow, or is not TLS. One that begins with
an HTTP method is SHAKING too, until it is a connection that gets a response.
"""

import asyncio
import socket
import ssl
from abc import ABC, abstractmethod
from typing import Final

from mypy_extensions import mypyc_attr

from balancer.clients.context import ClientContext
from balancer.clients.ending import SLOW, SLOW_NS
from balancer.clients.entrance import Entrance
from balancer.clients.first_bytes import MOST_PEEKED, Opening, https_url, look_at
from balancer.clients.proofs import ProofConnection, Proofs
from balancer.clients.roles import Client
from balancer.clients.tls_connection import PlainConnection, Predecessor, TlsConnection
from balancer.connections.tcp_info import is_open
from balancer.http.forwarding import Peer

SILENT: Final = 0
STARTED: Final = 1
WAITING: Final = 2
SHAKING: Final = 3
OVER: Final = 4

# Seconds that uvloop waits for a handshake beyond its deadline. Our sweep ends it: it reads first, and gives
# back the time that the worker was late. Only one that is cancelled just before its transport is connected
# goes on in uvloop without a task.
_BACKSTOP: Final = 60.0
_LONGEST: Final = 3600.0
# For the client's close_notify. What was written is with the kernel by then (`tls_transport`).
_SHUTDOWN: Final = 2.0
_LATER: Final = 0.1  # seconds until the next look, where the kernel would wake us again at once


@mypyc_attr(allow_interpreted_subclasses=True)
class ArrivalOwner(ABC):
    """Lets arrivals begin their handshakes, and counts how they end. `port` is where clients connect to."""

    __slots__ = ("context", "entrance", "port", "proofs")

    context: ClientContext
    entrance: Entrance
    port: int
    proofs: Proofs | None  # while authorities look for them

    @abstractmethod
    def queue(self, arrival: "Arrival") -> None:
        """It is WAITING: it gets `begin` in a later turn of the loop."""

    @abstractmethod
    def settled(self, arrival: "Arrival", result: str) -> None:
        """It is OVER; `result` is one of HANDSHAKE_RESULTS."""


class Arrival(Predecessor):
    """`since_ns`, `begun_ns` and `deadline_ns` are on the monotonic clock: when it was accepted, when its
    handshake began, and when that must be over."""

    __slots__ = ("_is_client", "_owner", "_polled", "_proof", "_sock", "_start", "_task", "_timer",
                 "_wanted", "begun_ns", "deadline_ns", "since_ns", "state")  # fmt: skip

    def __init__(self, sock: socket.socket, peer: Peer, owner: ArrivalOwner, now_ns: int) -> None:
        self.peer = peer
        self.admitted = False
        self.state = SILENT
        self.since_ns = now_ns
        self.begun_ns = 0
        self.deadline_ns = now_ns + owner.context.timeouts.request_head_ns
        self._owner = owner
        self._sock = sock
        self._polled = False
        self._wanted = 1  # bytes, before which looking again is useless
        self._start = b""
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[object] | None = None
        self._proof: ssl.SSLContext | None = None  # an authority looks for it
        self._is_client = False

    # --- the first bytes

    def look(self) -> None:
        """Look at what has arrived, without taking it from the socket."""
        try:
            data = self._sock.recv(MOST_PEEKED, socket.MSG_PEEK)
        except BlockingIOError:
            self._await(1)
            return
        except OSError:
            self.end("left")
            return
        if len(data) < (self._wanted if self._polled else 1):  # the rest will not come: it has sent a FIN
            if data and is_open(
                self._sock
            ):  # no FIN: the kernel is short of memory, and minds no low-water mark
                self._stop_polling()
                self._timer = self._owner.context.loop.call_later(_LATER, self._look_again)
            else:
                self.end("left")
            return
        opening, wanted = look_at(data)
        if opening is Opening.UNKNOWN:
            self.state = STARTED
            self._await(wanted)
        elif opening is Opening.TLS:
            self._stop_polling()
            self.state = WAITING
            proofs = self._owner.proofs
            if proofs is not None:
                self._proof = proofs.wanted_by(data)
            self._owner.queue(self)
        elif opening is Opening.HTTP:
            self._stop_polling()
            self._start = data
            self._run(None, 0.0)
        else:
            self.end("not_tls")

    def _look_again(self) -> None:
        self._timer = None
        self.look()

    def _await(self, wanted: int) -> None:
        """Look again when there are so many bytes: the kernel wakes us only then, or at a FIN."""
        if wanted != self._wanted:
            self._wanted = wanted
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, wanted)
        if not self._polled:
            self._polled = True
            self._owner.context.loop.add_reader(self._sock.fileno(), self.look)

    def _stop_polling(self) -> None:
        if self._polled:
            self._polled = False
            self._owner.context.loop.remove_reader(self._sock.fileno())
        if self._wanted > 1:
            self._wanted = 1
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)

    # --- the handshake

    def begin(self, front: ssl.SSLContext, now_ns: int) -> None:
        """It is its turn."""
        self.begun_ns = now_ns
        if self._proof is not None:
            front = self._proof
        self._run(front, max(self.deadline_ns - now_ns, 0) / 1e9)

    def _run(self, front: ssl.SSLContext | None, rest: float) -> None:
        """Pass the connection to uvloop; `rest` are the seconds until the deadline."""
        self.state = SHAKING
        loop = self._owner.context.loop
        if front is None:
            opening = loop.connect_accepted_socket(self._plain, self._sock)
        else:
            opening = loop.connect_accepted_socket(
                self._secure,
                self._sock,
                ssl=front,
                ssl_handshake_timeout=min(rest + _BACKSTOP, _LONGEST),
                ssl_shutdown_timeout=_SHUTDOWN,
            )
        self._task = loop.create_task(opening, name="handshake")
        self._task.add_done_callback(self._ended)

    def _secure(self) -> asyncio.Protocol:
        owner = self._owner
        if self._proof is not None:
            return ProofConnection(self)  # type: ignore[return-value]  # as below
        # Protocols by their methods, which is all that an event loop needs.
        return TlsConnection(owner.context, owner.entrance, self)  # type: ignore[return-value]

    def _plain(self) -> asyncio.Protocol:
        owner = self._owner
        url = https_url(self._start, owner.port)
        return PlainConnection(  # type: ignore[return-value]  # as above
            owner.context, owner.entrance, self, self._start, url
        )

    @property
    def is_over(self) -> bool:
        return self.state == OVER

    def became(self, client: Client) -> None:
        self.state = OVER
        self._is_client = True
        self._owner.context.became(self, client)
        self._owner.settled(self, "plain_http" if self._start else "ok")

    def proved(self) -> None:
        """An authority has seen what it looked for: there is nothing more to say (RFC 8737 section 3)."""
        self.state = OVER
        self._is_client = True  # the transport closes the socket
        self._owner.context.departed(self)
        self._owner.settled(self, "ok")

    def _ended(self, task: asyncio.Task[object]) -> None:
        error = None if task.cancelled() else task.exception()
        self._task = None
        if self.state != OVER:
            self.end(_result(error))
        elif not self._is_client:
            self._sock.close()

    # --- the end

    def end(self, result: str) -> None:
        """End it without a client."""
        if self.state == OVER:
            return
        self.state = OVER
        if self._task is not None:
            self._task.cancel()
        else:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._stop_polling()
            self._sock.close()
        self._owner.context.departed(self)
        self._owner.settled(self, result)

    def spare_rank(self) -> int:
        """As that of a client that is idle, or sends its head slowly (`EndingConnection`)."""
        if self.state == SILENT:
            return self.since_ns
        is_slow = self._owner.context.monotonic_ns() - self.since_ns >= SLOW_NS
        return SLOW + self.since_ns if is_slow else -1

    def make_room(self) -> bool:
        """End it, for another client; returns whether it did. Not if it has just begun to speak."""
        if self.state == SILENT:
            try:
                if self._sock.recv(1, socket.MSG_PEEK):
                    return False
            except BlockingIOError:
                pass
            except OSError:
                pass
        self.end("dropped")
        return True


def _result(error: BaseException | None) -> str:
    """What ended a handshake; None: uvloop's word for a client that was closed, or that closed, in it."""
    if error is None or isinstance(error, ConnectionError):
        return "left"
    if isinstance(error, ssl.SSLCertVerificationError):
        return "client_certificate"
    # Only OpenSSL's own errors have a reason.
    is_missing = getattr(error, "reason", "") == "PEER_DID_NOT_RETURN_A_CERTIFICATE"
    return "client_certificate" if is_missing else "failed"
