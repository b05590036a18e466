"""Recognises heads that come again, so that a worker parses and renders them once.

A request head is looked up by all of it but its request line, a response head by all of it: what is
remembered is what parsing yields for exactly these bytes. Only heads that come twice are kept, so that a peer
that never repeats itself takes no memory and evicts nothing. Connections that send the same head again and
again are recognised before this, by comparing it with their last one.
"""

from typing import Final

from balancer.http.fields import FieldTable
from balancer.http.head import HEAD_END
from balancer.http.request_head import RememberedHead, RequestHead, parse_request_head, parse_request_lines
from balancer.http.response_head import ResponseHead, parse_response_head, parse_response_lines
from balancer.http.similar_heads import RequestTemplate, ResponseTemplate
from balancer.http.syntax import origin_target

# With their parsed forms about 4 KiB each at most: 2 MiB a worker for requests, and as much for responses.
_REMEMBERED: Final = 512
_LONGEST: Final = 1024  # bytes
_SLOTS: Final = 1024  # of the filter; a power of two
_EMPTY_LINE: Final = 2  # bytes


class _SeenOnce:
    """Which bytes have come before: forgets, but never invents. Each slot holds the hash of what came
    last."""

    __slots__ = ("_slots",)

    def __init__(self) -> None:
        self._slots = [0] * _SLOTS

    def again(self, text: bytes) -> bool:
        """Whether `text` has come before, of which it takes note."""
        number = hash(text) & 0xFFFFFFFFFFFF
        slot = number & (_SLOTS - 1)
        if self._slots[slot] == number:
            return True
        self._slots[slot] = number
        return False


class RequestHeads:
    """Parses the request heads of one listener's clients."""

    __slots__ = ("_count_limit", "_fields", "_known", "_once", "_uri_limit")

    def __init__(self, fields: FieldTable, uri_limit: int, count_limit: int) -> None:
        """`uri_limit` is in bytes of the target, `count_limit` in field lines."""
        self._fields = fields
        self._uri_limit = uri_limit
        self._count_limit = count_limit
        self._known: dict[bytes, RememberedHead] = {}
        self._once = _SeenOnce()

    def parse(self, raw: bytes) -> RequestHead:
        """The head that `raw` is, which ends with its first empty line. Raises ProtocolError."""
        lines = raw[:-4].split(b"\r\n")
        end = len(lines[0]) + 2
        if end == _EMPTY_LINE:
            return parse_request_head(raw, self._uri_limit, self._count_limit, None, self._fields)
        return self._parse(raw, end, lines)

    def parse_all(self, data: bytes, template: RequestTemplate | None) -> RequestHead | None:
        """The head that `data` is, for this template; None if it is not exactly one."""
        if not data.endswith(HEAD_END):
            return None
        lines = data[:-4].split(b"\r\n")
        if b"" in lines:
            return None
        head = self._parse(data, len(lines[0]) + 2, lines)
        if template is not None and head.known is None:
            template.parsed(head, lines)
        return head

    def _parse(self, raw: bytes, end: int, lines: list[bytes]) -> RequestHead:
        """Its request line has `end` bytes, with its CRLF."""
        block = raw[end:]
        known = self._known.get(block)
        if known is not None:
            line = raw[:end]
            target = origin_target(line, known.head.method, known.head.minor)
            if target and len(target) <= self._uri_limit:
                return known.with_target(raw, end, target)
        head = parse_request_lines(raw, lines, self._uri_limit, self._count_limit, self._fields)
        if known is None and head.raw and self._once.again(block):
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            head.known = self._known[block] = RememberedHead(head)
        return head


class ResponseHeads:
    """Parses the response heads of all upstreams of a worker."""

    __slots__ = ("_known", "_once", "count_limit")

    def __init__(self, count_limit: int) -> None:
        """`count_limit` is in field lines."""
        self.count_limit = count_limit
        self._known: dict[bytes, ResponseHead] = {}
        self._once = _SeenOnce()

    def parse(self, raw: bytes, method: bytes, template: ResponseTemplate) -> ResponseHead:
        """The head that `raw` is, which ends with its first empty line, in response to a request with this
        method. `template` is that of its connection. Raises ProtocolError."""
        if len(raw) > _LONGEST or method == b"HEAD":
            return parse_response_head(raw, method, self.count_limit)
        known = self._known.get(raw)
        if known is not None:
            return known
        head = template.next(raw)
        if head is None:
            lines = raw[:-4].split(b"\r\n")
            head = parse_response_lines(raw, lines, method, self.count_limit)
            template.parsed(head, lines, raw)
        if head.status >= 200 and self._once.again(raw):
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            head.raw = raw
            self._known[raw] = head
        return head
