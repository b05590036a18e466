"""One HTTP/1.1 client connection: parses requests from its bytes and starts its exchange, one at a time.

The first stop in a request's path. Pipelined requests wait in `_ahead`, so responses go out in order by
construction. A client is also read while its request is being served: this shows when it leaves.
"""

import asyncio
from typing import Final

from balancer.clients.context import ClientContext
from balancer.clients.ending import (
    BODY,
    CLOSED,
    HEAD,
    HOLD,
    LINGER,
    LINGER_IDLE_NS,
    START,
    TUNNEL,
    TUNNEL_ENDED,
    EndingConnection,
)
from balancer.clients.entrance import Entrance
from balancer.clients.stream import Http1Stream
from balancer.clients.strict_stream import StrictStream
from balancer.connections.intake import LARGE_READ, MOST_READ, Intake
from balancer.connections.last_words import broke_at_end
from balancer.connections.roles import Outlet
from balancer.errors import (
    HEAD_TOO_LARGE,
    MALFORMED_REQUEST,
    ProtocolError,
)
from balancer.http.body import BodyDecoder, body_decoder
from balancer.http.forwarding import Peer
from balancer.http.framing import CHUNKED, NO_BODY
from balancer.http.head import HEAD_END
from balancer.http.request_head import RequestHead, repeats
from balancer.http.similar_heads import RequestTemplate
from balancer.http.syntax import refuse_early
from balancer.proxy.exchange import Exchange
from balancer.proxy.router import Route

_AHEAD_LIMIT: Final = 32 * 1024  # bytes read ahead of the running exchange: above, reading pauses
_AHEAD_LOW: Final = 16 * 1024  # once no more than this is left, reading goes on
# requests per turn that end at once, as refused ones do; then the connection rests
_REQUESTS_A_TURN: Final = 16
_SURPLUS_LIMIT: Final = 100  # clients beyond the limits on connections that may linger with their refusal


class ClientConnection(EndingConnection):
    """An asyncio protocol by its methods, not by inheritance. How it ends is in its base class."""

    __slots__ = ("_body", "_entrance", "_head_started", "_reading", "_searched", "_template")

    def __init__(self, context: ClientContext, entrance: Entrance) -> None:
        super().__init__(context)
        # for the connection's life
        self._entrance = entrance
        self.counts = entrance.counts
        self._head_started = False  # a part of a head has arrived, and its deadline is set
        self._searched = 0  # bytes of the head already checked: it does not end in them, and they are valid
        self._template: RequestTemplate | None = None  # made with the second head: many send one only
        self._reading = False  # inside `_read_requests`: an exchange that ends there does not start the next
        # for one request
        self._body: BodyDecoder | None = None

    # --- asyncio's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        peername = transport.get_extra_info("peername")
        peer = self._entrance.forwarding.peer(peername[0] if peername else "")
        context = self._context
        now = context.monotonic_ns()
        # asyncio's stub says BaseTransport.
        self.begin(transport, peer, now)  # type: ignore[arg-type]
        context.clients.add(self)
        refused = context.admit(self, now)
        if refused is not None:
            self.refuse(ProtocolError(refused, ""))
            if context.surplus > _SURPLUS_LIMIT:
                self.transport.close()  # lingering takes descriptors; but the client may not see the response

    def begin(self, transport: asyncio.Transport, peer: Peer, now_ns: int) -> None:
        """Serve the client on this transport."""
        context = self._context
        self.transport = transport
        self.peer = peer
        self._intake = Intake(self, context.proxy.connector.turns)
        line = self._entrance.policy_line
        self._stream = (
            StrictStream(self, transport, peer, context, line)
            if line
            else Http1Stream(self, transport, peer, context)
        )
        self.exchange = Exchange(self._stream, context.proxy, context.journal)
        # No write buffer: what the client does not take is not read from the app.
        transport.set_write_buffer_limits(high=0)
        self.deadline_ns = now_ns + context.timeouts.request_head_ns

    def data_received(self, data: bytes) -> None:
        """Bytes have arrived."""
        try:
            state = self._state
            if state == HEAD:
                if self._ahead.data:
                    self._read_requests(self._ahead.take() + data, 0, self._searched)
                else:
                    self._read_requests(data, 0, 0)
            elif state == BODY:
                self._read_body(data)
            elif state == HOLD:
                self._ahead.put(self._ahead.take() + data, 0)
                if len(self._ahead) > _AHEAD_LIMIT:
                    self._intake.hold()
                    self._intake.rest()  # from now on it is read in small pieces
            elif state == TUNNEL:
                self.exchange.client_data(data)
            elif state == LINGER and self.transport.get_write_buffer_size() == 0:
                self.deadline_ns = min(self._context.monotonic_ns() + LINGER_IDLE_NS, self._linger_end_ns)
            if len(data) >= LARGE_READ:
                chunked = self._head is not None and self._head.length == CHUNKED
                self._intake.rest(LARGE_READ if chunked else MOST_READ)
        except Exception as error:
            self._crashed(error)

    def go_on(self) -> None:
        """The next turn, after a rest."""
        try:
            if self._state == BODY:
                if self._body is not None and self._body.more:
                    self._read_body(b"")
            elif self._state == HEAD and self._ahead.data:
                self._read_ahead()
        except Exception as error:
            self._crashed(error)

    def outlet(self) -> Outlet | None:
        """The upstream, if what is read goes to it."""
        attempt = self.exchange.attempt
        if attempt is None or (self._state != BODY and self._state != TUNNEL):
            return None
        return attempt.connection

    def eof_received(self) -> bool:
        """The client sent a FIN: it has left, as nginx also assumes, and the transport closes itself. In a
        tunnel it has ended only its own direction, and the transport stays open for the other one."""
        # A tunnel whose other direction cannot end by itself, as under TLS, ends in both.
        transport = self.transport
        if self._state != TUNNEL or not transport.can_write_eof() or broke_at_end(transport):
            self._leave()
            return False
        self._state = TUNNEL_ENDED
        try:
            self.exchange.client_half_closed()
        except Exception as error:
            self.exchange.crashed(error)
        return self.exchange.active

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, with an error, or with None if either side has closed it."""
        if exc is not None and self._state == TUNNEL:
            self._read_last_words()
        self._leave()
        self._context.closed(self)
        # Break the reference cycles: else only the garbage collector would free these.
        self.exchange.dissolve()
        if self._intake.strained:
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
        """The client has taken all of it."""
        self._stream.paused = False
        try:
            if self.exchange.active:
                self.exchange.client_paused(False)
            elif self._state == HEAD:
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
        elif self._state == BODY or self._state == TUNNEL:
            self._intake.hold()

    def read_ahead(self) -> int:
        return len(self._ahead) + (0 if self._body is None else self._body.pending)

    def begin_tunnel(self) -> None:
        self._state = TUNNEL
        ahead = self._ahead.take()
        self._intake.resume()  # first, because the upstream may then pause it
        if ahead:
            self.exchange.client_data(ahead)

    def exchange_ended(self, close: bool, now_ns: int) -> None:
        state = self._state
        if state == CLOSED:
            return
        if close:
            is_tunnel = state in (TUNNEL, TUNNEL_ENDED)
            if is_tunnel or (state == HOLD and not self._ahead.holds_head()):
                self._state = CLOSED
                self.deadline_ns = (
                    now_ns + self._context.timeouts.patience_ns
                )  # for what is still to be written
                self.transport.close()
            else:
                self._linger()
            return
        self._state = HEAD
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

    # --- reading requests

    def _read_ahead(self) -> None:
        data, start = self._ahead.data, self._ahead.start
        self._ahead.put(b"", 0)
        try:
            self._read_requests(data, start, start + self._searched)
        except Exception as error:
            self._crashed(error)

    def _read_requests(self, data: bytes, start: int, search: int) -> None:
        """Start an exchange for each complete head in `data` from `start` on, as long as they end at once.

        The first head does not end before `search`.
        """
        exchange = self.exchange
        stream = self._stream
        ahead = self._ahead
        router = self._entrance.router
        self._reading = True
        begun = 0
        try:
            while True:
                if stream.paused:  # the client does not read its responses: serve no more requests
                    ahead.put(data, start)
                    self._intake.hold()
                    return
                head = self._head
                end = len(data)
                if head is None or start or head.raw != data or not data:  # not the same request again
                    end = self._find_head(data, start, search)
                    head = self._head
                    if not end or head is None:
                        return
                stream.head = head
                stream.closes = not head.keep_alive
                self._state = HOLD
                route = router.only or router.match(head, self.peer)
                if head.length == NO_BODY:
                    stream.whole = True
                    if end < len(data):
                        ahead.put(data, end)
                    exchange.start(head, route, b"", True)
                else:
                    self._begin_body(head, route, data[end:])
                if self._state != HEAD or not ahead.data:
                    return
                begun += 1
                if begun == _REQUESTS_A_TURN:
                    self._intake.rest()
                    return
                data, start = ahead.data, ahead.start
                search = start
                ahead.put(b"", 0)
        except ProtocolError as error:
            self.refuse(error, data[start : start + START])
        finally:
            self._reading = False

    def _find_head(self, data: bytes, start: int, search: int) -> int:
        """Make `_head` the one that begins at `start`. Returns where it ends, 0 if it is not complete."""
        context = self._context
        limits = context.limits
        before = self._head
        template = self._template
        head: RequestHead | None = None
        end = len(data)
        is_alone = not start and not search and end <= limits.header_bytes
        if is_alone and template is not None:
            head = template.next(data)
            if head is not None:
                self._head = head
                return end
        if before is not None and not start:
            repeated = repeats(before, data, limits.uri_bytes)
            if 0 < repeated <= limits.header_bytes:
                return repeated
            if template is None:
                template = self._template = RequestTemplate(context.request_fields, limits.uri_bytes)
        if is_alone:
            head = context.request_heads.parse_all(data, template)
        if head is None:
            end = data.find(HEAD_END, search) + 4
            if end < 4 or end - start > limits.header_bytes:
                self._wait_for_head(data[start:])
                return 0
            # A slice of all bytes makes no copy.
            head = context.request_heads.parse(data[start:end])
        self._head = head
        return end

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

    def _begin_body(self, head: RequestHead, route: Route, data: bytes) -> None:
        exchange = self.exchange
        context = self._context
        try:
            decoder = body_decoder(
                head.length, MALFORMED_REQUEST, context.limits.header_bytes, route.body_bytes
            )
            body = decoder.feed(data)
        except ProtocolError as error:  # before any of it reaches an app
            self._state = BODY
            self._stream.whole = False
            exchange.refuse(head, route, error)
            return
        self._body = decoder
        self._state = HOLD if decoder.done else BODY
        self._stream.whole = decoder.done
        self._ahead.put(decoder.surplus, 0)
        if not decoder.done:
            self._intake.resume()
        if decoder.more:
            self._intake.rest(LARGE_READ)
        trailers = decoder.trailers and context.request_fields.passed_trailers(decoder.trailers)
        exchange.start(head, route, body, decoder.done and not trailers)
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
            self._state = HOLD
            self._stream.whole = True
            self._ahead.put(decoder.surplus, 0)
            trailers = decoder.trailers
            if trailers:
                trailers = self._context.request_fields.passed_trailers(trailers)
            exchange.request_body(body, True, trailers)
        elif body:
            exchange.request_body(body, False, b"")
