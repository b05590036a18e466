"""How a client connection ends: after a last response, idle for too long, for another client, or reset.

The base of `ClientConnection`, which reads. A last response must arrive, so the connection lingers after it.
An incomplete response ends with a reset.
"""

import asyncio
import socket
import struct
from contextlib import closing
from typing import Final

from balancer.clients.context import ClientContext
from balancer.clients.read_ahead import ReadAhead
from balancer.clients.stream import Http1Stream, StreamOwner
from balancer.connections.intake import Intake
from balancer.connections.last_words import last_words
from balancer.connections.tcp_info import descriptor, has_arrived
from balancer.errors import HEAD_TIMEOUT, INTERNAL_ERROR, ProtocolError
from balancer.http.request_head import RequestHead

START: Final = len(b"\r\nHEAD ")  # bytes of a head that show whether its method is HEAD
_LINGER_NS: Final = 30_000_000_000  # in total, while the client goes on sending
LINGER_IDLE_NS: Final = 5_000_000_000
_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER on, for 0 seconds: close sends RST

# A client that takes so long for a head, or for a handshake, may be closed for another one.
SLOW_NS: Final = 1_000_000_000

# Above the time of any clock, in ns.
_LINGERING: Final = 1 << 62
SLOW: Final = 1 << 63

# What the next bytes are.
HEAD: Final = 0
BODY: Final = 1
HOLD: Final = 2
TUNNEL: Final = 3
TUNNEL_ENDED: Final = 4
LINGER: Final = 5
CLOSED: Final = 6


class EndingConnection(StreamOwner):
    """`_head` is the last request's; `_ahead` holds what was read after it."""

    __slots__ = ("_ahead", "_context", "_head", "_intake", "_linger_end_ns", "_state", "_stream", "transport")
    __deletable__ = ("_intake", "_stream")

    transport: asyncio.Transport
    _intake: Intake
    _stream: Http1Stream

    def __init__(self, context: ClientContext) -> None:
        self._context = context
        self._state = HEAD
        self._ahead = ReadAhead()
        self._linger_end_ns = 0
        self._head: RequestHead | None = None
        self.admitted = False
        self.deadline_ns = 0

    # --- a last response, or none

    def refuse(self, error: ProtocolError, head: bytes = b"") -> None:
        """Refuse a request that did not become an exchange, and close. `head` is its beginning."""
        self._ahead.put(b"", 0)
        head_only = head[:START].lstrip(b"\r\n").startswith(b"HEAD ")  # RFC 9110 section 9.3.2
        self.transport.write(self._context.refusal(self.peer, error.failure, error.detail, head_only))
        self._linger()

    def _linger(self) -> None:
        """Close, but let the response arrive first.

        Closing with unread bytes would send a reset, and that may destroy the response before the client
        has read it (RFC 9112 section 9.6). So: send a FIN, and go on reading for a while. Where no FIN can be
        sent, as under TLS, the client closes when it has its response, or is closed after that while.
        """
        self._ahead.put(b"", 0)
        self._state = LINGER
        self._begin_lingering(self._context.monotonic_ns())
        self._intake.resume()
        if self.transport.can_write_eof() and not self.transport.is_closing():
            self.transport.write_eof()

    def _begin_lingering(self, now: int) -> None:
        self._linger_end_ns = now + _LINGER_NS
        self.deadline_ns = now + LINGER_IDLE_NS

    def _crashed(self, error: Exception) -> None:
        """A bug of ours. A running exchange is answered; else the connection's state is unknown: close it."""
        fresh = self._state == HOLD and not self.exchange.active and not self.exchange.response_begun
        self.exchange.crashed(error)
        if fresh:
            head = self._head
            self.refuse(ProtocolError(INTERNAL_ERROR, ""), head.method + b" " if head is not None else b"")
        elif self._state in (HEAD, BODY, HOLD) and not self.exchange.active:
            self.abort()

    def _leave(self) -> None:
        self._state = CLOSED
        if self._ahead.data:
            self._ahead.put(b"", 0)
        if self.exchange.active:
            # For the rest of what is to be written; until now the exchange's deadline applied.
            context = self._context
            self.deadline_ns = context.monotonic_ns() + context.timeouts.patience_ns
            try:
                self.exchange.client_gone()
            except Exception as error:
                self.exchange.crashed(error)

    def break_off(self) -> None:
        """Reset: a FIN would look like the clean end of a close-delimited response."""
        self._state = CLOSED
        sock = self.transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()

    def abort(self) -> None:
        """Close now, without a response."""
        self._state = CLOSED
        self.transport.abort()

    def _read_last_words(self) -> None:
        """Pass what had arrived before the connection was lost through the tunnel."""
        try:
            with closing(last_words(self.transport)) as words:
                for data in words:
                    self.exchange.client_data(data)
        except Exception as error:
            self.exchange.crashed(error)

    # --- when all slots are taken (Client)

    def spare_rank(self) -> int:
        """Since when it has been idle, in ns. Above all of these: when it stops lingering. Above those: since
        when it has sent only a part of a head, if that is long enough. -1 if none of these applies."""
        if self._state == HEAD:
            if self.transport.get_write_buffer_size():
                return -1
            timeouts = self._context.timeouts
            if self._ahead.holds_head():
                begun_ns = self.deadline_ns - timeouts.request_head_ns
                is_slow = self._context.monotonic_ns() - begun_ns >= SLOW_NS
                return SLOW + max(begun_ns, 0) if is_slow else -1
            idle_ns = timeouts.request_head_ns if self._head is None else timeouts.client_idle_ns
            return max(self.deadline_ns - idle_ns, 0)  # below 0 if another deadline was set
        return _LINGERING + self._linger_end_ns if self._state == LINGER else -1

    def make_room(self) -> bool:
        """Close, for another client; returns whether it did. It does not if a request has arrived that is not
        read yet: closing would answer it with a reset."""
        if self._state == HEAD:
            if has_arrived(self.transport):
                return False
            self._state = CLOSED
            self.transport.close()
        else:
            self.abort()
        return True

    # --- the sweep's calls (Client)

    def check_deadline(self, now_ns: int) -> None:
        stream = self._stream
        untaken = self.transport.get_write_buffer_size()
        progress, stream.last_untaken = untaken != stream.last_untaken, untaken
        if untaken and progress:
            self.deadline_ns = now_ns + self._context.timeouts.patience_ns  # slow, but it reads
        elif untaken:
            self.break_off()  # a part of its response is lost, and the client must see that
        elif self._state == LINGER and progress:
            self._begin_lingering(now_ns)  # it has just taken all
        elif self._state == HEAD and self._ahead.holds_head():
            self.refuse(ProtocolError(HEAD_TIMEOUT, ""), self._ahead.take())
        else:
            self._state = CLOSED
            self.transport.close()

    def cut_off(self) -> None:
        if self.exchange.active:
            self.exchange.cut_off()
        if self._state != CLOSED:
            self.abort()

    def forget_head(self) -> None:
        head = self._head
        if head is not None:
            head.raw = b""

    def drain(self) -> None:
        if self._state == HEAD and not self._ahead.holds_head():
            grace = self._context.monotonic_ns() + self._context.grace_ns
            self.deadline_ns = min(self.deadline_ns, grace)

    @property
    def paused_fd(self) -> int:
        return descriptor(self.transport) if self._intake.held else -1

    def peer_vanished(self, events: int) -> None:
        if self._state == TUNNEL:  # a FIN is still to be read, after the data sent before it
            tunnel = self.exchange.tunnel
            if tunnel is not None and not tunnel.has_lost_client(events):
                return
            self._read_last_words()
        self._leave()
        self.abort()
