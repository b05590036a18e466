"""Recognises a head that differs from earlier ones of its connection only in values of no concern to us.

Most requests of a client differ in target, trace id or cookie; most responses of an app in Date, ETag and
length. Where two heads in a row differ only so, a template has all their other bytes, and a hole for each
value that differed. A head that fits it byte for byte, with valid values in the holes, means what the last
one meant. Every other head is parsed, and may change the template.
"""

from typing import Final

from balancer.http.fields import (
    CODING,
    DATE,
    EXPECT,
    HOST,
    LENGTH,
    OTHER,
    REQUEST_ID,
    TRACEPARENT,
    TRACESTATE,
    UNKNOWN,
    VIA,
    FieldTable,
)
from balancer.http.request_head import BLOCK_LIMIT, LEADING, RequestHead
from balancer.http.response_head import RESPONSE_FIELDS, ResponseHead
from balancer.http.syntax import FIELD_BYTES, is_request_id, origin_target
from balancer.http.trace_context import TraceContext, context_in, state_in

_MOST_HOLES: Final = 6  # with more, parsing costs about as much
_MOST_DIGITS: Final = 15  # of a length: the parser judges longer ones
_LONGEST_PAUSE: Final = 64  # heads that are not compared, after that many in a row that differ in other ways
_HOLE: Final = b"\0"  # in the place of a value: no line has this byte
_LENGTH_NAME: Final = b"Content-Length: "
_LOGGED: Final = frozenset([b"user-agent:", b"referer:"])
# They have a meaning, and are not forwarded as they came.
_READ: Final = (REQUEST_ID, TRACEPARENT, TRACESTATE)
# What `parse_request_lines`, in HTTP/1.1, and `parse_response_lines` forward, unless Connection names it.
_FORWARDED: Final = frozenset([OTHER, DATE, HOST, LENGTH, CODING, VIA, EXPECT])


class _Template:
    """The lines of a connection's heads, with holes for values: as received, and as forwarded.

    `names` are the names in lower case, with their colon, of the lines with a hole."""

    __slots__ = ("_between", "_end", "_fields", "_holes", "_meant", "_pause", "_pauses", "_pieces",
                 "last", "meant_at", "names", "parent_at", "state_at")  # fmt: skip

    def __init__(self, fields: FieldTable, meant: tuple[int, ...]) -> None:
        """`meant`: the kinds of lines that may have a hole though their values have a meaning."""
        self._fields = fields
        self._meant = meant
        self.last = b""  # the last head that was parsed
        self._pause = self._pauses = 0  # heads not to compare: from now on, and the next time
        self._holes: list[int] = []  # the numbers of the lines with a hole; the start line is 0
        self._between: list[bytes] = []  # what stands before each hole
        self._end = b""  # what stands behind the last one
        self._pieces: list[bytes] = []  # the lines to forward, joined by CRLF; every other piece is a value
        # The holes with values that have a meaning, -1 for none: a request id or a length, and a trace's.
        self.meant_at = self.parent_at = self.state_at = -1
        self.names: list[bytes] = []

    def learn(self, raw: bytes, lines: list[bytes], forwarded: list[bytes]) -> bool:
        """`raw`, with these lines, was parsed, and forwards those in `forwarded`. Neither list is changed.
        Returns whether there is a template now."""
        last, self.last = self.last, raw
        before, self._holes = self._holes, []
        self._between, self._pieces = [], []
        if self._pause:
            self._pause -= 1
            return False
        if not last or not self._make(last[:-4].split(b"\r\n"), lines, forwarded, before):
            self._pause = self._pauses = min(2 * self._pauses + 1, _LONGEST_PAUSE) if last else 0
            return False
        self._pauses = 0
        return True

    def _make(self, last: list[bytes], lines: list[bytes], forwarded: list[bytes], before: list[int]) -> bool:
        """Make a template of `lines`, if they are like those of the `last` head, which had holes `before`."""
        if len(lines) != len(last):
            return False
        numbers = range(1, len(lines))
        holes = [number for number in numbers if lines[number] != last[number] or number in before]
        if not 0 < len(holes) <= _MOST_HOLES:
            return False
        kind_of = self._fields.kind_of
        names = []
        for number in holes:
            line = lines[number]
            name = line[: line.find(b":") + 1]
            kind = kind_of(line)
            if kind not in (OTHER, DATE) and kind not in self._meant:
                return False
            if not last[number].startswith(name):
                return False
            names.append(name)
        kinds = [kind_of(line) for line in lines[1:]]
        # If it is unknown whether a line is forwarded, places would be wrong. Of several request ids the
        # first valid one counts.
        if UNKNOWN in kinds:
            return False
        for kind in self._meant:
            if kinds.count(kind) > 1:
                return False
        places: dict[int, int] = {}  # of each line among those to forward
        for number, kind in enumerate(kinds, 1):
            if kind in _FORWARDED:
                places[number] = len(places)
        if len(places) != len(forwarded):  # Connection names some of them
            return False
        received, sent = lines.copy(), forwarded.copy()
        self.meant_at = self.parent_at = self.state_at = -1
        for at, number in enumerate(holes):
            kind = kinds[number - 1]
            received[number] = names[at] + _HOLE
            if kind == TRACEPARENT:
                self.parent_at = at
            elif kind == TRACESTATE:
                self.state_at = at
            elif kind in self._meant:
                self.meant_at = at
            if kind in _READ:
                continue
            place = places[number]
            name = _LENGTH_NAME if kind == LENGTH else names[at]
            if not sent[place].startswith(name) or (kind != LENGTH and sent[place] != lines[number]):
                return False
            sent[place] = name + _HOLE
        self._between = b"\r\n".join([*received, b"", b""]).split(_HOLE)
        self._end = self._between.pop()
        if len(self._between) != len(holes):
            return False
        fixed = b"\r\n".join(sent).split(_HOLE)
        self._pieces = [b""] * (2 * len(fixed) - 1)
        self._pieces[::2] = fixed
        self._holes = holes
        self.names = [name.lower() for name in names]
        return True

    def cut_start(self, size: int) -> None:
        """Leave out the start line, of `size` bytes with its CRLF, which may differ."""
        self._between[0] = self._between[0][size:]

    def enclose(self, begin: bytes, end: bytes) -> None:
        """Forward these before and behind all lines."""
        self._pieces[0] = begin + self._pieces[0]
        self._pieces[-1] += end

    def values(self, data: bytes, start: int) -> list[bytes] | None:
        """The values in the holes, if `data` is, from `start` on, one head that fits, and nothing else."""
        values = []
        for between in self._between:
            if not data.startswith(between, start):
                return None
            begin = start + len(between)
            start = data.find(b"\r", begin)
            values.append(data[begin:start])
        if data[start:] != self._end:
            return None
        text = b"".join(values)
        return values if text.translate(FIELD_BYTES) == text else None

    def fill(self, values: list[bytes]) -> bytes:
        """The lines to forward, joined by CRLF, with these values; a request id is not among them."""
        pieces = self._pieces.copy()
        pieces[1::2] = values
        return b"".join(pieces)


class RequestTemplate(_Template):
    """Of one client connection."""

    __slots__ = ("_forwarded", "_head", "_id_at", "_is_logged", "_is_whole", "_traced_at", "_uri_limit")

    def __init__(self, fields: FieldTable, uri_limit: int) -> None:
        """`uri_limit` is in bytes of the target."""
        super().__init__(fields, _READ)
        self._head: RequestHead | None = None  # the last one that fits
        self._forwarded = b""  # its lines when it was parsed, until it has been forwarded
        self._is_whole = False  # what is filled in includes what the proxy adds
        self._is_logged = False  # some of the values are logged
        # Of the values those of a trace, the last one first; and of the others the request id.
        self._traced_at: list[int] = []
        self._id_at = -1
        self._uri_limit = uri_limit

    def parsed(self, head: RequestHead, lines: list[bytes]) -> None:
        """`head` was parsed from these lines, the request line first."""
        if self._head is not None:
            self.last = self._head.raw
            self._head = None
        if head.raw and head.minor == 1 and self.learn(head.raw, lines, head.lines):
            trace = head.trace
            if trace is None:
                if self.parent_at >= 0 or self.state_at >= 0:
                    return  # it was not valid, or Connection names it
            elif self.state_at >= 0 and not trace.state:
                return
            self._head = head
            self._traced_at = sorted([at for at in (self.parent_at, self.state_at) if at >= 0], reverse=True)
            self._id_at = self.meant_at - len([at for at in self._traced_at if at < self.meant_at])
            self.last = b""  # that is its `raw`
            self._forwarded = b"\r\n".join([*head.lines, b""])
            self._is_whole = False
            self._is_logged = not _LOGGED.isdisjoint(self.names)
            self.cut_start(head.start)

    def next(self, data: bytes) -> RequestHead | None:
        """The head that `data` is, if it is one that fits, and nothing else. The last one is no longer
        needed: it is made to be this one."""
        head = self._head
        if head is None:
            return None
        size = data.find(b"\n") + 1
        values = self.values(data, size)
        if values is None or len(data) - size > BLOCK_LIMIT:
            return None
        trace: TraceContext | None = None
        if self._traced_at:
            trace = self._trace(head, values)
            if trace is None:
                return None
            for at in self._traced_at:
                del values[at]
        line = data[:size]
        if not head.raw.startswith(line):
            target = origin_target(line, head.method, 1)
            if not target or len(target) > self._uri_limit:
                return None
            head.start = size
            head.target = target
        head.raw = data
        if self._id_at >= 0:
            value = values.pop(self._id_at).strip(b" \t")
            head.request_id = value if is_request_id(value) else b""
        if trace is not None:
            head.trace = trace
        if self._forwarded:
            # What was added behind its lines is the same for all heads that fit. (They differ if a pin was
            # removed.)
            if head.outgoing.startswith(self._forwarded, LEADING):
                self.enclose(head.outgoing[:LEADING], head.outgoing[LEADING + len(self._forwarded) - 2 :])
                self._is_whole = True
            self._forwarded = b""
        head.refill(self.fill(values), self._is_whole)
        if self._is_logged:
            head.logged = None
        return head

    def _trace(self, head: RequestHead, values: list[bytes]) -> TraceContext | None:
        """What these values say, if they are valid."""
        before = head.trace
        if before is None:
            return None
        state = before.state
        if self.parent_at >= 0:
            trace = context_in(values[self.parent_at].strip(b" \t"))
        else:
            trace = TraceContext(before.trace_id, before.span_id, before.flags)
        if trace is not None and self.state_at >= 0:
            state = state_in([values[self.state_at].strip(b" \t")])
            if not state:
                return None
        if trace is not None:
            trace.state = state
        return trace


class ResponseTemplate(_Template):
    """Of one upstream connection."""

    __slots__ = ("_head",)

    def __init__(self) -> None:
        super().__init__(RESPONSE_FIELDS, (LENGTH,))
        self._head: ResponseHead | None = None  # the first one that fits

    def parsed(self, head: ResponseHead, lines: list[bytes], raw: bytes) -> None:
        """`head` was parsed from `raw` with these lines, the status line first; its request is no HEAD."""
        status = head.status
        if status >= 200:
            # In the exceptions fields have other meanings.
            is_usual = status not in (204, 304, 426)
            self._head = head if is_usual and self.learn(raw, lines, head.lines) else None

    def next(self, raw: bytes) -> ResponseHead | None:
        """The head that `raw` is, if it fits."""
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
