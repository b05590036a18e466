"""Splits what one connection receives into responses, and passes them to their reader (L3).

`UpstreamConnection` hands it the data that arrives. It owns the boundaries of responses; data beyond them
makes the connection not reusable.
"""

from typing import Final

from balancer.connections.roles import ResponseReader
from balancer.errors import (
    MALFORMED_RESPONSE,
    RESPONSE_TRUNCATED,
    UPGRADE_FAILED,
    UPSTREAM_CLOSED,
    ProtocolError,
)
from balancer.http.chunked import ChunkedDecoder
from balancer.http.framing import CHUNKED, NO_BODY, UNTIL_CLOSE
from balancer.http.head import HEAD_END
from balancer.http.head_memory import ResponseHeads
from balancer.http.patience import read_patiently
from balancer.http.response_head import ResponseHead
from balancer.http.similar_heads import ResponseTemplate

INFORMATIONAL_LIMIT: Final = 100  # 1xx responses to one request: an app could send them endlessly

_HEAD_METHOD: Final = b"HEAD"  # its responses announce a body that does not follow
_START_KNOWN: Final = 5  # bytes of a head that show that it begins with HTTP/

# What is expected next.
HEAD: Final = 0
_BODY: Final = 1
TUNNEL: Final = 2


class ResponseFraming:
    """`reader` gets the response, None while there is no request. After a response `reusable` says whether
    another request may follow. The reading methods raise ProtocolError for invalid data. If `chunks.more` is
    set, a read was too much for one turn of the loop: call `read(b"")` in the next one to go on."""

    __slots__ = ("_buffer", "_head_limit", "_heads", "_informed", "_last", "_left", "_method",
                 "_searched", "_template", "_upgrading", "chunks", "reader", "reusable", "state")  # fmt: skip

    def __init__(self, heads: ResponseHeads, head_limit: int) -> None:
        """`heads` parses response heads, of at most `head_limit` bytes."""
        self._heads = heads
        self._head_limit = head_limit
        self._last: ResponseHead | None = None  # the last remembered one: it is likely to come again
        self._template: ResponseTemplate | None = None  # made when a head is not the last one
        self.reader: ResponseReader | None = None
        self.reusable = False
        # for one response
        self.state = HEAD
        self._method = b""
        self._upgrading = False
        self._left = 0
        self._informed = 0  # 1xx responses so far
        self.chunks: ChunkedDecoder | None = None  # of a chunked body
        self._buffer = b""
        self._searched = 0  # bytes of it that hold no line end not yet examined

    def expect(self, reader: ResponseReader, method: bytes, upgrading: bool) -> None:
        """Expect the response to a request with this method, for `reader`."""
        self.reader = reader
        self.reusable = False
        self.state = HEAD
        self._method = method
        self._upgrading = upgrading
        self._informed = 0

    @property
    def is_unanswered(self) -> bool:
        """Whether nothing of a final response has arrived."""
        return self.state == HEAD and not self._buffer

    @property
    def is_tunnel(self) -> bool:
        """Whether the response was a 101."""
        return self.state == TUNNEL

    def read(self, reader: ResponseReader, data: bytes) -> None:
        """`data` has arrived."""
        state = self.state
        if state == HEAD:
            self.read_head(reader, data)
        elif state == _BODY:
            self._read_body(reader, data)
        else:
            reader.tunnel_data(data)

    def read_rest(self, reader: ResponseReader) -> None:
        """Read at once what was left for later turns: there will be none."""
        while self.reader is reader and self.chunks is not None and self.chunks.more:
            self._read_body(reader, b"")

    def half_close(self, reader: ResponseReader) -> None:
        """The upstream's FIN, while the connection can still be written to."""
        if self.state == TUNNEL:
            reader.tunnel_half_closed()
        elif self.state == _BODY and self._left == UNTIL_CLOSE:
            self.end(reader)  # at once: the app may be slow to read the rest of the request

    def end(self, reader: ResponseReader, broke: str = "") -> None:
        """The connection has ended; `broke` says how, if its upstream has not ended it as it should.

        A response without a length ends with its connection, but only with a FIN: after a reset it is
        incomplete, and must not pass for a whole one (RFC 9112 section 8).
        """
        if self.state == TUNNEL:
            reader.tunnel_ended()
        elif self.state == _BODY and self._left == UNTIL_CLOSE and not broke:
            reader.response_body(b"", True, b"")
        elif self.state == _BODY:
            reader.upstream_failed(RESPONSE_TRUNCATED, "the connection broke off in the response body")
        else:
            text = f"the connection was {broke or 'closed'} before a response head"
            reader.upstream_failed(UPSTREAM_CLOSED, text)

    def read_head(self, reader: ResponseReader, data: bytes) -> None:
        """`data` has arrived while `state` is HEAD."""
        last = self._last
        if (
            last is not None
            and not self._buffer
            and data.startswith(last.raw)
            and self._method != _HEAD_METHOD
        ):
            self._begin(reader, last, data, len(last.raw))
            return
        searched = 0
        if self._buffer:
            data = self._buffer + data
            searched = self._searched
            self._buffer = b""
        while True:
            end = data.find(HEAD_END, searched) + 4
            if end < 4 or end > self._head_limit:
                head = None
            else:
                template = self._template
                if template is None:
                    template = self._template = ResponseTemplate()
                try:
                    head = self._heads.parse(data if end == len(data) else data[:end], self._method, template)
                except ProtocolError:
                    head = None
            if head is None:  # incomplete, or not in the exact form
                read = None
                if (
                    end >= 4
                    or searched < _START_KNOWN
                    or len(data) > self._head_limit
                    or data.find(b"\n", searched) >= 0
                ):
                    read = read_patiently(data, self._method, self._head_limit, self._heads.count_limit)
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
            self._informed += 1
            if self._informed > INFORMATIONAL_LIMIT:
                raise ProtocolError(MALFORMED_RESPONSE, f"more than {INFORMATIONAL_LIMIT} 1xx responses")
            reader.informational(head)
            data = data[end:]
            searched = 0
            if not data or self.reader is not reader:
                return
        if head.raw:
            self._last = head
        self._begin(reader, head, data, end)

    def _begin(self, reader: ResponseReader, head: ResponseHead, data: bytes, end: int) -> None:
        """`data` begins with `head`, the final one, of `end` bytes."""
        if head.length == len(data) - end:  # it is complete, as nearly always
            self.reusable = head.keep_alive
            reader.response(head, data[end:], True)
            return
        self._begin_body(reader, head, data, end)

    def _begin_body(self, reader: ResponseReader, head: ResponseHead, data: bytes, end: int) -> None:
        """What follows `head` at `end` of `data` is not just all of its body."""
        length = head.length
        left = len(data) - end
        self.reusable = head.keep_alive
        if length >= NO_BODY:
            if left > length:
                # Surplus data that nobody asked for. The response is whole, the connection is not reused.
                self.reusable = False
                reader.response(head, data[end : end + length], True)
            else:
                self.state = _BODY
                self._left = length - left
                reader.response(head, data[end:] if left else b"", False)
            return
        self.state = _BODY
        self._left = length
        if length == UNTIL_CLOSE:
            self.reusable = False
            reader.response(head, data[end:], False)
            return
        chunks = self.chunks = ChunkedDecoder(MALFORMED_RESPONSE, self._head_limit, patient=True)
        body = b""
        fault: ProtocolError | None = None
        if left:
            try:
                body = chunks.feed(data[end:])
            except ProtocolError as error:
                # Raised only after the head has been passed on, so that the client sees a cut-off response.
                fault = error
        if chunks.surplus:
            self.reusable = False
        if chunks.done and not chunks.trailers:
            reader.response(head, body, True)
            return
        reader.response(head, body, False)
        if fault is not None and self.reader is reader:
            try:
                raise fault
            finally:
                del fault  # else it and this frame would be a cycle, and hold `data`
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
            chunks = self.chunks
            assert chunks is not None
            body = chunks.feed(data)
            if chunks.done:
                if chunks.surplus:
                    self.reusable = False
                reader.response_body(body, True, chunks.trailers)
            elif body:
                reader.response_body(body, False, b"")
        else:
            reader.response_body(data, False, b"")

    def _switch(self, reader: ResponseReader, head: ResponseHead, data: bytes) -> None:
        if not (self._upgrading and head.websocket):
            raise ProtocolError(UPGRADE_FAILED, "101 without an agreed upgrade")
        self.state = TUNNEL
        reader.switched(head, data)
