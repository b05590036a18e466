"""Checks the syntax of heads: start lines with our own regular expressions, field lines with httptools.

httptools never sees a start line: it would refuse unknown methods, and accept double spaces, `#` in a target,
HTTP/0.9 and 2.0, RTSP and a status of 099. It does not have the last word on fields either: its releases
treat Content-Length and Transfer-Encoding differently, and there `framing` decides.
"""

import re
from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser, HttpResponseParser

from balancer.errors import (
    MALFORMED_REQUEST,
    MALFORMED_RESPONSE,
    METHOD_NOT_SUPPORTED,
    URI_TOO_LONG,
    VERSION_NOT_SUPPORTED,
    Failure,
    ProtocolError,
)
from balancer.http.headers import TOKEN

# Any token is a method (RFC 9110 section 9.1), up to a length far above any in use.
METHOD_LIMIT: Final = 32
_METHOD: Final = b"%b{1,%d}" % (TOKEN.removesuffix(b"+"), METHOD_LIMIT)
# Single spaces, a visible-ASCII target without fragment, HTTP/1.0 or 1.1 (RFC 9112 section 3).
REQUEST_LINE: Final = re.compile(rb"(%b) ([!\"$-~]+) HTTP/1\.([01])" % _METHOD)
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*))?")
_FIELD_LINE: Final = rb"%b:[\t\x20-\x7e\x80-\xff]*\r\n" % TOKEN  # RFC 9112 section 5, without folds
_FIELD_LINES: Final = re.compile(rb"(?:%b)*" % _FIELD_LINE)
_FIELDS: Final = re.compile(rb"(?:%b)*\r\n" % _FIELD_LINE)

# The methods of most requests; the others go through `check_method`.
COMMON_METHODS: Final = frozenset([b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"])
# Compared in upper case, as an app may ignore case. No tunnels to arbitrary hosts, and HTTP/2's preface is
# not a request (RFC 9113 section 3.4).
_NOT_SERVED: Final = frozenset([b"CONNECT", b"PRI"])

# Cache of parsed status lines; read directly by `head`.
known_status_lines: Final[dict[bytes, tuple[int, int, bytes]]] = {}
_STATUS_LINES: Final = 1024
_STATUS_LINE_BYTES: Final = 64

_STARTED_LINE: Final = re.compile(
    rb"\r?|%b(?: (?:[!\"$-~]+(?: (?:H(?:T(?:T(?:P(?:/[0-9.]*\r?)?)?)?)?)?)?)?)?" % _METHOD
)
_LONG_METHOD: Final = re.compile(rb"%b{%d}" % (TOKEN.removesuffix(b"+"), METHOD_LIMIT + 1))
_OTHER_VERSION: Final = re.compile(rb"%b [!\"$-~]+ HTTP/[0-9]\.[0-9]" % _METHOD)
_TARGET_BYTES: Final = re.compile(rb"[!\"$-~]*")
_LINE_TO_TARGET: Final = re.compile(rb"%b ([!\"$-~]+)" % _METHOD)


# Translated, a byte that may not occur becomes another one: what stays equal is valid. `translate` returns
# the same object then, so that the comparison costs nothing.
_TARGET_TABLE: Final = bytes(
    byte if byte == 0x22 or (0x21 <= byte <= 0x7E and byte != 0x23) else byte ^ 1 for byte in range(256)
)
FIELD_BYTES: Final = bytes(
    byte if byte == 0x09 or 0x20 <= byte <= 0x7E or byte >= 0x80 else byte ^ 1 for byte in range(256)
)
_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._~:/+=@\-]{1,128}")
_LINE_ENDS: Final = (b" HTTP/1.0\r\n", b" HTTP/1.1\r\n")
_LINE_END_BYTES: Final = 11
_SPACE: Final = 0x20
_SLASH: Final = 0x2F


class _Ignore:
    """httptools requires an object for its callbacks; without any it only checks."""

    __slots__ = ()


_IGNORE: Final = _Ignore()


def refuse_early(start: bytes, uri_limit: int, searched: int) -> None:
    """Raise ProtocolError if the beginning of a request head is already invalid, before the rest arrives.

    Without this, a TLS handshake or other noise, and a client that ends its head in bare LF, would only fail
    at the head's deadline. The first `searched` bytes were accepted before.
    """
    first = 2 if start.startswith(b"\r\n") else 0  # an empty line may precede it
    end = start.find(b"\r\n", first)
    if end < 0 or end + 1 >= searched:
        if end < 0 and searched > first and _goes_on_in_target(start, first, searched, uri_limit):
            return
        line = start[first:end] if end >= 0 else start[first:]
        match = (REQUEST_LINE if end >= 0 else _STARTED_LINE).fullmatch(line)
        if match is None:
            raise request_line_fault(line, uri_limit)
        _check_target_length(line, uri_limit)
        if end < 0:
            return
        if match[1] not in COMMON_METHODS:
            check_method(match[1])
    begin = end + 2
    last = start.rfind(b"\n", max(begin, searched)) + 1
    if last:  # lines have become complete; each is checked once
        begin = max(begin, start.rfind(b"\n", begin, searched) + 1)
        fields = _FIELD_LINES.match(start, begin, last)
        assert fields is not None  # it may be empty
        begin = fields.end()
        if start.startswith(b"\r\n", begin):  # the end of the head, beyond the size limit
            return
    carriage_return = start.find(b"\r", max(begin, searched - 1))
    if begin < last or -1 < carriage_return < len(start) - 1:
        raise ProtocolError(MALFORMED_REQUEST, "a line of the head is malformed, or does not end in CRLF")


def _goes_on_in_target(start: bytes, first: int, searched: int, uri_limit: int) -> bool:
    """Whether a request line that was valid so far has only received more of its target."""
    if start.count(b" ", first, searched) != 1 or _TARGET_BYTES.fullmatch(start, searched) is None:
        return False
    if len(start) - start.find(b" ", first) - 1 > uri_limit:
        raise ProtocolError(URI_TOO_LONG, f"the request target is longer than {uri_limit} bytes")
    return True


def origin_target(line: bytes, method: bytes, minor: int) -> bytes:
    """The target of a request line with this method and version, if it is in origin form and valid; else b"".

    `line` is with its CRLF. A shortcut: what it refuses may be valid, and is for REQUEST_LINE to judge.
    """
    # The two cannot overlap: the end has a space and no slash where the start has a slash.
    if not line.startswith(method + b" /") or not line.endswith(_LINE_ENDS[minor]):
        return b""
    target = line[len(method) + 1 : -_LINE_END_BYTES]
    return target if target.translate(_TARGET_TABLE) == target else b""


def is_field_value(text: bytes) -> bool:
    """Whether all bytes may occur in a field value (RFC 9110 section 5.5), and so in a field line."""
    return text.translate(FIELD_BYTES) == text


def is_request_id(value: bytes) -> bool:
    """Whether a client's own request id is passed on."""
    return _REQUEST_ID.fullmatch(value) is not None


def check_method(method: bytes) -> None:
    """Raise ProtocolError if an uncommon method is not served at all."""
    if method.upper() in _NOT_SERVED:
        raise ProtocolError(METHOD_NOT_SUPPORTED, "a method that is not for a reverse proxy")


def check_request_fields(block: bytes) -> None:
    """Check the syntax of a request's fields: everything after the start line."""
    try:
        HttpRequestParser(_IGNORE).feed_data(b"GET / HTTP/1.1\r\n" + block)
    except HttpParserUpgrade:
        pass
    except HttpParserError as error:
        _check_grammar(block, MALFORMED_REQUEST, error)


def check_response_fields(block: bytes) -> None:
    """Check the syntax of a response's fields: everything after the status line."""
    try:
        HttpResponseParser(_IGNORE).feed_data(b"HTTP/1.1 200 OK\r\n" + block)
    except HttpParserUpgrade:
        pass
    except HttpParserError as error:
        _check_grammar(block, MALFORMED_RESPONSE, error)


def _check_grammar(block: bytes, failure: Failure, error: HttpParserError) -> None:
    """Called when httptools has refused `block`. The reason may be the value of a framing field, which its
    releases read differently; `framing` decides on those, independent of the installed release."""
    if _FIELDS.fullmatch(block) is None:
        raise ProtocolError(failure, str(error)) from None


def parse_status_line(line: bytes) -> tuple[int, int, bytes]:
    """Returns (minor version, status, the line as forwarded, always HTTP/1.1)."""
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        raise ProtocolError(MALFORMED_RESPONSE, "the status line is not one of HTTP/1.0 or 1.1")
    version, code, phrase = match.groups()
    if len(known_status_lines) >= _STATUS_LINES:
        known_status_lines.clear()
    parsed = (1 if version == b"1" else 0, int(code), b"HTTP/1.1 %b %b" % (code, phrase or b""))
    if len(line) <= _STATUS_LINE_BYTES:
        known_status_lines[line] = parsed
    return parsed


def _check_target_length(line: bytes, uri_limit: int) -> None:
    target = _LINE_TO_TARGET.match(line)
    if target is not None and len(target[1]) > uri_limit:
        raise ProtocolError(URI_TOO_LONG, f"the request target is longer than {uri_limit} bytes")


def request_line_fault(line: bytes, uri_limit: int) -> ProtocolError:
    """The first fault in a line, so that the response does not depend on how its bytes arrive."""
    if _LONG_METHOD.match(line):  # RFC 9112 section 3
        return ProtocolError(METHOD_NOT_SUPPORTED, f"a method of more than {METHOD_LIMIT} bytes")
    _check_target_length(line, uri_limit)
    if _OTHER_VERSION.fullmatch(line):
        return ProtocolError(VERSION_NOT_SUPPORTED, "an HTTP version other than 1.0 and 1.1")
    return ProtocolError(MALFORMED_REQUEST, "the request line is malformed")
