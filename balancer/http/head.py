"""A message head as bytes -> what the proxy must know of it. Every request and response passes here first.

httptools checks the syntax of the whole head in C; two regular expressions of ours do the rest. One holds
the start line to RFC 9112 where httptools is lax, the other finds the few fields a proxy has business with.
All other lines are never split: they are forwarded as the bytes they came in (see `wire`).
"""

import re

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser, HttpResponseParser
from httptools.parser.errors import HttpParserInvalidMethodError

from balancer.errors import (
    HEAD_TOO_LARGE,
    MALFORMED_REQUEST,
    MALFORMED_RESPONSE,
    METHOD_NOT_SUPPORTED,
    RESPONSE_HEAD_TOO_LARGE,
    URI_TOO_LONG,
    VERSION_NOT_SUPPORTED,
    ProtocolError,
)
from balancer.http.framing import CHUNKED, NO_BODY, request_length, response_length
from balancer.http.headers import TOKEN, connection_options, nominated_lines
from balancer.http.target import check_host, split_absolute

# A line to leave out of the forwarded head, or to replace: (start, end, replacement).
Edit = tuple[int, int, bytes]

HEAD_END = b"\r\n\r\n"

# One space between the parts, a visible-ASCII target without fragment, HTTP/1.0 or 1.1 (RFC 9112 section 3).
_REQUEST_LINE = re.compile(rb"(%b) ([!\"$-~]+) HTTP/1\.([01])\r\n" % TOKEN)
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?:( [\t\x20-\x7e\x80-\xff]*)|)\r\n")

# Matched from the LF that ends one line to the CR that ends the next; the first letters come first so that
# other lines fail at their first byte. Underscores: WSGI and CGI take `X_Forwarded_For` for the real one.
_REQUEST_FIELD = re.compile(
    rb"\n(?=[cefhkptuxCEFHKPTUX])(host|connection|content-length|transfer-encoding|expect|upgrade|te"
    rb"|keep-alive|proxy-connection|proxy-authorization|forwarded"
    rb"|x[-_]forwarded[-_](?:for|proto|host)|x[-_]request[-_]id):[\t ]*([^\r]*)\r",
    re.IGNORECASE,
)
_RESPONSE_FIELD = re.compile(
    rb"\n(?=[cdkptuCDKPTU])(content-length|date|connection|transfer-encoding|keep-alive|upgrade"
    rb"|te|proxy-connection):[\t ]*([^\r]*)\r",
    re.IGNORECASE,
)

_HOST, _CONNECTION, _LENGTH, _CODING, _EXPECT, _UPGRADE, _TE, _DROP, _FORWARDING, _DATE = range(10)
_KINDS: dict[bytes, int] = {
    b"host": _HOST,
    b"connection": _CONNECTION,
    b"content-length": _LENGTH,
    b"transfer-encoding": _CODING,
    b"expect": _EXPECT,
    b"upgrade": _UPGRADE,
    b"te": _TE,
    b"keep-alive": _DROP,
    b"proxy-connection": _DROP,
    b"proxy-authorization": _DROP,  # meant for us, the next hop; RFC 9110 section 11.7.2
    b"date": _DATE,
}  # the rest: _FORWARDING


class _Ignore:
    """httptools wants an object for its callbacks; with none defined it checks the head and calls nothing."""

    __slots__ = ()


_IGNORE = _Ignore()


class RequestHead:
    """A request head that has passed every check.

    `raw` is the head up to and with its empty line, `line_end` where its fields begin. `target` is the
    origin form (or `*`); `host` the authority, empty only in HTTP/1.0. `length` counts the body as
    `framing` does. `websocket` is an upgrade to be tunnelled. `edits` say how the fields differ when
    forwarded; `forwarding` holds the (name, value) pairs of the X-Forwarded-* family and X-Request-ID.
    """

    __slots__ = ("edits", "expects_continue", "forwarding", "host", "keep_alive", "length", "line_end",
                 "method", "minor", "raw", "target", "te_trailers", "verbatim_line", "websocket")  # fmt: skip

    raw: bytes
    line_end: int
    method: bytes
    target: bytes
    minor: int
    verbatim_line: bool
    host: bytes
    length: int
    keep_alive: bool
    expects_continue: bool
    websocket: bool
    te_trailers: bool
    edits: list[Edit]
    forwarding: list[tuple[bytes, bytes]] | None


class ResponseHead:
    """A response head that has passed every check.

    `phrase` is the raw reason phrase with its leading space (None: the line had not even that). `length`
    counts the body as `framing` does. `coding_line` is where Transfer-Encoding stands, to be left out
    for HTTP/1.0 clients.
    """

    __slots__ = ("coding_line", "edits", "has_date", "keep_alive", "length", "line_end", "minor", "phrase",
                 "raw", "status", "websocket")  # fmt: skip

    raw: bytes
    line_end: int
    status: int
    minor: int
    phrase: bytes | None
    length: int
    keep_alive: bool
    websocket: bool
    has_date: bool
    coding_line: tuple[int, int] | None
    edits: list[Edit]


def parse_request_head(raw: bytes, uri_limit: int, count_limit: int) -> RequestHead:
    """`raw` ends with its first empty line. Raises ProtocolError with the failure to answer."""
    line = _REQUEST_LINE.match(raw)
    if line is None:
        if raw.startswith(b"\r\n") and not raw.startswith(HEAD_END):
            return parse_request_head(raw[2:], uri_limit, count_limit)  # RFC 9112 section 2.2: one is ignored
        raise _request_line_fault(raw)
    head = RequestHead()
    head.raw = raw
    head.line_end = fields = line.end()
    method, target, version = line.groups()
    head.method = method
    head.minor = minor = 1 if version == b"1" else 0
    if len(target) > uri_limit:
        raise ProtocolError(URI_TOO_LONG, f"the request target is longer than {uri_limit} bytes")
    if method == b"CONNECT":
        raise ProtocolError(METHOD_NOT_SUPPORTED, "CONNECT")
    try:
        HttpRequestParser(_IGNORE).feed_data(raw)
    except HttpParserUpgrade:
        pass
    except HttpParserInvalidMethodError:
        raise ProtocolError(METHOD_NOT_SUPPORTED, "an unknown method") from None
    except HttpParserError as error:
        raise ProtocolError(MALFORMED_REQUEST, str(error)) from None
    if raw.count(b"\n") > count_limit + 2:
        raise ProtocolError(HEAD_TOO_LARGE, f"more than {count_limit} header fields")

    head.edits = edits = []
    head.forwarding = None
    head.expects_continue = head.te_trailers = False
    host = length = coding = upgrade = None
    options: list[bytes] | None = None
    keep_alive = minor == 1
    for match in _REQUEST_FIELD.finditer(raw, fields - 1):
        name, value = match.groups()
        name = name.lower()
        kind = _KINDS.get(name, _FORWARDING)
        if kind == _HOST:
            if host is not None:
                raise ProtocolError(MALFORMED_REQUEST, "more than one Host")
            host = value.rstrip(b" \t")
            continue
        if kind == _CONNECTION:
            option = value.lower()
            if option == b"keep-alive":
                keep_alive = True
            else:
                options = connection_options(option) + (options or [])
        elif kind == _LENGTH:
            if length is not None:
                raise ProtocolError(MALFORMED_REQUEST, "more than one Content-Length")
            length = value.rstrip(b" \t")
            continue
        elif kind == _CODING:
            if coding is not None:
                raise ProtocolError(MALFORMED_REQUEST, "more than one Transfer-Encoding")
            coding = value.rstrip(b" \t")
            continue
        elif kind == _EXPECT:
            # RFC 9110 section 10.1.1: ignored in HTTP/1.0; anything but 100-continue is the app's business.
            if minor == 1:
                head.expects_continue |= b"100-continue" in connection_options(value)
                continue
        elif kind == _UPGRADE:
            upgrade = value if upgrade is None else upgrade + b"," + value
        elif kind == _TE:
            head.te_trailers |= b"trailers" in connection_options(value)
        elif kind == _FORWARDING:
            if head.forwarding is None:
                head.forwarding = []
            head.forwarding.append((name, value.rstrip(b" \t")))
        edits.append((match.start() + 1, match.end() + 1, b""))

    head.length = NO_BODY if length is None and coding is None else request_length(minor, length, coding)
    if target[0] == 0x2F or (target == b"*" and method == b"OPTIONS"):  # 0x2F is "/": the origin form
        head.verbatim_line = minor == 1
    else:
        authority, target = split_absolute(target, method)
        head.verbatim_line = False
        host = _replace_host(head, host, authority)
    head.target = target
    if host is None:
        if minor == 1:
            raise ProtocolError(MALFORMED_REQUEST, "no Host")
        host = b""
    else:
        check_host(host)
    head.host = host

    head.websocket = False
    if options is not None:
        if b"close" in options:
            keep_alive = False
        elif b"keep-alive" in options:
            keep_alive = True
        _drop_nominated(raw, options, edits)
        # RFC 9110 section 7.8: an Upgrade counts only where Connection says so, and not in HTTP/1.0.
        if upgrade is not None and minor == 1 and b"upgrade" in options and head.length == NO_BODY:
            head.websocket = method == b"GET" and b"websocket" in connection_options(upgrade)
    head.keep_alive = keep_alive
    return head


def parse_response_head(raw: bytes, method: bytes, count_limit: int) -> ResponseHead:
    """`raw` ends with its first empty line; `method` is that of the request. Raises ProtocolError."""
    line = _STATUS_LINE.match(raw)
    if line is None:
        raise ProtocolError(MALFORMED_RESPONSE, "the status line is not one of HTTP/1.0 or 1.1")
    try:
        HttpResponseParser(_IGNORE).feed_data(raw)
    except HttpParserUpgrade:
        pass
    except HttpParserError as error:
        raise ProtocolError(MALFORMED_RESPONSE, str(error)) from None
    if raw.count(b"\n") > count_limit + 2:
        raise ProtocolError(RESPONSE_HEAD_TOO_LARGE, f"more than {count_limit} header fields")
    head = ResponseHead()
    head.raw = raw
    head.line_end = fields = line.end()
    version, code, head.phrase = line.groups()
    head.minor = minor = 1 if version == b"1" else 0
    head.status = status = int(code)
    head.edits = edits = []
    head.has_date = False
    head.coding_line = None
    length = coding = upgrade = None
    options: list[bytes] | None = None
    keep_alive = minor == 1
    bodiless = status < 200 or status == 204
    for match in _RESPONSE_FIELD.finditer(raw, fields - 1):
        name, value = match.groups()
        kind = _KINDS[name.lower()]
        if kind == _LENGTH:
            if length is not None:
                raise ProtocolError(MALFORMED_RESPONSE, "more than one Content-Length")
            length = value.rstrip(b" \t")
            if not bodiless:  # RFC 9110 section 8.6: not allowed there, and misleading
                continue
        elif kind == _DATE:
            head.has_date = True
            continue
        elif kind == _CONNECTION:
            option = value.lower()
            if option == b"keep-alive":
                keep_alive = True
            else:
                options = connection_options(option) + (options or [])
        elif kind == _CODING:
            if coding is not None:
                raise ProtocolError(MALFORMED_RESPONSE, "more than one Transfer-Encoding")
            coding = value.rstrip(b" \t")
            if not bodiless:
                head.coding_line = (match.start() + 1, match.end() + 1)
                continue
        elif kind == _UPGRADE:
            upgrade = value if upgrade is None else upgrade + b"," + value
        edits.append((match.start() + 1, match.end() + 1, b""))
    head.length = response_length(method, status, minor, length, coding)
    if options is not None:
        if b"close" in options:
            keep_alive = False
        elif b"keep-alive" in options:
            keep_alive = True
        _drop_nominated(raw, options, edits)
    head.keep_alive = keep_alive
    head.websocket = status == 101 and upgrade is not None and b"websocket" in connection_options(upgrade)
    if status < 200:
        head.length = NO_BODY
    return head


def refuse_early(start: bytes, uri_limit: int) -> None:
    """Raise what the beginning of a request head already deserves, before the rest has come.

    Without this, a TLS handshake or other noise would only be told so by the head's deadline.
    """
    start = start[2:] if start.startswith(b"\r\n") else start
    line_end = start.find(b"\n")
    if line_end >= 0:
        if _REQUEST_LINE.match(start) is None:
            raise _request_line_fault(start)
    elif len(start) > uri_limit + 64:  # a method, two spaces and a version take far less than 64
        raise ProtocolError(URI_TOO_LONG, f"the request target is longer than {uri_limit} bytes")
    elif _STARTED_LINE.fullmatch(start) is None:
        raise _request_line_fault(start)


_STARTED_LINE = re.compile(
    rb"\r?|%b(?: (?:[!\"$-~]+(?: (?:H(?:T(?:T(?:P(?:/[0-9.]*\r?)?)?)?)?)?)?)?)?" % TOKEN
)
_OTHER_VERSION = re.compile(rb"%b [!\"$-~]+ HTTP/[0-9]\.[0-9]\r\n" % TOKEN)


def _request_line_fault(raw: bytes) -> ProtocolError:
    if _OTHER_VERSION.match(raw):
        return ProtocolError(VERSION_NOT_SUPPORTED, "an HTTP version other than 1.0 and 1.1")
    return ProtocolError(MALFORMED_REQUEST, "the request line is malformed")


def _replace_host(head: RequestHead, host: bytes | None, authority: bytes) -> bytes:
    """RFC 9112 section 3.2.2: the absolute form's authority is the Host, whatever the field says."""
    if host is not None:
        check_host(host)
        line = re.search(rb"\n(host:[^\n]*\n)", head.raw[head.line_end - 1 :], re.IGNORECASE)
        assert line is not None
        start, end = (head.line_end - 1 + position for position in line.span(1))
        head.edits.append((start, end, b"Host: %b\r\n" % authority))
        head.edits.sort()
    elif head.minor == 0:
        head.edits.insert(0, (head.line_end, head.line_end, b"Host: %b\r\n" % authority))
    else:
        raise ProtocolError(MALFORMED_REQUEST, "no Host")
    return authority


def _drop_nominated(raw: bytes, options: list[bytes], edits: list[Edit]) -> None:
    names = [option for option in options if option not in (b"close", b"keep-alive", b"upgrade", b"te")]
    if names:
        known = {edit[:2] for edit in edits}
        edits.extend((*span, b"") for span in nominated_lines(raw, names) if span not in known)
        edits.sort()


__all__ = [
    "CHUNKED",
    "HEAD_END",
    "NO_BODY",
    "Edit",
    "RequestHead",
    "ResponseHead",
    "parse_request_head",
    "parse_response_head",
    "refuse_early",
]
