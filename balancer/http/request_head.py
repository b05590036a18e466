"""Parses request heads into what the proxy must know. Every request passes here first."""

from typing import Final

from balancer.errors import (
    HEAD_TOO_LARGE,
    MALFORMED_REQUEST,
    URI_TOO_LONG,
    ProtocolError,
)
from balancer.http.fields import (
    CODING,
    CONNECTION,
    EXPECT,
    EXPLAIN,
    FORWARDING,
    HOST,
    LENGTH,
    NEW,
    REQUEST_ID,
    REQUEST_KINDS,
    TE,
    TRACEPARENT,
    TRACESTATE,
    UPGRADE,
    VIA,
    Field,
    FieldTable,
)
from balancer.http.forwarded import ClientFacts
from balancer.http.framing import NO_BODY, request_length
from balancer.http.head import KEEP_ALIVE, joined, persists, repeated
from balancer.http.headers import find_value, without_nominated
from balancer.http.syntax import (
    COMMON_METHODS,
    REQUEST_LINE,
    check_method,
    check_request_fields,
    is_request_id,
    origin_target,
    request_line_fault,
)
from balancer.http.target import split_absolute
from balancer.http.trace_context import TraceContext, context_in

REQUEST_FIELDS: Final = FieldTable(REQUEST_KINDS)

BLOCK_LIMIT: Final = 1024  # bytes; larger blocks are not kept: an idle client must stay cheap
BEHIND_TARGET: Final = b" HTTP/1.1"
BEFORE_ID: Final = b"X-Request-ID: "
# In `outgoing`, before and behind the lines, with their CRLFs.
LEADING: Final = len(BEHIND_TARGET) + 2
TRAILING: Final = len(BEFORE_ID) + 2
_SLASH: Final = 0x2F


class RequestHead:
    """A request head that has passed every check.

    `target` is the origin form (or `*`); `host` the authority, empty only in HTTP/1.0. `length` is the body
    length as returned by `framing`. `websocket` is an upgrade to be tunnelled. `lines` are the field lines to
    forward, as received; lines not among them were hop-by-hop, or are in `forwarding`: what proxies report
    about the client. `request_id` is the client's own X-Request-ID, if it is valid. `facts` are derived from
    it if the peer is trusted. `raw` is the head as received, kept to recognise a repeated head, empty if not
    worth it; its request line has `start` bytes, with its CRLF, and a target in origin form. `route` is what
    the router found for this target and these lines.
    `joined`, if not empty, has the same as `lines`, joined by CRLF, instead of it.
    `outgoing` is what `wire` has rendered between target and request id, and then replaces both (not if Host
    is missing): an idle client keeps its head. `known` is the remembered head with the same fields, if
    `head_memory` has one. `pin` is what `pin_reader` found in the cookies, `logged` its parts of access-log
    lines; they stay with a repeated head. `balancers` are the balancers named in Via, None if there are none,
    which is nearly always so, or if this one is not among them. `explain`: X-Balancer-Explain asks for it;
    then `balancers` is not None, so that no other request needs a test for this. `trace` is what the client
    says of its trace, in fields that are not among `lines`; None if traces are off."""

    __slots__ = ("balancers", "explain", "facts", "forwarding", "host", "joined", "keep_alive", "known",
                 "length", "lines", "logged", "method", "minor", "outgoing", "pin", "pin_reader",
                 "raw", "request_id", "route", "start", "target", "te_trailers", "trace",
                 "websocket")  # fmt: skip

    def __init__(self, method: bytes, target: bytes, minor: int) -> None:
        self.method = method
        self.target = target
        self.minor = minor
        self.host = b""
        self.length = NO_BODY
        self.keep_alive = minor == 1
        self.websocket = False
        self.te_trailers = False
        self.lines: list[bytes] = []
        self.raw = b""
        self.start = 0
        self.joined = b""
        self.outgoing = b""
        self.known: RememberedHead | None = None
        self.request_id = b""
        self.forwarding: list[Field] | None = None
        self.facts: ClientFacts | None = None
        self.balancers: list[bytes] | None = None
        self.explain = False
        self.pin = b""
        self.pin_reader: object | None = None
        self.logged: tuple[str, str, str] | None = None
        self.route: object | None = None
        self.trace: TraceContext | None = None

    def block(self) -> bytes:
        """What follows the request line in `raw`."""
        return self.raw[self.start :]

    def shed(self) -> None:
        """Free what a finished request that will not be recognised again does not need: an idle client must
        stay cheap."""
        self.target = self.joined = self.outgoing = self.pin = self.request_id = b""
        self.lines = []
        self.forwarding = self.facts = self.logged = self.trace = None

    def find(self, name: bytes) -> bytes | None:
        """The value of the first field called `name` (in lower case). Slow: not for the request path."""
        return find_value(self.forwarded_lines(), name)

    def forwarded_lines(self) -> list[bytes]:
        """The lines that go to the app, from `outgoing` or `lines`. Slow, like `find`."""
        if self.outgoing:
            return self.outgoing[LEADING:-TRAILING].split(b"\r\n")
        return self.joined.split(b"\r\n") if self.joined else self.lines

    def forwarded_block(self) -> bytes:
        """The same lines, joined by CRLF."""
        if self.outgoing:
            return self.outgoing[LEADING:-TRAILING]
        return self.joined or b"\r\n".join(self.lines)

    def replace_lines(self, changes: dict[bytes, bytes]) -> None:
        """Replace each line found in `changes` by its value; an empty value removes the line."""
        fields = b"\r\n%b\r\n" % self.forwarded_block()
        for line, new in changes.items():
            before, after = b"\r\n%b\r\n" % line, b"\r\n%b\r\n" % new if new else b"\r\n"
            # Twice, as of two such lines in a row the first one takes the line end between them.
            fields = fields.replace(before, after).replace(before, after)
        self.known = None  # its fields are no longer the same
        if self.outgoing:
            self.outgoing = b"%b%b%b" % (BEHIND_TARGET, fields, BEFORE_ID)
        else:
            self.joined = fields[2:-2]
            self.lines = []

    def refill(self, fields: bytes, is_rendered: bool) -> None:
        """Forward these lines, joined by CRLF, or what is `outgoing` if they are rendered. Forgets what was
        derived from the lines before, but for `facts` and `logged`."""
        if is_rendered:
            self.outgoing = fields
        else:
            self.joined = fields
            self.outgoing = b""
        self.pin = b""
        self.pin_reader = self.known = self.route = None


class RememberedHead:
    """The fields of a request head that has come more than once. `outgoing`, `facts` and
    `logged` are for `peer`."""

    __slots__ = ("facts", "head", "logged", "outgoing", "peer")

    def __init__(self, head: RequestHead) -> None:
        """`head` is kept as it is now."""
        self.head = _copy(head, b"")
        self.outgoing = b""
        self.facts: ClientFacts | None = None
        self.logged: tuple[str, str, str] | None = None
        self.peer: object | None = None

    def with_target(self, raw: bytes, start: int, target: bytes) -> RequestHead:
        """A new head with these fields, and a request line that differs in its target at most."""
        head = _copy(self.head, target)
        head.raw = raw
        head.start = start
        head.known = self
        return head


def _copy(head: RequestHead, target: bytes) -> RequestHead:
    copy = RequestHead(head.method, target, head.minor)
    copy.host = head.host
    copy.length = head.length
    copy.keep_alive = head.keep_alive
    copy.websocket = head.websocket
    copy.te_trailers = head.te_trailers
    copy.lines = head.lines
    copy.request_id = head.request_id
    copy.forwarding = head.forwarding
    copy.balancers = head.balancers
    copy.explain = head.explain
    copy.trace = head.trace
    return copy


def repeats(before: RequestHead, data: bytes, uri_limit: int) -> int:
    """Whether `data` begins with the same head as `before`; or is exactly one head that differs from it in
    its target at most, as most requests of a client do. If so, `before` is made to be that head, and its size
    is returned, else 0."""
    raw = before.raw
    if not raw:
        return 0
    if data.startswith(raw):
        return len(raw)
    block = before.block()
    if not data.endswith(block):
        return 0
    line = data[: len(data) - len(block)]
    target = origin_target(line, before.method, before.minor)
    if not target or len(target) > uri_limit:
        return 0
    before.start = len(line)
    before.target = target
    before.raw = data
    before.route = None
    return len(data)


def parse_request_head(
    raw: bytes,
    uri_limit: int,
    count_limit: int,
    before: RequestHead | None = None,
    fields: FieldTable = REQUEST_FIELDS,
) -> RequestHead:
    """Parses `raw`, which ends with its first empty line. Raises ProtocolError with the failure to report.

    `before` is the previous head on the same connection, no longer needed: it is returned if it `repeats`.
    """
    if before is not None and repeats(before, raw, uri_limit) == len(raw):
        return before
    lines = raw[:-4].split(b"\r\n")
    if not lines[0] and len(lines) > 1:  # RFC 9112 section 2.2: ignore one empty line before it
        raw = raw[2:]
        del lines[0]
    return parse_request_lines(raw, lines, uri_limit, count_limit, fields)


def parse_request_lines(
    raw: bytes, lines: list[bytes], uri_limit: int, count_limit: int, fields: FieldTable
) -> RequestHead:
    """As `parse_request_head`, of the head's `lines`."""
    start = lines[0]
    end = len(start) + 2
    line, block = raw[:end], raw[end:]
    method, minor = b"GET", 1
    target = origin_target(line, method, minor)
    if not target:  # not as most requests begin
        match = REQUEST_LINE.fullmatch(start)
        if match is None:
            raise request_line_fault(start, uri_limit)
        method, target, version = match.groups()
        minor = 1 if version == b"1" else 0
        if method not in COMMON_METHODS:
            check_method(method)
    if len(target) > uri_limit:
        raise ProtocolError(URI_TOO_LONG, f"the request target is longer than {uri_limit} bytes")
    if len(lines) - 1 > count_limit:
        raise ProtocolError(HEAD_TOO_LARGE, f"more than {count_limit} header fields")
    head = RequestHead(method, target, minor)
    if target[0] == _SLASH:
        head.start = end
        if len(block) <= BLOCK_LIMIT:
            head.raw = raw
    kept = head.lines
    seen = fields.seen
    host: Field | None = None
    length: Field | None = None
    coding: Field | None = None
    options: list[bytes] | None = None
    websocket = te_trailers = False
    parent: Field | None = None
    parents = 0
    states: list[bytes] = []
    unchecked = True
    for line in lines[1:]:
        field = seen.get(line, NEW)
        if field is NEW:
            field = fields.examine(line)
            if field is NEW:
                if unchecked:
                    check_request_fields(block)
                    unchecked = False
                field = fields.learn(line)
        if field is None:
            kept.append(line)
            continue
        kind = field.kind
        if kind == HOST:
            host = field if host is None else repeated(field, MALFORMED_REQUEST)
            kept.append(field.line)
        elif kind == CONNECTION:
            options = field.members if options is None else joined(options, field, MALFORMED_REQUEST)
        elif kind == LENGTH:
            length = field if length is None else repeated(field, MALFORMED_REQUEST)
            kept.append(field.line)
        elif kind == CODING:
            coding = field if coding is None else repeated(field, MALFORMED_REQUEST)
            kept.append(field.line)
        elif kind == FORWARDING:
            if head.forwarding is None:
                head.forwarding = [field]
            else:
                head.forwarding.append(field)
        elif kind == REQUEST_ID:
            if not head.request_id and is_request_id(field.value):
                head.request_id = field.value
        elif kind == UPGRADE:
            websocket |= b"websocket" in field.members
        elif kind == TE:
            te_trailers |= b"trailers" in field.members
        elif kind == VIA:
            if head.balancers is None:
                head.balancers = []
            head.balancers += field.members
            kept.append(line)
        elif kind == TRACEPARENT:
            parent = field
            parents += 1
        elif kind == TRACESTATE:
            states.append(field.value)
        elif kind == EXPLAIN:
            head.explain = field.value == b"1"
            if head.explain and head.balancers is None:
                head.balancers = []
        elif kind == EXPECT and minor == 1:  # in HTTP/1.0 it is ignored (RFC 9110 section 10.1.1)
            kept.append(field.line)
    if target[0] != _SLASH and not (target == b"*" and method == b"OPTIONS"):
        host = _take_authority(head, host)
    if host is not None:
        head.host = host.value
    elif minor == 1:
        raise ProtocolError(MALFORMED_REQUEST, "no Host")
    if length is not None or coding is not None:
        head.length = request_length(
            minor, length.value if length else None, coding.value if coding else None
        )
    if parent is not None and parents == 1:
        head.trace = context_in(parent.value, states)
    if options is not None and options != KEEP_ALIVE:
        head.keep_alive = persists(options, minor)
        head.lines = without_nominated(kept, options)
        # RFC 9110 sections 7.8 and 10.1.4: they count only if Connection names them, and not in HTTP/1.0.
        if websocket and b"upgrade" in options and minor == 1 and head.length == NO_BODY:
            head.websocket = method == b"GET"
        head.te_trailers = te_trailers and minor == 1 and b"te" in options
        if head.trace is not None and b"traceparent" in options:
            head.trace = None
        elif head.trace is not None and b"tracestate" in options:
            head.trace.state = b""
    elif options is not None:
        head.keep_alive = True
    return head


def _take_authority(head: RequestHead, host: Field | None) -> Field:
    """RFC 9112 section 3.2.2: the authority of the absolute form replaces the Host field."""
    authority, head.target = split_absolute(head.target, head.method)
    line = b"Host: " + authority
    if host is not None:
        head.lines[head.lines.index(host.line)] = line
    elif head.minor == 1:
        raise ProtocolError(MALFORMED_REQUEST, "no Host")
    else:
        head.lines.append(line)
    return Field(HOST, line)
