"""One exchange at a time on an HTTP/1.1 client connection: renders its response, decides if it is the last.

It stands between the exchange, as its `ClientSide`, and the connection, which frames the request.
"""

import asyncio
from abc import abstractmethod
from typing import Final

from balancer.clients.context import ClientContext
from balancer.clients.roles import Client
from balancer.connections.tcp_info import descriptor, send_room
from balancer.errors import Failure
from balancer.http.chunked import encode_piece
from balancer.http.forwarding import Peer
from balancer.http.framing import NO_BODY
from balancer.http.request_head import RequestHead
from balancer.http.response_head import ResponseHead
from balancer.http.responses import prefers_json, render_failure
from balancer.http.wire import render_informational, render_response
from balancer.proxy.roles import ClientSide

# Up to this size head and body go out as one buffer: copying is cheaper than a second iovec.
_JOIN_LIMIT: Final = 16 * 1024


class StreamOwner(Client):
    """A client connection in the view of its stream."""

    __slots__ = ()

    @abstractmethod
    def read_on(self, wanted: bool) -> None:
        """Start or stop reading: whether more of the request's body, or of the tunnel, is `wanted`."""

    @abstractmethod
    def read_ahead(self) -> int:
        """Bytes that have been read, but not passed on."""

    @abstractmethod
    def begin_tunnel(self) -> None:
        """Data read ahead, and all that follows, belongs to the tunnel."""

    @abstractmethod
    def exchange_ended(self, close: bool, now_ns: int) -> None:
        """The response is written. `close`: it is the last one on this connection."""

    @abstractmethod
    def break_off(self) -> None:
        """End with a reset."""


class Http1Stream(ClientSide):
    """Reused for each request of its connection, which first sets `head`, `whole` (all of the request has
    arrived) and `closes` (the client wants the connection to end)."""

    __slots__ = ("_chunked", "_context", "_owner", "_transport", "closes", "head", "last_untaken",
                 "own_lines", "whole")  # fmt: skip

    head: RequestHead

    def __init__(
        self, owner: StreamOwner, transport: asyncio.Transport, peer: Peer, context: ClientContext
    ) -> None:
        # for the connection's life
        self._owner = owner
        self._transport = transport
        self._context = context
        self.peer = peer
        # None also at the TLS listener, for a client that speaks plain HTTP there.
        session = None if peer.scheme == b"http" else transport.get_extra_info("ssl_object")
        self.tls = "" if session is None else session.version()
        self.paused = False
        self.last_untaken = 0  # bytes the client had not taken at the last check
        self.own_lines = b""  # further field lines of our own responses, with their CRLFs
        # for one exchange
        self.whole = True
        self.closes = False
        self._chunked = False

    # --- the response

    def inform(self, head: ResponseHead) -> None:
        if self.head.minor == 1:
            self._transport.write(render_informational(head))

    def respond(self, head: ResponseHead, body: bytes, last: bool) -> None:
        context = self._context
        transport = self._transport
        minor = self.head.minor
        unbounded = head.length < NO_BODY  # chunked, or until the upstream closes
        if not self.whole or context.draining or (unbounded and minor == 0):
            self.closes = True
        self._chunked = chunked = unbounded and minor == 1
        data = render_response(head, minor, self.closes, context.date_line)
        if chunked:
            transport.write(b"".join([data, *encode_piece(body, last, b"")]))
        elif len(body) > _JOIN_LIMIT:
            transport.write(data)
            transport.write(body)
        else:
            transport.write(data + body if body else data)

    def more(self, body: bytes, last: bool, trailers: bytes) -> None:
        if self._chunked:
            if trailers and not self.head.te_trailers:  # RFC 9110 section 6.5.1
                trailers = b""
            self._transport.write(b"".join(encode_piece(body, last, trailers)))
        elif body:
            self._transport.write(body)

    def refuse(self, failure: Failure, detail: str, request_id: bytes, retry_after: int) -> int:
        head = self.head
        if not self.whole or self._context.draining or head.minor == 0:
            self.closes = True
        data, size = render_failure(
            failure,
            detail,
            date_line=self._context.date_line + self.own_lines,
            close=self.closes,
            as_json=prefers_json(head),
            head_only=head.method == b"HEAD",
            request_id=request_id,
            retry_after=retry_after,
        )
        self._transport.write(data)
        return size

    def reset(self) -> None:
        self._owner.break_off()

    def ended(self, now_ns: int) -> None:
        self._owner.exchange_ended(self.closes, now_ns)

    def last_one(self) -> None:
        self.closes = True

    def room(self) -> int:
        return send_room(self._transport)

    def untaken(self) -> int:
        return self._transport.get_write_buffer_size()

    def takes(self) -> bool:
        untaken = self._transport.get_write_buffer_size()
        progress, self.last_untaken = untaken != self.last_untaken, untaken
        return progress and untaken > 0

    # --- the request

    def read_on(self, wanted: bool) -> None:
        self._owner.read_on(wanted)

    def read_ahead(self) -> int:
        return self._owner.read_ahead()

    # --- a tunnel

    def switch(self, head: ResponseHead) -> None:
        self._chunked = False
        self._transport.write(render_informational(head))
        self._owner.begin_tunnel()

    def end_writing(self) -> bool:
        if not self._transport.can_write_eof():
            return False
        self._transport.write_eof()
        return True

    @property
    def fd(self) -> int:
        return descriptor(self._transport)
