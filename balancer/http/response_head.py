"""Parses response heads into what the proxy must know."""

from typing import Final

from balancer.errors import (
    MALFORMED_RESPONSE,
    RESPONSE_HEAD_TOO_LARGE,
    ProtocolError,
)
from balancer.http.fields import (
    CODING,
    CONNECTION,
    DATE,
    LENGTH,
    NEW,
    RESPONSE_KINDS,
    UPGRADE,
    Field,
    FieldTable,
)
from balancer.http.framing import UNTIL_CLOSE, response_length
from balancer.http.head import KEEP_ALIVE, joined, persists, repeated
from balancer.http.headers import without_nominated
from balancer.http.syntax import (
    check_response_fields,
    known_status_lines,
    parse_status_line,
)

RESPONSE_FIELDS: Final = FieldTable(RESPONSE_KINDS, failure=MALFORMED_RESPONSE)


class ResponseHead:
    """A response head that has passed every check. It is not changed: `with_lines` makes another one.

    `status_line` is without its CRLF and always HTTP/1.1. `length` is the body length as returned by
    `framing`. `lines` are the field lines to forward; `chunked_line`, if any, is one of them. `joined`, if
    not empty, has the same, joined by CRLF, instead of `lines`. `raw` is the head as received if
    `head_memory` keeps it, else empty. `rendered` and `rendered_date` are for `wire`."""

    __slots__ = ("chunked_line", "has_date", "joined", "keep_alive", "length", "lines", "raw",
                 "rendered", "rendered_date", "status", "status_line", "websocket")  # fmt: skip

    def __init__(self, status: int, status_line: bytes, keep_alive: bool) -> None:
        self.raw = b""
        self.rendered = b""
        self.rendered_date = b""
        self.status = status
        self.status_line = status_line
        self.keep_alive = keep_alive
        self.length = UNTIL_CLOSE
        self.websocket = False
        self.has_date = False
        self.chunked_line: bytes | None = None
        self.lines: list[bytes] = []
        self.joined = b""

    def field_lines(self) -> list[bytes]:
        """The lines to forward, from `lines` or `joined`."""
        return self.joined.split(b"\r\n") if self.joined else self.lines

    def refilled(self, joined: bytes, length: int) -> "ResponseHead":
        """The same head with other values in its field lines, and another length."""
        head = ResponseHead(self.status, self.status_line, self.keep_alive)
        head.length = length
        head.has_date = self.has_date
        head.chunked_line = self.chunked_line
        head.joined = joined
        return head

    def with_lines(self, lines: list[bytes]) -> "ResponseHead":
        """The same head with other field lines."""
        head = ResponseHead(self.status, self.status_line, self.keep_alive)
        head.length = self.length
        head.websocket = self.websocket
        head.has_date = self.has_date
        head.chunked_line = self.chunked_line
        head.lines = lines
        return head


def parse_response_head(raw: bytes, method: bytes, count_limit: int, checked: bool = False) -> ResponseHead:
    """Parses `raw`, which ends with its first empty line; `method` is the request's. Raises ProtocolError.

    `patience` repairs what is refused here, and calls again with the repaired head, which it has `checked`.
    """
    return parse_response_lines(raw, raw[:-4].split(b"\r\n"), method, count_limit, checked)


def parse_response_lines(
    raw: bytes, lines: list[bytes], method: bytes, count_limit: int, checked: bool = False
) -> ResponseHead:
    """As `parse_response_head`, of the head's `lines`."""
    start = lines[0]
    minor, status, status_line = known_status_lines.get(start) or parse_status_line(start)
    if len(lines) > count_limit + 1:
        raise ProtocolError(RESPONSE_HEAD_TOO_LARGE, f"more than {count_limit} header fields")
    head = ResponseHead(status, status_line, minor == 1)
    kept = head.lines
    bodiless = status < 200 or status == 204
    unchecked = not checked
    seen = RESPONSE_FIELDS.seen
    length: Field | None = None
    coding: Field | None = None
    options: list[bytes] | None = None
    for line in lines[1:]:
        field = seen.get(line, NEW)
        if field is NEW:
            field = RESPONSE_FIELDS.examine(line)
            if field is NEW:
                if unchecked:
                    check_response_fields(raw[len(start) + 2 :])
                    unchecked = False
                field = RESPONSE_FIELDS.learn(line, not checked)
        if field is None:
            kept.append(line)
            continue
        kind = field.kind
        if kind == DATE:
            head.has_date = True
            kept.append(line)
        elif kind == LENGTH:
            length = field if length is None else repeated(field, MALFORMED_RESPONSE)
            if not bodiless:  # RFC 9110 section 8.6 forbids it there, and it would mislead
                kept.append(field.line)
        elif kind == CONNECTION:
            options = field.members if options is None else joined(options, field, MALFORMED_RESPONSE)
        elif kind == CODING:
            coding = field if coding is None else repeated(field, MALFORMED_RESPONSE)
            if not bodiless:
                head.chunked_line = field.line
                kept.append(field.line)
        elif kind == UPGRADE:
            head.websocket |= status == 101 and b"websocket" in field.members
            if status == 426:  # Upgrade is required in a 426 (RFC 9110 section 15.5.22): forward it
                kept += [line, b"Connection: upgrade"]
    head.length = response_length(
        method, status, minor, length.value if length else None, coding.value if coding else None
    )
    if options is not None and options != KEEP_ALIVE:
        head.keep_alive = persists(options, minor)
        head.lines = without_nominated(kept, options)
    elif options is not None:
        head.keep_alive = True
    if bodiless and (coding is not None or (length is not None and length.value.strip(b"0"))):
        head.keep_alive = False  # an app that announces a body here may send it before the next response
    return head
