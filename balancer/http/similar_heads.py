"""Recognises a head that differs from earlier ones of its connection only in values of no concern to us.

Most requests of a client differ in target, trace id or cookie; most responses of an app in Date, ETag and
length. Where two heads in a row differ only so, a template has all their other bytes, and a hole for each
value that differed. A head that fits it byte for byte, with valid values in the holes, means what the last
one meant. Every other head is parsed, and may change the template.
"""

from typing import Final

from balancer.http.fields import CODING, DATE, EXPECT, HOST, LENGTH, OTHER, REQUEST_ID, VIA, FieldTable
from balancer.http.request_head import BLOCK_LIMIT, RequestHead
from balancer.http.response_head import RESPONSE_FIELDS, ResponseHead
from balancer.http.syntax import FIELD_BYTES, is_request_id, origin_target

_MOST_HOLES: Final = 6  # with more, parsing costs about as much
_MOST_DIGITS: Final = 15  # of a length: the parser judges longer ones
_HOLE: Final = b"\0"  # in the place of a value: no line has this byte
_LOGGED: Final = frozenset([b"user-agent:", b"referer:"])
_FORWARDED: Final = frozenset([OTHER, DATE, HOST, LENGTH, CODING, VIA, EXPECT])


class _Template:
    """The lines of a connection's heads, with holes for values: as received, and as forwarded."""

    __slots__ = ("_end", "_fields", "_fixed", "_forwarded", "_lines", "_meant", "holes", "meant_at")

    def __init__(self, fields: FieldTable, meant: int) -> None:
        """`meant`: the one kind of lines that may have a hole though its values have a meaning."""
        self._fields = fields
        self._meant = meant
        self._lines: list[bytes] = []  # of the last head that was parsed
        self.holes: list[int] = []  # the numbers of the lines with a hole; the start line is 0
        # What stands before each hole, and behind the last one.
        self._fixed: list[bytes] = []
        self._end = b""
        self._forwarded: list[
            bytes
        ] = []  # the lines to forward, joined by CRLF: every other piece is a value
        self.meant_at = -1  # the hole with such a value, if any

    def learn(self, lines: list[bytes], kept: list[bytes]) -> bool:
        """A head was parsed from these lines, and forwards those in `kept`; neither list is changed. Returns
        whether there is a template now."""
        last, self._lines = self._lines, lines
        before, self.holes = self.holes, []
        if len(lines) != len(last):
            return False
        numbers = range(1, len(lines))
        holes = [number for number in numbers if lines[number] != last[number] or number in before]
        if not 0 < len(holes) <= _MOST_HOLES:
            return False
        names = [line[: line.find(b":") + 1] for line in lines]
        if not all(last[number].startswith(names[number]) for number in holes):
            return False
        kinds = [OTHER, *map(self._fields.kind_of, lines[1:])]
        forwarded = [number for number in numbers if kinds[number] in _FORWARDED]
        if len(forwarded) != len(kept):  # Connection names some, or a name is not remembered any more
            return False
        received, sent = lines.copy(), kept.copy()
        self.meant_at = -1
        for at, number in enumerate(holes):
            kind = kinds[number]
            if kind == self._meant and kinds.count(kind) == 1:
                self.meant_at = at
            elif kind not in (OTHER, DATE):
                return False
            received[number] = names[number] + _HOLE
            if kind == LENGTH:
                sent[forwarded.index(number)] = b"Content-Length: " + _HOLE
            elif kind != REQUEST_ID:
                sent[forwarded.index(number)] = names[number] + _HOLE
        self._fixed = b"\r\n".join([*received, b"", b""]).split(_HOLE)
        self._end = self._fixed.pop()
        if len(self._fixed) != len(holes):
            return False
        pieces = b"\r\n".join(sent).split(_HOLE)
        self._forwarded = [b""] * (2 * len(pieces) - 1)
        self._forwarded[::2] = pieces
        self.holes = holes
        return True

    def name(self, number: int) -> bytes:
        """The name of a line, with its colon."""
        line = self._lines[number]
        return line[: line.find(b":") + 1]

    def cut_start(self, size: int) -> None:
        """Leave out the start line, of `size` bytes with its CRLF, which may differ."""
        self._fixed[0] = self._fixed[0][size:]

    def values(self, raw: bytes, start: int) -> list[bytes] | None:
        """The values in the holes, if `raw` fits from `start` on. It ends with an empty line."""
        values = []
        for fixed in self._fixed:
            if not raw.startswith(fixed, start):
                return None
            begin = start + len(fixed)
            start = raw.find(b"\r", begin)
            values.append(raw[begin:start])
        if raw[start:] != self._end:
            return None
        text = b"".join(values)
        return values if text.translate(FIELD_BYTES) == text else None

    def fill(self, values: list[bytes]) -> bytes:
        """The lines to forward, joined by CRLF, with these values."""
        pieces = self._forwarded.copy()
        pieces[1::2] = values
        return b"".join(pieces)


class RequestTemplate(_Template):
    """Of one client connection."""

    __slots__ = ("_head", "_is_logged", "_is_whole", "_kept", "_uri_limit")

    def __init__(self, fields: FieldTable, uri_limit: int) -> None:
        """`uri_limit` is in bytes of the target."""
        super().__init__(fields, REQUEST_ID)
        self._head: RequestHead | None = None  # the last one that fits
        self._kept: list[bytes] = []  # its lines to forward when it was parsed
        self._is_whole = False  # the last piece to forward has what the proxy adds, too
        self._is_logged = False  # a hole is in a line that is logged
        self._uri_limit = uri_limit

    def parsed(self, head: RequestHead, lines: list[bytes]) -> None:
        """`head` was parsed from these lines, the request line first."""
        self._head = None
        if head.raw and head.minor == 1 and self.learn(lines, head.lines):
            self._head = head
            self._kept = head.lines
            self._is_whole = False
            self._is_logged = any(self.name(number).lower() in _LOGGED for number in self.holes)
            self.cut_start(len(head.line))

    def next(self, raw: bytes) -> RequestHead | None:
        """The head that `raw` is, if it fits; it ends with an empty line. The last one is no longer needed,
        and is made to be this one."""
        head = self._head
        if head is None:
            return None
        size = raw.find(b"\n") + 1
        values = self.values(raw, size)
        if values is None or len(raw) - size > BLOCK_LIMIT:
            return None
        line = raw[:size]
        if line != head.line:
            target = origin_target(line, head.method, 1)
            if not target or len(target) > self._uri_limit:
                return None
            head.line = line
            head.target = target
        head.raw = raw
        if self.meant_at >= 0:
            value = values.pop(self.meant_at).strip(b" \t")
            head.request_id = value if is_request_id(value) else b""
        if not self._is_whole:
            self._complete(head)
        head.refill(self.fill(values), self._is_whole, self._is_logged)
        return head

    def _complete(self, head: RequestHead) -> None:
        """`head` has been forwarded: what was added to its lines is the same for all that fit."""
        begins = b"\r\n".join([*self._kept, b""])
        if head.outgoing.startswith(begins):  # not if a pin was removed
            self._forwarded[-1] += head.outgoing[len(begins) - 2 :]
            self._is_whole = True


class ResponseTemplate(_Template):
    """Of one upstream connection."""

    __slots__ = ("_head",)

    def __init__(self) -> None:
        super().__init__(RESPONSE_FIELDS, LENGTH)
        self._head: ResponseHead | None = None  # the first one that fits

    def parsed(self, head: ResponseHead, lines: list[bytes]) -> None:
        """`head` was parsed from these lines, the status line first; its request is no HEAD."""
        # Without the exceptions, in which fields have other meanings.
        is_usual = head.status >= 200 and head.status not in (204, 304, 426)
        self._head = head if is_usual and self.learn(lines, head.lines) else None

    def next(self, raw: bytes) -> ResponseHead | None:
        """The head that `raw` is, if it fits; it ends with an empty line."""
        head = self._head
        if head is None:
            return None
        values = self.values(raw, 0)
        if values is None:
            return None
        length = head.length
        if self.meant_at >= 0:
            digits = values[self.meant_at].strip(b" \t")
            if not digits.isdigit() or len(digits) > _MOST_DIGITS:
                return None
            length = int(digits)
            values[self.meant_at] = b"%d" % length
        return head.refilled(self.fill(values), length)
