"""The syntax of heads: start lines by regular expressions of ours, everything else by httptools.

httptools alone would let pass double spaces, `#` in a target, HTTP/0.9 and 2.0, RTSP and a status of 099.
"""

import re

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser, HttpResponseParser
from httptools.parser.errors import HttpParserInvalidMethodError

from balancer.errors import (
    MALFORMED_REQUEST,
    MALFORMED_RESPONSE,
    METHOD_NOT_SUPPORTED,
    URI_TOO_LONG,
    VERSION_NOT_SUPPORTED,
    ProtocolError,
)
from balancer.http.headers import TOKEN

# One space between the parts, a visible-ASCII target without fragment, HTTP/1.0 or 1.1 (RFC 9112 section 3).
REQUEST_LINE = re.compile(rb"(%b) ([!\"$-~]+) HTTP/1\.([01])" % TOKEN)
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*))?")

# Methods that httptools has passed once, and status lines taken apart once.
known_methods: set[bytes] = set()
_status_lines: dict[bytes, tuple[int, int, bytes]] = {}
_STATUS_LINES = 1024
_STATUS_LINE_BYTES = 64

_STARTED_LINE = re.compile(
    rb"\r?|%b(?: (?:[!\"$-~]+(?: (?:H(?:T(?:T(?:P(?:/[0-9.]*\r?)?)?)?)?)?)?)?)?" % TOKEN
)
_OTHER_VERSION = re.compile(rb"%b [!\"$-~]+ HTTP/[0-9]\.[0-9]" % TOKEN)
_LINE_TO_TARGET = re.compile(rb"%b ([!\"$-~]+)" % TOKEN)
# CONNECT, HTTP/2's preface, and what httptools knows of RTSP but not of HTTP.
_NOT_SERVED = frozenset(
    b"""CONNECT PRI DESCRIBE ANNOUNCE SETUP PLAY PAUSE TEARDOWN GET_PARAMETER SET_PARAMETER REDIRECT RECORD
    FLUSH""".split()
)


class _Ignore:
    """httptools wants an object for its callbacks; where none is defined it checks and calls nothing."""

    __slots__ = ()


_IGNORE = _Ignore()


def refuse_early(start: bytes, uri_limit: int) -> None:
    """Raise what the beginning of a request head already deserves, before the rest has come.

    Without this, a TLS handshake or other noise would only be told so by the head's deadline.
    """
    start = start.removeprefix(b"\r\n")
    line, end, _ = start.partition(b"\r\n")
    if (REQUEST_LINE if end else _STARTED_LINE).fullmatch(line) is None:
        raise request_line_fault(line, uri_limit)
    _check_target_length(line, uri_limit)


def refuse_response_early(start: bytes) -> None:
    """Raise what the beginning of a response head already deserves: else its timeout would have to tell."""
    line, end, _ = start.partition(b"\n")
    if end:
        if not line.endswith(b"\r"):
            raise ProtocolError(MALFORMED_RESPONSE, "a line of the head does not end in CRLF")
        parse_status_line(line[:-1])


def check_request(raw: bytes, method: bytes) -> None:
    """Have httptools check the syntax of a whole head."""
    if method in _NOT_SERVED:
        raise ProtocolError(METHOD_NOT_SUPPORTED, "a method that is not for a reverse proxy")
    try:
        HttpRequestParser(_IGNORE).feed_data(raw)
    except HttpParserUpgrade:
        pass
    except HttpParserInvalidMethodError:
        raise ProtocolError(METHOD_NOT_SUPPORTED, "an unknown method") from None
    except HttpParserError as error:
        raise ProtocolError(MALFORMED_REQUEST, str(error)) from None
    known_methods.add(method)  # bounded: httptools passes a closed list


def check_response(fields: bytes) -> None:
    """Have httptools check the syntax of the fields: all that follows the status line, with its CRLF."""
    try:
        # Not the line itself: of 101 it would make more than it should.
        HttpResponseParser(_IGNORE).feed_data(b"HTTP/1.1 200 OK" + fields)
    except HttpParserUpgrade:
        pass
    except HttpParserError as error:
        raise ProtocolError(MALFORMED_RESPONSE, str(error)) from None


def parse_status_line(line: bytes) -> tuple[int, int, bytes]:
    """A status line as (minor version, status, the line as it is sent on: always HTTP/1.1)."""
    known = _status_lines.get(line)
    if known is not None:
        return known
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        raise ProtocolError(MALFORMED_RESPONSE, "the status line is not one of HTTP/1.0 or 1.1")
    version, code, phrase = match.groups()
    if len(_status_lines) >= _STATUS_LINES:
        _status_lines.clear()
    parsed = (1 if version == b"1" else 0, int(code), b"HTTP/1.1 %b %b" % (code, phrase or b""))
    if len(line) <= _STATUS_LINE_BYTES:
        _status_lines[line] = parsed
    return parsed


def _check_target_length(line: bytes, uri_limit: int) -> None:
    target = _LINE_TO_TARGET.match(line)
    if target is not None and len(target[1]) > uri_limit:
        raise ProtocolError(URI_TOO_LONG, f"the request target is longer than {uri_limit} bytes")


def request_line_fault(line: bytes, uri_limit: int) -> ProtocolError:
    """The first fault in a line, so that the answer is the same however its bytes arrive."""
    _check_target_length(line, uri_limit)
    if _OTHER_VERSION.fullmatch(line):
        return ProtocolError(VERSION_NOT_SUPPORTED, "an HTTP version other than 1.0 and 1.1")
    return ProtocolError(MALFORMED_REQUEST, "the request line is malformed")
