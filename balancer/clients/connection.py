"""One HTTP/1.1 client connection: frames requests out of its bytes and starts its exchange, one at a time.

The first stop in the way of a request. Pipelined requests wait in `_ahead`, so responses go out in order by
construction. A client is read also while its request is being served: that is how we learn that it left.
"""

import asyncio
import select
import socket
import struct
from contextlib import closing

from balancer.clients.context import ClientContext
from balancer.clients.read_ahead import ReadAhead
from balancer.clients.stream import Http1Stream, StreamOwner
from balancer.connections.intake import LARGE_READ, MOST_READ, Intake
from balancer.connections.last_words import broke_at_end, last_words
from balancer.connections.roles import Outlet
from balancer.errors import (
    HEAD_TIMEOUT,
    HEAD_TOO_LARGE,
    INTERNAL_ERROR,
    MALFORMED_REQUEST,
    ProtocolError,
)
from balancer.http.body import BodyDecoder, body_decoder
from balancer.http.framing import CHUNKED, NO_BODY
from balancer.http.head import HEAD_END, RequestHead, parse_request_head
from balancer.http.syntax import refuse_early
from balancer.proxy.exchange import Exchange

_AHEAD_LIMIT = 32 * 1024  # bytes read ahead of the running exchange: above, reading pauses
_AHEAD_LOW = 16 * 1024  # at most so many left: it goes on
_REQUESTS_A_TURN = 16  # that end at once, as refused ones do, before the connection rests
_START = len(b"\r\nHEAD ")  # of a head: enough to tell that it is for HEAD
_SURPLUS_LIMIT = 100  # clients beyond the limits on connections that may linger with their refusal
_DRAIN_GRACE_NS = 1_000_000_000  # for an idle client's next request, which may be on its way
_LINGER_NS = 30_000_000_000  # in all, while the client goes on sending
_LINGER_IDLE_NS = 5_000_000_000
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, for 0 seconds: close sends RST

_LINGERING = 1 << 62  # above the time of any clock, in ns

# What the next bytes are.
_HEAD, _BODY, _HOLD, _TUNNEL, _TUNNEL_ENDED, _LINGER, _CLOSED = range(7)


class ClientConnection(StreamOwner):
    """To asyncio it is a protocol, by its methods."""

    __slots__ = ("_ahead", "_body", "_context", "_head", "_head_started", "_intake", "_linger_end_ns",
                 "_reading", "_searched", "_state", "_stream", "transport")  # fmt: skip

    transport: asyncio.Transport
    _intake: Intake
    _stream: Http1Stream

    def __init__(self, context: ClientContext) -> None:
        # for the connection's life
        self._context = context
        self._state = _HEAD
        self._ahead = ReadAhead()
        self._head_started = False  # a part of a head has come, and its deadline is set
        self._searched = 0  # bytes of it in which it does not end, and nothing is wrong so far
        self._reading = False  # inside `_read_requests`: an exchange that ends there does not start the next
        self._linger_end_ns = 0
        self.admitted = False
        self.deadline_ns = 0
        # for one request
        self._head: RequestHead | None = None
        self._body: BodyDecoder | None = None

    # --- asyncio's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        self.transport = transport  # type: ignore[assignment]  # asyncio's stub says BaseTransport
        context = self._context
        self._intake = Intake(self, context.proxy.connector.turns)
        # What the client does not take is not taken from the app.
        self.transport.set_write_buffer_limits(high=0)
        peername = transport.get_extra_info("peername")
        self.peer = context.forwarding.peer(peername[0] if peername else "")
        self._stream = Http1Stream(self, self.transport, self.peer, context)
        self.exchange = Exchange(self._stream, context.proxy, context.journal)
        self.deadline_ns = context.monotonic_ns() + context.timeouts.request_head_ns
        refused = context.opened(self)
        if refused is not None:
            self.refuse(ProtocolError(refused, ""))
            if context.surplus > _SURPLUS_LIMIT:
                self.transport.close()  # at the risk that it does not see why: lingering takes descriptors

    def data_received(self, data: bytes) -> None:
        """Bytes have arrived."""
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
                self.exchange.client_data(data)
            elif state == _LINGER and self.transport.get_write_buffer_size() == 0:
                self.deadline_ns = min(self._context.monotonic_ns() + _LINGER_IDLE_NS, self._linger_end_ns)
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

    def outlet(self) -> Outlet | None:
        """The upstream, where what is read goes to it."""
        attempt = self.exchange.attempt
        if attempt is None or (self._state != _BODY and self._state != _TUNNEL):
            return None
        return attempt.connection

    def eof_received(self) -> bool:
        """FIN: the client has left, as nginx sees it; after this the transport closes itself. In a tunnel it
        has ended its own direction only, and the transport stays open for the other one."""
        if self._state != _TUNNEL or broke_at_end(self.transport):
            self._leave()
            return False
        self._state = _TUNNEL_ENDED
        try:
            self.exchange.client_half_closed()
        except Exception as error:
            self.exchange.crashed(error)
        return self.exchange.active

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, by an error or, with None, as either side has closed it."""
        if exc is not None and self._state == _TUNNEL:
            self._read_last_words()
        self._leave()
        self._context.closed(self)
        # Else only a collection would free them: they refer to this connection.
        self.exchange.dissolve()
        self._intake.relax()
        del self.exchange, self._intake, self._stream

    def pause_writing(self) -> None:
        """The client does not take what is written."""
        stream = self._stream
        stream.paused = True
        stream.last_untaken = self.transport.get_write_buffer_size()
        try:
            if self.exchange.active:
                self.exchange.client_paused(True)
        except Exception as error:
            self._crashed(error)

    def resume_writing(self) -> None:
        """It has taken all."""
        self._stream.paused = False
        try:
            if self.exchange.active:
                self.exchange.client_paused(False)
            elif self._state == _HEAD:
                if len(self._ahead) <= _AHEAD_LOW:
                    self._intake.resume()
                if self._ahead.data:
                    self._read_ahead()
        except Exception as error:
            self._crashed(error)

    # --- the stream's calls (StreamOwner)

    def read_on(self, wanted: bool) -> None:
        if wanted:
            self._intake.resume()
        elif self._state == _BODY or self._state == _TUNNEL:
            self._intake.hold()

    def begin_tunnel(self) -> None:
        self._state = _TUNNEL
        ahead = self._ahead.take()
        self._intake.resume()  # before the upstream may ask to pause
        if ahead:
            self.exchange.client_data(ahead)

    def exchange_ended(self, close: bool, now_ns: int) -> None:
        state = self._state
        if state == _CLOSED:
            return
        if close:
            is_tunnel = state in (_TUNNEL, _TUNNEL_ENDED)
            if is_tunnel or (state == _HOLD and not self._ahead.holds_head()):
                self._state = _CLOSED
                self.deadline_ns = (
                    now_ns + self._context.timeouts.patience_ns
                )  # for what is still to be written
                self.transport.close()
            else:
                self._linger()
            return
        self._state = _HEAD
        self._head_started = False
        self._searched = 0
        self.deadline_ns = now_ns + self._context.timeouts.client_idle_ns
        if self._context.draining:
            self.drain()
        if self._intake.strained:
            if not self._ahead.data:
                self._intake.relax()
            if len(self._ahead) <= _AHEAD_LOW:
                self._intake.resume()
        if self._ahead.data and not self._reading:
            self._read_ahead()

    def break_off(self) -> None:
        """A FIN would look like the clean end of a close-delimited response."""
        self._state = _CLOSED
        sock = self.transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()

    def abort(self) -> None:
        """Close now, without a word."""
        self._state = _CLOSED
        self.transport.abort()

    # --- when all slots are taken (Client)

    def spare_rank(self) -> int:
        """Since when it has been idle, in ns; above all of these, when it ends to linger; -1 where it is
        neither."""
        if self._state == _HEAD:
            if self._ahead.holds_head() or self.transport.get_write_buffer_size():
                return -1
            timeouts = self._context.timeouts
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

    # --- the sweep's calls (Client)

    def check_deadline(self, now_ns: int) -> None:
        stream = self._stream
        untaken = self.transport.get_write_buffer_size()
        progress, stream.last_untaken = untaken != stream.last_untaken, untaken
        if untaken and progress:
            self.deadline_ns = now_ns + self._context.timeouts.patience_ns  # slow, but it reads
        elif untaken:
            self.break_off()  # a part of its response is lost, and it shall know
        elif self._state == _LINGER and progress:
            self._begin_lingering(now_ns)  # it has only just taken all
        elif self._state == _HEAD and self._ahead.holds_head():
            self.refuse(ProtocolError(HEAD_TIMEOUT, ""), self._ahead.take())
        else:
            self._state = _CLOSED
            self.transport.close()

    def cut_off(self) -> None:
        if self.exchange.active:
            self.exchange.cut_off()
        if self._state != _CLOSED:
            self.abort()

    def drain(self) -> None:
        if self._state == _HEAD and not self._ahead.holds_head():
            grace = self._context.monotonic_ns() + _DRAIN_GRACE_NS
            self.deadline_ns = min(self.deadline_ns, grace)

    @property
    def paused_fd(self) -> int:
        return self.transport.get_extra_info("socket").fileno() if self._intake.held else -1

    def peer_vanished(self, events: int) -> None:
        if self._state == _TUNNEL:  # a FIN is still to be read, behind what it has sent before
            tunnel = self.exchange.tunnel
            if tunnel is not None and not tunnel.has_lost_client(events):
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
        context = self._context
        limits = context.limits
        exchange = self.exchange
        stream = self._stream
        ahead = self._ahead
        self._reading = True
        begun = 0
        try:
            while True:
                if stream.paused:  # it does not read its responses: no more of them
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
                    context.request_fields,
                )
                stream.head = head
                stream.closes = not head.keep_alive
                if head.length == NO_BODY:
                    self._state = _HOLD
                    stream.whole = True
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
        limits = self._context.limits
        refuse_early(data[: limits.header_bytes + 1], limits.uri_bytes, self._searched)
        if len(data) > limits.header_bytes:
            raise ProtocolError(HEAD_TOO_LARGE, f"more than {limits.header_bytes} bytes of head")
        self._ahead.put(data, 0)
        self._searched = max(len(data) - 3, 0)
        if self._ahead.holds_head() and not self._head_started:
            self._head_started = True
            self.deadline_ns = self._context.monotonic_ns() + self._context.timeouts.request_head_ns
        self._intake.resume()

    def _begin_body(self, head: RequestHead, data: bytes) -> None:
        exchange = self.exchange
        limits = self._context.limits
        try:
            decoder = body_decoder(head.length, MALFORMED_REQUEST, limits.header_bytes, limits.body_bytes)
            body = decoder.feed(data)
        except ProtocolError as error:  # before anything of it reaches an app
            self._state = _BODY
            self._stream.whole = False
            exchange.refuse(head, error)
            return
        self._body = decoder
        self._state = _HOLD if decoder.done else _BODY
        self._stream.whole = decoder.done
        self._ahead.put(decoder.surplus, 0)
        if not decoder.done:
            self._intake.resume()
        if decoder.more:
            self._intake.rest(LARGE_READ)
        trailers = decoder.trailers and self._context.request_fields.passed_trailers(decoder.trailers)
        exchange.start(head, body, decoder.done and not trailers)
        if trailers and exchange.active:
            exchange.request_body(b"", True, trailers)

    def _read_body(self, data: bytes) -> None:
        exchange = self.exchange
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
            self._stream.whole = True
            self._ahead.put(decoder.surplus, 0)
            trailers = decoder.trailers
            if trailers:
                trailers = self._context.request_fields.passed_trailers(trailers)
            exchange.request_body(body, True, trailers)
        elif body:
            exchange.request_body(body, False, b"")

    def _read_last_words(self) -> None:
        """What had arrived before the connection broke goes through the tunnel."""
        try:
            with closing(last_words(self.transport)) as words:
                for data in words:
                    self.exchange.client_data(data)
        except Exception as error:
            self.exchange.crashed(error)

    # --- ends

    def refuse(self, error: ProtocolError, head: bytes = b"") -> None:
        """Answer what never became an exchange, and close. `head` is how it began."""
        self._ahead.put(b"", 0)
        head_only = head[:_START].lstrip(b"\r\n").startswith(b"HEAD ")  # RFC 9110 section 9.3.2
        self.transport.write(self._context.refusal(self.peer, error.failure, error.detail, head_only))
        self._linger()

    def _linger(self) -> None:
        """Close, but let the response arrive first.

        Closing with unread bytes would send a reset, and that may destroy the response before the client
        has read it (RFC 9112 section 9.6). So: FIN, and read what comes for a while.
        """
        self._ahead.put(b"", 0)
        self._state = _LINGER
        self._begin_lingering(self._context.monotonic_ns())
        self._intake.resume()
        if self.transport.can_write_eof() and not self.transport.is_closing():
            self.transport.write_eof()

    def _begin_lingering(self, now: int) -> None:
        self._linger_end_ns = now + _LINGER_NS
        self.deadline_ns = now + _LINGER_IDLE_NS

    def _crashed(self, error: Exception) -> None:
        """A bug of ours. An exchange that runs is answered; else nobody knows where this connection is."""
        fresh = self._state == _HOLD and not self.exchange.active and not self.exchange.response_begun
        self.exchange.crashed(error)
        if fresh:
            head = self._head
            self.refuse(ProtocolError(INTERNAL_ERROR, ""), head.method + b" " if head is not None else b"")
        elif self._state in (_HEAD, _BODY, _HOLD) and not self.exchange.active:
            self.abort()

    def _leave(self) -> None:
        self._state = _CLOSED
        self._ahead.put(b"", 0)
        if self.exchange.active:
            # For what is still to be written; until now the deadline was the exchange's.
            context = self._context
            self.deadline_ns = context.monotonic_ns() + context.timeouts.patience_ns
            try:
                self.exchange.client_gone()
            except Exception as error:
                self.exchange.crashed(error)
