"""One client connection: frames requests out of its bytes and hands them to its exchange, one at a time.

The first stop in the way of a request. Pipelined requests wait in `_held`, so responses go out in order by
construction. A client is read also while its request is being served: that is how we learn that it left.
"""

import asyncio
import socket
import struct
from typing import TYPE_CHECKING

from balancer.errors import (
    BODY_TOO_LARGE,
    HEAD_TIMEOUT,
    HEAD_TOO_LARGE,
    MALFORMED_REQUEST,
    TOO_MANY_CONNECTIONS,
    ProtocolError,
)
from balancer.http.body import BodyDecoder, body_decoder
from balancer.http.forwarding import Peer
from balancer.http.framing import NO_BODY
from balancer.http.head import HEAD_END, RequestHead, parse_request_head
from balancer.http.syntax import refuse_early
from balancer.proxy.exchange import Exchange
from balancer.proxy.tunnel import Tunnel

if TYPE_CHECKING:
    from balancer.proxy.proxy import Proxy

_HELD_LIMIT = 64 * 1024  # bytes read ahead of the running exchange
# Held, and yet no request has begun: old clients end a body with CRLF (RFC 9112 section 2.2).
_NO_HEAD = (b"", b"\r", b"\r\n")
_LINGER_NS = 30_000_000_000  # in all, while the client goes on sending
_LINGER_IDLE_NS = 5_000_000_000
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, for 0 seconds: close sends RST

# What the next bytes are.
_HEAD, _BODY, _HOLD, _TUNNEL, _LINGER, _CLOSED = range(6)


class ClientConnection(asyncio.Protocol):
    """The asyncio protocol of one client connection. `deadline_ns` is looked at by the sweep."""

    __slots__ = ("_body", "_exchange", "_head", "_held", "_linger_end_ns", "_proxy",
                 "_read_paused", "_reading", "_state", "_tunnel", "_unsent", "admitted",
                 "deadline_ns", "peer", "transport", "write_paused")  # fmt: skip

    transport: asyncio.Transport
    peer: Peer

    def __init__(self, proxy: "Proxy") -> None:
        # for the connection's life
        self._proxy = proxy
        self._exchange = Exchange(self, proxy)
        self._state = _HEAD
        self._held = b""  # read, but not yet looked at
        self._reading = False  # inside `_read_requests`: an exchange that ends there does not start the next
        self._read_paused = False
        self._linger_end_ns = 0
        self._unsent = 0  # bytes the client had not taken at its last deadline
        self.admitted = False  # counted against the limit on connections
        self.write_paused = False
        self.deadline_ns = 0
        # for one request
        self._head: RequestHead | None = None
        self._body: BodyDecoder | None = None
        self._tunnel: Tunnel | None = None

    # --- asyncio's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # asyncio's stub says BaseTransport
        proxy = self._proxy
        peername = transport.get_extra_info("peername")
        self.peer = proxy.forwarding.peer(peername[0] if peername else "")
        self.deadline_ns = proxy.monotonic_ns() + proxy.timeouts.request_head_ns
        self.admitted = proxy.connection_opened(self)
        if not self.admitted:
            self.refuse(ProtocolError(TOO_MANY_CONNECTIONS, "the limit on client connections is reached"))

    def data_received(self, data: bytes) -> None:
        try:
            state = self._state
            if state == _HEAD:
                self._read_requests(self._held + data if self._held else data)
            elif state == _BODY:
                self._read_body(data)
            elif state == _HOLD:
                self._held += data
                if len(self._held) > _HELD_LIMIT:
                    self._pause_reading()
            elif state == _TUNNEL:
                assert self._tunnel is not None
                self._tunnel.from_client(data)
            elif state == _LINGER:
                self.deadline_ns = min(self._proxy.monotonic_ns() + _LINGER_IDLE_NS, self._linger_end_ns)
        except Exception as error:
            self._exchange.crashed(error)
            if self._state in (_HEAD, _BODY):
                self.abort()

    def eof_received(self) -> None:
        """FIN: the client has left, as nginx sees it; after this the transport closes itself."""
        self._leave()

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()
        self._proxy.connection_closed(self)

    def pause_writing(self) -> None:
        self.write_paused = True
        if self._exchange.active:
            self._exchange.client_paused(True)

    def resume_writing(self) -> None:
        self.write_paused = False
        if self._exchange.active:
            self._exchange.client_paused(False)
        elif self._state == _HEAD:
            self._resume_reading()
            if self._held:
                self._read_held()

    # --- the exchange's calls

    def read_on(self, wanted: bool) -> None:
        """Whether more of the request's body, or of the tunnel, can be used now."""
        if wanted:
            self._resume_reading()
        elif self._state == _BODY or self._state == _TUNNEL:
            self._pause_reading()

    def begin_tunnel(self, tunnel: Tunnel) -> None:
        """What was read ahead, and all that follows, belongs to the tunnel."""
        self._state = _TUNNEL
        self._tunnel = tunnel
        held, self._held = self._held, b""
        if held:
            tunnel.from_client(held)
        self._resume_reading()

    def exchange_ended(self, close: bool, now_ns: int) -> None:
        """The response is written. `close`: it was the last one on this connection."""
        if self._state == _CLOSED:
            return
        if close:
            if self._state == _TUNNEL or (self._state == _HOLD and not self._held):
                self._state = _CLOSED
                self.transport.close()
            else:
                self._linger()
            return
        self._state = _HEAD
        if self._proxy.draining and self._held in _NO_HEAD:
            self.drain()
            return
        self.deadline_ns = now_ns + self._proxy.timeouts.client_idle_ns
        if self._read_paused:
            self._resume_reading()
        if self._held and not self._reading:
            self._read_held()

    def break_off(self) -> None:
        """End with a reset. A FIN would look like the clean end of a close-delimited response."""
        self._state = _CLOSED
        sock = self.transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()

    def abort(self) -> None:
        """Close now, without a word."""
        self._state = _CLOSED
        self.transport.abort()

    # --- the sweep's calls

    def check_deadline(self, now: int) -> None:
        """End whatever has waited for too long. `now` is past `deadline_ns`."""
        unsent = self.transport.get_write_buffer_size()
        progress, self._unsent = unsent != self._unsent, unsent
        if unsent and progress and self._state != _LINGER:
            self.deadline_ns = now + self._proxy.timeouts.idle_ns  # slow, but it reads
        elif self._exchange.active:
            try:
                self._exchange.deadline_passed()
            except Exception as error:
                self._exchange.crashed(error)
        elif self._state == _HEAD and self._held not in _NO_HEAD and not unsent:
            self.refuse(ProtocolError(HEAD_TIMEOUT, "the request head did not arrive in time"))
        else:
            self.abort()

    def check_total(self, now: int) -> None:
        """Hold the running exchange, if any, to the total timeout."""
        if self._exchange.active:
            self._exchange.check_total(now)

    def cut_off(self) -> None:
        """The time to drain is over: what has not been answered gets 503, what has begun a reset."""
        if self._exchange.active:
            self._exchange.cut_off()
        if self._state != _CLOSED:
            self.abort()

    def drain(self) -> None:
        """Close if no request is running or has begun to arrive."""
        if self._state == _HEAD and self._held in _NO_HEAD:
            self._state = _CLOSED
            self.transport.close()

    @property
    def paused_fd(self) -> int:
        """The descriptor if reading is paused, when only polling tells that the client left; else -1."""
        return self.transport.get_extra_info("socket").fileno() if self._read_paused else -1

    def peer_vanished(self) -> None:
        """Polling says that the client has closed while it was not being read."""
        self._leave()
        self.abort()

    # --- reading requests

    def _read_held(self) -> None:
        held, self._held = self._held, b""
        try:
            self._read_requests(held)
        except Exception as error:
            self._exchange.crashed(error)

    def _read_requests(self, data: bytes) -> None:
        """Start an exchange for each whole head in `data`, as long as they end at once."""
        proxy = self._proxy
        limits = proxy.limits
        exchange = self._exchange
        self._reading = True
        try:
            while True:
                if self.write_paused:  # it does not read its responses: no more of them
                    self._held = data
                    self._pause_reading()
                    return
                end = data.find(HEAD_END) + 4
                if end < 4 or end > limits.header_bytes:
                    self._wait_for_head(data)
                    return
                size = len(data)
                head = self._head = parse_request_head(
                    data if end == size else data[:end], limits.uri_bytes, limits.header_count, self._head
                )
                if head.length == NO_BODY:
                    self._state = _HOLD
                    self._held = data[end:] if end < size else b""
                    exchange.start(head, b"", True)
                else:
                    self._begin_body(head, data[end:])
                if self._state != _HEAD or not self._held:
                    return
                data = self._held
                self._held = b""
        except ProtocolError as error:
            self.refuse(error)
        finally:
            self._reading = False

    def _wait_for_head(self, data: bytes) -> None:
        limits = self._proxy.limits
        refuse_early(data[: limits.header_bytes + 1], limits.uri_bytes)
        if len(data) > limits.header_bytes:
            raise ProtocolError(HEAD_TOO_LARGE, f"more than {limits.header_bytes} bytes of head")
        if self._held in _NO_HEAD and data not in _NO_HEAD:
            self.deadline_ns = self._proxy.monotonic_ns() + self._proxy.timeouts.request_head_ns
        self._held = data

    def _begin_body(self, head: RequestHead, data: bytes) -> None:
        self._check_size(head.length)
        limit = self._proxy.limits.header_bytes
        decoder = self._body = body_decoder(head.length, MALFORMED_REQUEST, limit)
        body = decoder.feed(data)
        self._check_size(len(body))
        whole = decoder.done and not decoder.trailers
        self._state = _HOLD if decoder.done else _BODY
        self._held = decoder.surplus
        self._exchange.start(head, body, whole)
        if decoder.done and decoder.trailers and self._exchange.active:
            self._exchange.request_body(b"", True, decoder.trailers)

    def _read_body(self, data: bytes) -> None:
        exchange = self._exchange
        decoder = self._body
        assert decoder is not None
        try:
            body = decoder.feed(data)
            self._check_size(exchange.request_bytes + len(body))
        except ProtocolError as error:
            exchange.request_broken(error)
            return
        if decoder.done:
            self._state = _HOLD
            self._held = decoder.surplus
            exchange.request_body(body, True, decoder.trailers)
        elif body:
            exchange.request_body(body, False, b"")

    def _check_size(self, size: int) -> None:
        limit = self._proxy.limits.body_bytes
        if limit and size > limit:
            raise ProtocolError(BODY_TOO_LARGE, f"more than {limit} bytes of body")

    # --- ends

    def refuse(self, error: ProtocolError) -> None:
        """Answer what never became an exchange, and close."""
        self._held = b""
        self.transport.write(self._proxy.refusal(self.peer, error.failure))
        self._linger()

    def _linger(self) -> None:
        """Close, but let the response arrive first.

        Closing with unread bytes would send a reset, and that may destroy the response before the client
        has read it (RFC 9112 section 9.6). So: FIN, and read what comes for a while.
        """
        self._held = b""
        self._state = _LINGER
        now = self._proxy.monotonic_ns()
        self._linger_end_ns = now + _LINGER_NS
        self.deadline_ns = now + _LINGER_IDLE_NS
        self._resume_reading()
        if self.transport.can_write_eof() and not self.transport.is_closing():
            self.transport.write_eof()

    def _leave(self) -> None:
        self._state = _CLOSED
        self._held = b""
        if self._exchange.active:
            try:
                self._exchange.client_gone()
            except Exception as error:
                self._exchange.crashed(error)

    def _pause_reading(self) -> None:
        if not self._read_paused and not self.transport.is_closing():
            self._read_paused = True
            self.transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._read_paused and not self.transport.is_closing():
            self._read_paused = False
            self.transport.resume_reading()
