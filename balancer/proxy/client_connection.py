"""One client connection: frames requests out of its bytes and hands them to its exchange, one at a time.

The first stop in the way of a request. Pipelined requests wait in `_ahead`, so responses go out in order by
construction. A client is read also while its request is being served: that is how we learn that it left.
"""

import asyncio
import select
import socket
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from balancer.connections.intake import LARGE_READ, MOST_READ, Intake
from balancer.connections.last_words import broke_at_end
from balancer.errors import (
    HEAD_TIMEOUT,
    HEAD_TOO_LARGE,
    INTERNAL_ERROR,
    MALFORMED_REQUEST,
    ProtocolError,
)
from balancer.http.body import BodyDecoder, body_decoder
from balancer.http.forwarding import Peer
from balancer.http.framing import CHUNKED, NO_BODY
from balancer.http.head import HEAD_END, RequestHead, parse_request_head
from balancer.http.syntax import refuse_early
from balancer.proxy.exchange import Exchange
from balancer.proxy.overdue import deadline_passed, total_passed
from balancer.proxy.read_ahead import ReadAhead
from balancer.proxy.tunnel import Tunnel

if TYPE_CHECKING:
    from balancer.proxy.proxy import Proxy

_AHEAD_LIMIT = 32 * 1024  # bytes read ahead of the running exchange: above, reading pauses
_AHEAD_LOW = 16 * 1024  # at most so many left: it goes on
_REQUESTS_A_TURN = 16  # that end at once, as refused ones do, before the connection rests
_START = len(b"\r\nHEAD ")  # of a head: enough to tell that it is for HEAD
_SURPLUS_LIMIT = 100  # clients beyond the limits on connections that may linger with their refusal
_DRAIN_GRACE_NS = 1_000_000_000  # for an idle client's next request, which may be on its way
_LINGER_NS = 30_000_000_000  # in all, while the client goes on sending
_LINGER_IDLE_NS = 5_000_000_000
_PATIENCE_NS = 60_000_000_000  # where no shorter idle timeout is set
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, for 0 seconds: close sends RST

_LINGERING = 1 << 62  # above the time of any clock, in ns

# What the next bytes are.
_HEAD, _BODY, _HOLD, _TUNNEL, _TUNNEL_ENDED, _LINGER, _CLOSED = range(7)


class ClientConnection(asyncio.Protocol):
    """The asyncio protocol of one client connection. `deadline_ns` is looked at by the sweep."""

    __slots__ = ("_ahead", "_body", "_exchange", "_head", "_head_started", "_intake", "_linger_end_ns",
                 "_proxy", "_reading", "_searched", "_state", "_tunnel", "_unsent",
                 "admitted", "deadline_ns", "peer", "transport", "write_paused")  # fmt: skip

    transport: asyncio.Transport
    peer: Peer
    _intake: Intake

    def __init__(self, proxy: "Proxy") -> None:
        # for the connection's life
        self._proxy = proxy
        self._exchange = Exchange(self, proxy)
        self._state = _HEAD
        self._ahead = ReadAhead()
        self._head_started = False  # a part of a head has come, and its deadline is set
        self._searched = 0  # bytes of it in which it does not end, and nothing is wrong so far
        self._reading = False  # inside `_read_requests`: an exchange that ends there does not start the next
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
        self._intake = Intake(self, proxy.connector.turns)
        self.transport.set_write_buffer_limits(
            high=0
        )  # what the client does not take is not taken from the app
        peername = transport.get_extra_info("peername")
        self.peer = proxy.forwarding.peer(peername[0] if peername else "")
        self.deadline_ns = proxy.monotonic_ns() + proxy.timeouts.request_head_ns
        refused = proxy.connection_opened(self)
        if refused is not None:
            self.refuse(ProtocolError(refused, ""))
            if proxy.surplus > _SURPLUS_LIMIT:
                self.transport.close()  # at the risk that it does not see why: lingering takes descriptors

    def data_received(self, data: bytes) -> None:
        try:
            state = self._state
            if state == _HEAD:
                if self._ahead.data:
                    self._read_requests(self._ahead.take() + data, 0, self._searched)
                else:
                    self._read_requests(data, 0, 0)
            elif state == _BODY:
                self._read_body(data)
            elif state == _HOLD:
                self._ahead.put(self._ahead.take() + data, 0)
                if len(self._ahead) > _AHEAD_LIMIT:
                    self._intake.hold()
                    self._intake.rest()  # and from then on it is read in small pieces
            elif state == _TUNNEL:
                assert self._tunnel is not None
                self._tunnel.from_client(data)
            elif state == _LINGER and self.transport.get_write_buffer_size() == 0:
                self.deadline_ns = min(self._proxy.monotonic_ns() + _LINGER_IDLE_NS, self._linger_end_ns)
            if len(data) >= LARGE_READ:
                chunked = self._head is not None and self._head.length == CHUNKED
                self._intake.rest(LARGE_READ if chunked else MOST_READ)
        except Exception as error:
            self._crashed(error)

    def go_on(self) -> None:
        """The next turn, after a rest."""
        try:
            if self._state == _BODY:
                if self._body is not None and self._body.more:
                    self._read_body(b"")
            elif self._state == _HEAD and self._ahead.data:
                self._read_ahead()
        except Exception as error:
            self._crashed(error)

    def outlet(self) -> asyncio.Transport | None:
        """The upstream's transport, where what is read goes to it."""
        attempt = self._exchange.attempt
        if attempt is None or (self._state != _BODY and self._state != _TUNNEL):
            return None
        return attempt.connection.transport

    def eof_received(self) -> bool:
        """FIN: the client has left, as nginx sees it; after this the transport closes itself. In a tunnel it
        has ended its own direction only, and the transport stays open for the other one."""
        if self._state != _TUNNEL or broke_at_end(self.transport):
            self._leave()
            return False
        assert self._tunnel is not None
        self._state = _TUNNEL_ENDED
        try:
            self._tunnel.client_half_closed()
        except Exception as error:
            self._exchange.crashed(error)
        return self._exchange.active

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None and self._state == _TUNNEL:
            self._read_last_words()
        self._leave()
        self._proxy.connection_closed(self)
        # Else only a collection would free them: they refer to this connection.
        self._exchange.dissolve()
        self._intake.relax()
        self._tunnel = None
        del self._exchange, self._intake

    def pause_writing(self) -> None:
        self.write_paused = True
        self._unsent = self.transport.get_write_buffer_size()
        try:
            if self._exchange.active:
                self._exchange.client_paused(True)
        except Exception as error:
            self._crashed(error)

    def resume_writing(self) -> None:
        self.write_paused = False
        try:
            if self._exchange.active:
                self._exchange.client_paused(False)
            elif self._state == _HEAD:
                if len(self._ahead) <= _AHEAD_LOW:
                    self._intake.resume()
                if self._ahead.data:
                    self._read_ahead()
        except Exception as error:
            self._crashed(error)

    # --- the exchange's calls

    def read_on(self, wanted: bool) -> None:
        """Whether more of the request's body, or of the tunnel, can be used now."""
        if wanted:
            self._intake.resume()
        elif self._state == _BODY or self._state == _TUNNEL:
            self._intake.hold()

    def begin_tunnel(self, tunnel: Tunnel) -> None:
        """What was read ahead, and all that follows, belongs to the tunnel."""
        self._state = _TUNNEL
        self._tunnel = tunnel
        ahead = self._ahead.take()
        self._intake.resume()  # before the upstream may ask to pause
        if ahead:
            tunnel.from_client(ahead)

    def exchange_ended(self, close: bool, now_ns: int) -> None:
        """The response is written. `close`: it was the last one on this connection."""
        if self._state == _CLOSED:
            return
        if close:
            if self._tunnel is not None or (self._state == _HOLD and not self._ahead.holds_head()):
                self._state = _CLOSED
                self.deadline_ns = now_ns + self._patience_ns()  # for what is still to be written
                self.transport.close()
            else:
                self._linger()
            return
        self._state = _HEAD
        self._head_started = False
        self._searched = 0
        self.deadline_ns = now_ns + self._proxy.timeouts.client_idle_ns
        if self._proxy.draining:
            self.drain()
        if self._intake.strained:
            if not self._ahead.data:
                self._intake.relax()
            if len(self._ahead) <= _AHEAD_LOW:
                self._intake.resume()
        if self._ahead.data and not self._reading:
            self._read_ahead()

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

    # --- when all slots are taken (admission.Guest)

    def spare_rank(self) -> int:
        """Since when it has been idle, in ns; above all of these, when it ends to linger; -1 where it is
        neither."""
        if self._state == _HEAD:
            if self._ahead.holds_head() or self.transport.get_write_buffer_size():
                return -1
            timeouts = self._proxy.timeouts
            idle_ns = timeouts.request_head_ns if self._head is None else timeouts.client_idle_ns
            return max(self.deadline_ns - idle_ns, 0)  # below 0 where its deadline was another one
        return _LINGERING + self._linger_end_ns if self._state == _LINGER else -1

    def make_room(self) -> bool:
        """Close, for another client. Not where a request has come that is only not read yet: closing would
        answer it with a reset."""
        if self._state == _HEAD:
            fd = self.transport.get_extra_info("socket").fileno()
            if fd >= 0:
                poll = select.poll()
                poll.register(fd, select.POLLIN | select.POLLRDHUP)
                for _, events in poll.poll(0):
                    if events & select.POLLIN and not events & select.POLLRDHUP:
                        return False
            self._state = _CLOSED
            self.transport.close()
        else:
            self.abort()
        return True

    # --- the sweep's calls

    @property
    def exchange(self) -> Exchange:
        """The request that runs, or the last one that did."""
        return self._exchange

    def give_back(self, late_ns: int) -> None:
        """This worker was late: whoever waits has so much more time."""
        self.deadline_ns += late_ns
        self._exchange.late_ns += late_ns

    def check_deadline(self, now: int) -> None:
        """End whatever has waited for too long. `now` is past `deadline_ns`."""
        unsent = self.transport.get_write_buffer_size()
        progress, self._unsent = unsent != self._unsent, unsent
        if unsent and progress and (self._exchange.response_begun or not self._exchange.active):
            self.deadline_ns = now + self._patience_ns()  # slow, but it reads
        elif self._exchange.active:
            self._overdue(deadline_passed)
        elif unsent:
            self.break_off()  # a part of its response is lost, and it shall know
        elif self._state == _LINGER and progress:
            self._begin_lingering(now)  # it has only just taken all
        elif self._state == _HEAD and self._ahead.holds_head():
            self.refuse(ProtocolError(HEAD_TIMEOUT, ""), self._ahead.take())
        else:
            self._state = _CLOSED
            self.transport.close()

    def check_total(self, now: int) -> None:
        """Hold the running exchange, if any, to the total timeout."""
        if self.exceeds_total(now):
            self._overdue(total_passed)

    def exceeds_total(self, now: int) -> bool:
        """Whether the running exchange, if any, has taken longer than a whole one may."""
        exchange = self._exchange
        lasted_ns = now - exchange.started_ns - exchange.late_ns
        return exchange.active and lasted_ns > self._proxy.timeouts.total_ns

    def _patience_ns(self) -> int:
        """How long a client may take nothing of what is written to it."""
        return min(self._proxy.timeouts.idle_ns, _PATIENCE_NS)

    def _overdue(self, end: Callable[[Exchange], None]) -> None:
        try:
            end(self._exchange)
        except Exception as error:
            self._exchange.crashed(error)

    def cut_off(self) -> None:
        """The time to drain is over: what has not been answered gets 503, what has begun a reset."""
        if self._exchange.active:
            self._exchange.cut_off()
        if self._state != _CLOSED:
            self.abort()

    def drain(self) -> None:
        """No more requests but one that is on its way: closing at once would lose it."""
        if self._state == _HEAD and not self._ahead.holds_head():
            grace = self._proxy.monotonic_ns() + _DRAIN_GRACE_NS
            self.deadline_ns = min(self.deadline_ns, grace)

    @property
    def paused_fd(self) -> int:
        """The descriptor if reading is paused, when only polling tells that the client left; else -1."""
        return self.transport.get_extra_info("socket").fileno() if self._intake.held else -1

    def peer_vanished(self, events: int) -> None:
        """Polling says that the client has closed while it was not being read.

        A FIN into a tunnel is still to be read, behind what it has sent before.
        """
        if self._state == _TUNNEL:
            assert self._tunnel is not None
            if not self._tunnel.has_lost_client(events):
                return
            self._read_last_words()
        self._leave()
        self.abort()

    # --- reading requests

    def _read_ahead(self) -> None:
        data, start = self._ahead.data, self._ahead.start
        self._ahead.put(b"", 0)
        try:
            self._read_requests(data, start, start + self._searched)
        except Exception as error:
            self._crashed(error)

    def _read_requests(self, data: bytes, start: int, search: int) -> None:
        """Start an exchange for each whole head in `data` from `start` on, as long as they end at once.

        Before `search` the first one does not end.
        """
        proxy = self._proxy
        limits = proxy.limits
        exchange = self._exchange
        ahead = self._ahead
        self._reading = True
        begun = 0
        try:
            while True:
                if self.write_paused:  # it does not read its responses: no more of them
                    ahead.put(data, start)
                    self._intake.hold()
                    return
                end = data.find(HEAD_END, search) + 4
                if end < 4 or end - start > limits.header_bytes:
                    self._wait_for_head(data[start:])
                    return
                # A slice of the whole is no copy.
                head = self._head = parse_request_head(
                    data[start:end],
                    limits.uri_bytes,
                    limits.header_count,
                    self._head,
                    proxy.request_fields,
                )
                if head.length == NO_BODY:
                    self._state = _HOLD
                    if end < len(data):
                        ahead.put(data, end)
                    exchange.start(head, b"", True)
                else:
                    self._begin_body(head, data[end:])
                if self._state != _HEAD or not ahead.data:
                    return
                begun += 1
                if begun == _REQUESTS_A_TURN:
                    self._intake.rest()
                    return
                data, start = ahead.data, ahead.start
                search = start
                ahead.put(b"", 0)
        except ProtocolError as error:
            self.refuse(error, data[start : start + _START])
        finally:
            self._reading = False

    def _wait_for_head(self, data: bytes) -> None:
        limits = self._proxy.limits
        refuse_early(data[: limits.header_bytes + 1], limits.uri_bytes, self._searched)
        if len(data) > limits.header_bytes:
            raise ProtocolError(HEAD_TOO_LARGE, f"more than {limits.header_bytes} bytes of head")
        self._ahead.put(data, 0)
        self._searched = max(len(data) - 3, 0)
        if self._ahead.holds_head() and not self._head_started:
            self._head_started = True
            self.deadline_ns = self._proxy.monotonic_ns() + self._proxy.timeouts.request_head_ns
        self._intake.resume()

    def _begin_body(self, head: RequestHead, data: bytes) -> None:
        exchange = self._exchange
        limits = self._proxy.limits
        try:
            decoder = body_decoder(head.length, MALFORMED_REQUEST, limits.header_bytes, limits.body_bytes)
            body = decoder.feed(data)
        except ProtocolError as error:  # before anything of it reaches an app
            self._state = _BODY
            exchange.refuse(head, error)
            return
        self._body = decoder
        self._state = _HOLD if decoder.done else _BODY
        self._ahead.put(decoder.surplus, 0)
        if not decoder.done:
            self._intake.resume()
        if decoder.more:
            self._intake.rest(LARGE_READ)
        trailers = decoder.trailers and self._proxy.request_fields.passed_trailers(decoder.trailers)
        exchange.start(head, body, decoder.done and not trailers)
        if trailers and exchange.active:
            exchange.request_body(b"", True, trailers)

    def _read_body(self, data: bytes) -> None:
        exchange = self._exchange
        decoder = self._body
        assert decoder is not None
        try:
            body = decoder.feed(data)
        except ProtocolError as error:
            exchange.client_failed(error.failure, error.detail)
            return
        if decoder.more:
            self._intake.rest(LARGE_READ)
        if decoder.done:
            self._state = _HOLD
            self._ahead.put(decoder.surplus, 0)
            trailers = decoder.trailers
            if trailers:
                trailers = self._proxy.request_fields.passed_trailers(trailers)
            exchange.request_body(body, True, trailers)
        elif body:
            exchange.request_body(body, False, b"")

    def _read_last_words(self) -> None:
        """What had arrived before the connection broke goes through the tunnel."""
        assert self._tunnel is not None
        try:
            self._tunnel.read_last_words(self.transport)
        except Exception as error:
            self._exchange.crashed(error)

    # --- ends

    def refuse(self, error: ProtocolError, head: bytes = b"") -> None:
        """Answer what never became an exchange, and close. `head` is how it began."""
        self._ahead.put(b"", 0)
        head_only = head[:_START].lstrip(b"\r\n").startswith(b"HEAD ")  # RFC 9110 section 9.3.2
        self.transport.write(self._proxy.refusal(self.peer, error.failure, error.detail, head_only))
        self._linger()

    def _linger(self) -> None:
        """Close, but let the response arrive first.

        Closing with unread bytes would send a reset, and that may destroy the response before the client
        has read it (RFC 9112 section 9.6). So: FIN, and read what comes for a while.
        """
        self._ahead.put(b"", 0)
        self._state = _LINGER
        self._begin_lingering(self._proxy.monotonic_ns())
        self._intake.resume()
        if self.transport.can_write_eof() and not self.transport.is_closing():
            self.transport.write_eof()

    def _begin_lingering(self, now: int) -> None:
        self._linger_end_ns = now + _LINGER_NS
        self.deadline_ns = now + _LINGER_IDLE_NS

    def _crashed(self, error: Exception) -> None:
        """A bug of ours. An exchange that runs is answered; else nobody knows where this connection is."""
        fresh = self._state == _HOLD and not self._exchange.active and not self._exchange.response_begun
        self._exchange.crashed(error)
        if fresh:
            head = self._head
            self.refuse(ProtocolError(INTERNAL_ERROR, ""), head.method + b" " if head is not None else b"")
        elif self._state in (_HEAD, _BODY, _HOLD) and not self._exchange.active:
            self.abort()

    def _leave(self) -> None:
        self._state = _CLOSED
        self._ahead.put(b"", 0)
        if self._exchange.active:
            try:
                self._exchange.client_gone()
            except Exception as error:
                self._exchange.crashed(error)
