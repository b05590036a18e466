"""One HTTP/1.1 connection to an upstream: renders and sends requests, hands what arrives to its framing (L3).

In a request's path it stands behind `Attempt`, which holds it as its reader for one request with its
response. Data that arrives without a request ends the connection.
"""

import asyncio
from contextlib import closing

from balancer.connections.intake import LARGE_READ, MOST_READ, Intake, Turns
from balancer.connections.last_words import broke_at_end, is_break, last_words
from balancer.connections.response_framing import HEAD, TUNNEL, ResponseFraming
from balancer.connections.roles import IdleOwner, OutgoingRequest, Outlet, ResponseReader, UpstreamSide
from balancer.connections.tcp_info import Taken, send_room, taken
from balancer.connections.tls_faults import trouble_of
from balancer.connections.tls_session import TlsSession
from balancer.errors import UPSTREAM_TLS_ALERT, UPSTREAM_TLS_BROKEN, ProtocolError
from balancer.http.chunked import encode_chunk, encode_end, encode_piece
from balancer.http.framing import CHUNKED
from balancer.http.head_memory import ResponseHeads
from balancer.http.wire import render_request
from balancer.upstreams.upstream import Upstream


def _broken(error: Exception) -> ProtocolError:
    """What the end of TLS just after the handshake means for the first request."""
    fault, text = trouble_of(error)
    return ProtocolError(UPSTREAM_TLS_ALERT if fault.is_alert else UPSTREAM_TLS_BROKEN, text)


class UpstreamConnection(UpstreamSide):
    """An asyncio protocol by its methods, not by inheritance; `owner` has it while it has no `reader`."""

    __slots__ = ("_before", "_chunked", "_framing", "_lacks_end", "_turns", "_untaken", "intake",
                 "transport", "was_reset")  # fmt: skip

    transport: asyncio.Transport
    intake: Intake

    def __init__(
        self,
        upstream: Upstream,
        owner: IdleOwner,
        turns: Turns,
        heads: ResponseHeads,
        head_limit: int,
        created_ns: int,
    ) -> None:
        """`heads` parses response heads, of at most `head_limit` bytes."""
        # for the connection's life
        self.upstream = upstream
        self.owner = owner
        self._turns = turns
        self._framing = ResponseFraming(heads, head_limit)
        self.created_ns = created_ns
        self.generation = 0
        self.requests = 0
        self.closed = False
        self.was_reset = False  # it was cut off: its peer had not ended it with a FIN before
        self._lacks_end = False  # under TLS: there was no close_notify so far
        self.write_paused = False
        # while idle
        self.idle_since_ns = 0
        # for one request
        self._chunked = False
        self._before: Taken | None = None  # what the peer had taken before a careful request
        self._untaken = 0  # at the last `takes`

    @property
    def reader(self) -> ResponseReader | None:
        """The holder, while it is busy with a request; None while it is idle."""
        return self._framing.reader

    # --- the attempt's calls (UpstreamSide)

    def send(self, reader: ResponseReader, request: OutgoingRequest, careful: bool) -> None:
        self.requests += 1
        self._before = taken(self.transport.get_extra_info("socket")) if careful else None
        head = request.head
        self._framing.expect(reader, head.method, head.websocket)
        data = render_request(
            head, request.peer, request.request_id, self.upstream.authority, request.head_tail
        )
        edits = request.edits
        if edits is not None and edits.request is not None:
            data = edits.request.apply(data, request.facts())
        body = request.unsent
        self._chunked = chunked = head.length == CHUNKED
        if chunked:
            pieces = [data, *map(encode_chunk, body)]
            if request.request_whole:
                pieces.append(encode_end(request.request_trailers))
            data = b"".join(pieces)
        elif body:
            data = b"".join([data, *body])
        self.transport.write(data)

    def send_rendered(self, reader: ResponseReader, request: bytes) -> None:
        """`reader` takes the connection, and a rendered GET is written: a check."""
        self.requests += 1
        self._framing.expect(reader, b"GET", False)
        self.transport.write(request)

    def more(self, body: bytes, last: bool, trailers: bytes) -> None:
        if self.closed:
            return
        if self._chunked:
            self.transport.write(b"".join(encode_piece(body, last, trailers)))
        elif body:
            self.transport.write(body)

    def pace(self, paused: bool) -> None:
        if self.closed:
            return
        if paused:
            self.intake.hold()
        else:
            self.intake.resume()

    def room(self) -> int:
        return send_room(self.transport)

    def untaken(self) -> int:
        return self.transport.get_write_buffer_size()

    def takes(self) -> bool:
        untaken = self.transport.get_write_buffer_size()
        progress, self._untaken = untaken != self._untaken, untaken
        return progress

    def proves_unread(self) -> bool:
        """Whether the upstream's kernel has acknowledged nothing of the request and the connection is closed.
        A reset without a FIN before it proves nothing: an app may read and then crash, and Linux acknowledges
        what was read up to 40 ms later, or never."""
        before = self._before
        if before is None or self.was_reset:
            return False
        now = taken(self.transport.get_extra_info("socket"))
        return now is not None and now.closed and now.acked == before.acked

    def switch(self) -> None:
        self._chunked = False

    def end_writing(self) -> bool:
        if not self.transport.can_write_eof():
            return False
        self.transport.write_eof()
        return True

    @property
    def fd(self) -> int:
        return int(self.transport.get_extra_info("socket").fileno())

    def release(self) -> bool:
        framing = self._framing
        framing.reader = None
        framing.chunks = None
        if self.intake.strained:
            self.intake.relax()
        return framing.reusable and not self.closed and not self.write_paused

    def cancel(self) -> None:
        self._framing.reader = None
        self.closed = True
        self.transport.abort()

    def close_when_written(self) -> None:
        self._framing.reader = None
        self.closed = True
        self.transport.close()

    def is_closing(self) -> bool:
        return self.transport.is_closing()

    # --- asyncio's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The dial has connected."""
        self.transport = transport  # type: ignore[assignment]  # asyncio's stub says BaseTransport
        self._lacks_end = self.upstream.server_name != ""
        self.intake = Intake(self, self._turns)
        # No write buffer: what the app does not take is not read from the client.
        self.transport.set_write_buffer_limits(high=0)

    def data_received(self, data: bytes) -> None:
        """Bytes have arrived."""
        framing = self._framing
        reader = framing.reader
        if reader is None:
            if not self.closed:  # no request was sent: idle, or not yet used
                self.owner.discard(self, "unexpected_data")
            return
        try:
            state = framing.state
            if state == HEAD:
                framing.read_head(reader, data)
            elif state == TUNNEL:
                reader.tunnel_data(data)
            else:
                framing.read(reader, data)
            chunks = framing.chunks
            if chunks is not None:
                if chunks.more or len(data) >= LARGE_READ:
                    self.intake.rest(LARGE_READ)
            elif len(data) >= LARGE_READ:
                self.intake.rest(MOST_READ)
        except ProtocolError as error:
            self._fail(reader, error)
        except Exception as bug:
            reader.crashed(bug)

    def go_on(self) -> None:
        """The next turn, after a rest."""
        chunks = self._framing.chunks
        if chunks is not None and chunks.more and self._framing.reader is not None:
            self.data_received(b"")

    def outlet(self) -> Outlet | None:
        """The client, if what is read goes to it."""
        reader = self._framing.reader
        return None if reader is None else reader.outlet()

    def eof_received(self) -> bool:
        """The upstream sent a FIN; under TLS, a close_notify. The transport then closes itself, after what
        was written has gone out; but not in a tunnel: its other direction goes on while the reader holds the
        connection. TLS has no half-close here."""
        self._lacks_end = False
        self.was_reset = broke_at_end(self.transport)
        framing = self._framing
        reader = framing.reader
        if reader is None or self.was_reset:
            return False
        try:
            framing.half_close(reader)
            return framing.is_tunnel and framing.reader is reader and not self.upstream.server_name
        except Exception as error:
            reader.crashed(error)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, with an error, or with None if either side has closed it."""
        self.closed = True
        self.was_reset |= is_break(exc)
        reader = self._framing.reader
        if reader is None:
            self.owner.discard(self, "upstream_closed")
        else:
            self._end(reader, exc)
        self.intake.leave()

    def _end(self, reader: ResponseReader, exc: Exception | None) -> None:
        framing = self._framing
        try:
            framing.read_rest(reader)
            if exc is not None and framing.reader is reader:
                self._read_last_words(reader)
            if framing.reader is reader:
                session: TlsSession | None = self.transport.get_extra_info("tls_session")
                error = None if session is None else session.error
                if error is not None and self.requests == 1 and framing.is_unanswered:
                    raise _broken(error)
                framing.end(reader, self._how_it_broke())
        except ProtocolError as error:
            self._fail(reader, error)
        except Exception as bug:
            reader.crashed(bug)

    @staticmethod
    def _fail(reader: ResponseReader, error: ProtocolError) -> None:
        try:
            reader.upstream_failed(error.failure, error.detail)
        except Exception as bug:
            reader.crashed(bug)

    def _how_it_broke(self) -> str:
        """The end of "the connection was ..."; "" if the upstream has ended it as it should."""
        if self.was_reset:
            return "reset"
        # RFC 9112 section 9.8: under TLS, anyone on the way can make a FIN without a close_notify.
        return "closed without a close_notify" if self._lacks_end else ""

    def _read_last_words(self, reader: ResponseReader) -> None:
        """Read what had arrived before the connection was lost.

        An app may answer early and close while the request is still being written. Then the write fails
        first, and the event loop drops the connection with the answer unread.
        """
        framing = self._framing
        with closing(last_words(self.transport)) as words:
            for data in words:
                framing.read(reader, data)
                framing.read_rest(reader)
                if framing.reader is not reader:
                    return

    def pause_writing(self) -> None:
        """The upstream does not take what is written."""
        self._pace(True)

    def resume_writing(self) -> None:
        """The upstream has taken all of it."""
        self._pace(False)

    def _pace(self, paused: bool) -> None:
        self.write_paused = paused
        reader = self._framing.reader
        if reader is not None:
            try:
                reader.upstream_paused(paused)
            except Exception as error:
                reader.crashed(error)
