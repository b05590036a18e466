"""One connection to an upstream: reads its responses off the wire for the attempt that holds it.

In the way of a request this stands behind `Attempt`: it is handed rendered bytes to write, and tells the
attempt of heads and body pieces as they come. It owns the boundaries of responses: what arrives beyond
them, or while nobody has asked, ends the connection.
"""

import asyncio
from contextlib import closing

from balancer.connections.intake import LARGE_READ, MOST_READ, Intake, Turns
from balancer.connections.last_words import broke_at_end, is_break, last_words
from balancer.connections.roles import IdleOwner, ResponseReader
from balancer.errors import (
    MALFORMED_RESPONSE,
    RESPONSE_TRUNCATED,
    UPGRADE_FAILED,
    UPSTREAM_CLOSED,
    ProtocolError,
)
from balancer.http.chunked import ChunkedDecoder
from balancer.http.framing import CHUNKED, NO_BODY, UNTIL_CLOSE
from balancer.http.head import HEAD_END, ResponseHead, parse_response_head
from balancer.http.patience import read_patiently
from balancer.upstreams.upstream import Upstream

INFORMATIONAL_LIMIT = 100  # 1xx responses to one request: an app that sends them without end never answers

_START_KNOWN = 5  # bytes by which a head is known to begin with HTTP/

_HEAD, _BODY, _TUNNEL, _IDLE = range(4)


class UpstreamConnection(asyncio.Protocol):
    """The asyncio protocol of one connection to an upstream.

    `reader` is the attempt that holds it, None while idle; `owner` has it then. After a response `reusable`
    says whether another request may follow.
    """

    __slots__ = (
        "_buffer",
        "_chunks",
        "_count_limit",
        "_head_limit",
        "_informed",
        "_informed_request",
        "_left",
        "_method",
        "_searched",
        "_state",
        "_turns",
        "closed",
        "created_ns",
        "generation",
        "idle_since_ns",
        "intake",
        "owner",
        "reader",
        "requests",
        "reusable",
        "transport",
        "upgrading",
        "upstream",
        "was_reset",
        "write_paused",
    )  # fmt: skip

    transport: asyncio.Transport
    intake: Intake

    def __init__(
        self,
        upstream: Upstream,
        owner: IdleOwner,
        turns: Turns,
        head_limit: int,
        count_limit: int,
        created_ns: int,
    ) -> None:
        # for the connection's life
        self.upstream = upstream
        self.owner = owner
        self._turns = turns
        self._head_limit = head_limit
        self._count_limit = count_limit
        self.created_ns = created_ns
        self.generation = 0
        self.requests = 0
        self.closed = False
        self.was_reset = False  # it broke off: its peer had not ended it before
        self.write_paused = False
        # while idle
        self.idle_since_ns = 0
        # for one attempt
        self.reader: ResponseReader | None = None
        self.reusable = False
        self.upgrading = False
        self._state = _IDLE
        self._method = b""
        self._left = 0
        self._informed = 0  # 1xx responses to the request of this number
        self._informed_request = 0
        self._chunks: ChunkedDecoder | None = None
        self._buffer = b""
        self._searched = 0  # bytes of it in which no line ends that was not looked at

    def begin(self, reader: ResponseReader, method: bytes, upgrading: bool) -> None:
        """`reader` takes the connection to send one request of `method`."""
        self.reader = reader
        self.reusable = False
        self.upgrading = upgrading
        self.requests += 1
        self._method = method
        self._state = _HEAD

    def release(self) -> None:
        """The attempt is over and lets go; nothing that arrives from now on is its business."""
        self.reader = None
        self._state = _IDLE
        self._chunks = None
        if self.intake.strained:
            self.intake.relax()

    def close(self) -> None:
        """Close at once, without waiting for what is still to be written."""
        self.reader = None
        self.closed = True
        self.transport.abort()

    def close_when_written(self) -> None:
        """Close after everything written has gone out: the end of a tunnel."""
        self.reader = None
        self.closed = True
        self.transport.close()

    # --- asyncio's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # asyncio's stub says BaseTransport
        self.intake = Intake(self, self._turns)
        self.transport.set_write_buffer_limits(
            high=0
        )  # what the app does not take is not taken from the client

    def data_received(self, data: bytes) -> None:
        reader = self.reader
        if reader is None:
            if not self.closed:  # nobody has asked: idle, or not yet used
                self.owner.discard(self, "unexpected_data")
            return
        try:
            state = self._state
            if state == _HEAD:
                if self._buffer:
                    self._read_head(reader, self._buffer + data, self._searched)
                else:
                    self._read_head(reader, data, 0)
            elif state == _BODY:
                self._read_body(reader, data)
            else:
                reader.tunnel_data(data)
            if len(data) >= LARGE_READ:
                self.intake.rest(MOST_READ if self._chunks is None else LARGE_READ)
        except ProtocolError as error:
            reader.upstream_failed(error.failure, error.detail)
        except Exception as error:
            reader.crashed(error)

    def go_on(self) -> None:
        """The next turn, after a rest."""
        if self.reader is not None and self._chunks is not None and self._chunks.more:
            self.data_received(b"")

    def outlet(self) -> asyncio.Transport | None:
        """The client's transport, where what is read goes to it."""
        return None if self.reader is None else self.reader.outlet()

    def eof_received(self) -> bool:
        """A FIN: nothing more will come. The transport closes itself after this, when what was written has
        gone out; not in a tunnel, whose other direction goes on while the reader holds the connection."""
        self.was_reset = broke_at_end(self.transport)
        reader = self.reader
        if reader is None or self.was_reset:
            return False
        try:
            if self._state == _TUNNEL:
                reader.tunnel_half_closed()
                return self.reader is reader
            if self._state == _BODY and self._left == UNTIL_CLOSE:
                self._end_reading(reader)  # now: the app may be slow to take the rest of the request
        except Exception as error:
            reader.crashed(error)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self.was_reset |= is_break(exc)
        reader = self.reader
        if reader is None:
            self.owner.discard(self, "upstream_closed")
            return
        try:
            while self.reader is reader and self._chunks is not None and self._chunks.more:
                self._read_body(reader, b"")  # there is no other turn
            if exc is not None and self.reader is reader:
                self._read_last_words(reader)
            if self.reader is reader:
                self._end_reading(reader)
        except ProtocolError as error:
            reader.upstream_failed(error.failure, error.detail)
        except Exception as error:
            reader.crashed(error)

    def pause_writing(self) -> None:
        self._pace(True)

    def resume_writing(self) -> None:
        self._pace(False)

    def _pace(self, paused: bool) -> None:
        self.write_paused = paused
        reader = self.reader
        if reader is not None:
            try:
                reader.upstream_paused(paused)
            except Exception as error:
                reader.crashed(error)

    # --- reading a response

    def _read_last_words(self, reader: ResponseReader) -> None:
        """Read what had arrived before the connection was lost.

        An app may answer early and close while the request is still being written. Then the write fails
        first, and the event loop gives up the connection with the answer unread.
        """
        with closing(last_words(self.transport)) as words:
            for data in words:
                if self._state == _HEAD:
                    self._read_head(reader, self._buffer + data, self._searched if self._buffer else 0)
                elif self._state == _BODY:
                    self._read_body(reader, data)
                else:
                    reader.tunnel_data(data)
                if self.reader is not reader:
                    return

    def _end_reading(self, reader: ResponseReader) -> None:
        """A response without a length ends where its connection does, but only by a FIN: what broke off is
        a part of it, and nobody may take it for the whole (RFC 9112 section 8)."""
        if self._state == _TUNNEL:
            reader.tunnel_ended()
        elif self._state == _BODY and self._left == UNTIL_CLOSE and not self.was_reset:
            reader.response_body(b"", True, b"")
        elif self._state == _BODY:
            reader.upstream_failed(RESPONSE_TRUNCATED, "the connection broke off in the response body")
        else:
            how = "reset" if self.was_reset else "closed"
            reader.upstream_failed(UPSTREAM_CLOSED, f"the connection was {how} before a response head")

    def _read_head(self, reader: ResponseReader, data: bytes, searched: int) -> None:
        self._buffer = b""
        while True:
            end = data.find(HEAD_END, searched) + 4
            if end < 4 or end > self._head_limit:
                head = None
            else:
                try:
                    head = parse_response_head(
                        data if end == len(data) else data[:end], self._method, self._count_limit
                    )
                except ProtocolError:
                    head = None
            if head is None:  # not whole, or not exact
                read = None
                if (
                    end >= 4
                    or searched < _START_KNOWN
                    or len(data) > self._head_limit
                    or data.find(b"\n", searched) >= 0
                ):
                    read = read_patiently(data, self._method, self._head_limit, self._count_limit)
                if read is None:
                    self._buffer = data
                    self._searched = max(len(data) - 3, 0)
                    return
                head, end = read
            if head.status >= 200:
                break
            if head.status == 101:
                self._switch(reader, head, data[end:])
                return
            if self._informed_request != self.requests:
                self._informed_request = self.requests
                self._informed = 0
            self._informed += 1
            if self._informed > INFORMATIONAL_LIMIT:
                raise ProtocolError(MALFORMED_RESPONSE, f"more than {INFORMATIONAL_LIMIT} 1xx responses")
            reader.informational(head)
            data = data[end:]
            searched = 0
            if not data or self.reader is not reader:
                return
        self._begin_body(reader, head, data, end)

    def _begin_body(self, reader: ResponseReader, head: ResponseHead, data: bytes, end: int) -> None:
        length = head.length
        left = len(data) - end
        self.reusable = head.keep_alive
        if length >= NO_BODY:
            if left > length:
                # Surplus: nobody asked for it. This response is whole, the connection is not trusted again.
                self.reusable = False
                reader.response(head, data[end : end + length], True)
            elif left == length:
                reader.response(head, data[end:] if left else b"", True)
            else:
                self._state = _BODY
                self._left = length - left
                reader.response(head, data[end:] if left else b"", False)
            return
        self._state = _BODY
        self._left = length
        if length == UNTIL_CLOSE:
            self.reusable = False
            reader.response(head, data[end:], False)
            return
        chunks = self._chunks = ChunkedDecoder(MALFORMED_RESPONSE, self._head_limit, patient=True)
        body = b""
        fault: ProtocolError | None = None
        if left:
            try:
                body = chunks.feed(data[end:])
            except ProtocolError as error:
                fault = (
                    error  # after the head has been passed on, so that the client sees a truncated response
                )
        if chunks.surplus:
            self.reusable = False
        if chunks.done and not chunks.trailers:
            reader.response(head, body, True)
            return
        if chunks.more:
            self.intake.rest(LARGE_READ)
        reader.response(head, body, False)
        if fault is not None and self.reader is reader:
            raise fault
        if chunks.done and self.reader is reader:
            reader.response_body(b"", True, chunks.trailers)

    def _read_body(self, reader: ResponseReader, data: bytes) -> None:
        left = self._left
        if left > 0:
            size = len(data)
            if size < left:
                self._left = left - size
                reader.response_body(data, False, b"")
            elif size == left:
                reader.response_body(data, True, b"")
            else:
                self.reusable = False
                reader.response_body(data[:left], True, b"")
        elif left == CHUNKED:
            chunks = self._chunks
            assert chunks is not None
            body = chunks.feed(data)
            if chunks.more:
                self.intake.rest(LARGE_READ)
            if chunks.done:
                if chunks.surplus:
                    self.reusable = False
                reader.response_body(body, True, chunks.trailers)
            elif body:
                reader.response_body(body, False, b"")
        else:
            reader.response_body(data, False, b"")

    def _switch(self, reader: ResponseReader, head: ResponseHead, data: bytes) -> None:
        if not (self.upgrading and head.websocket):
            raise ProtocolError(UPGRADE_FAILED, "101 without an agreed upgrade")
        self._state = _TUNNEL
        reader.switched(head, data)
