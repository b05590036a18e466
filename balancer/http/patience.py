"""Repairs inexact response heads of apps where that is harmless.

Only heads that `head` has refused come here, and `head` parses the repaired head again: the client always
gets an exact one, and exact apps pay nothing. A head that leaves the end of the message in doubt is still
refused. Requests are never repaired: their senders are not trusted, and another parser reads them after us.
"""

import re
from typing import Final

from balancer.errors import MALFORMED_RESPONSE, RESPONSE_HEAD_TOO_LARGE, ProtocolError
from balancer.http.headers import list_members, mended_line, unfolded_line
from balancer.http.response_head import ResponseHead, parse_response_head

# HTTP/1.2 is read as 1.1 (RFC 9110 section 2.5); apps echo HTTP/2 and 3 from an edge's request. White space
# as RFC 9112 section 4 allows.
_STATUS_LINE: Final = re.compile(
    rb"HTTP/(1\.[0-9]|[23](?:\.0)?)[ \t]+([1-9][0-9]{2})(?:[ \t]+(.*))?", re.DOTALL
)
_START: Final = b"HTTP/"
_CONTROLS: Final = bytes([*range(9), *range(10, 32), 127])
_TO_SPACE: Final = bytes.maketrans(_CONTROLS, b" " * len(_CONTROLS))


def read_patiently(
    data: bytes, method: bytes, head_limit: int, count_limit: int
) -> tuple[ResponseHead, int] | None:
    """Returns the head at the start of `data` and its length; None if it is incomplete.

    `method` is that of the request. Raises ProtocolError as soon as the head is beyond repair.
    """
    first = data.find(b"\n")
    if first < 0:
        if not data.startswith(_START[: len(data)]):
            raise _malformed("it does not begin with a status line")
        _check_size(len(data), head_limit)
        return None
    line_end = b"\r\n" if first and data[first - 1] == 0x0D else b"\n"
    first += 1 - len(line_end)
    minor, status, phrase = _status_line(data[:first])
    last = data.find(line_end * 2, first)
    end = len(data) if last < 0 else last + 2 * len(line_end)
    exact = data.count(b"\r\n", 0, end)
    # In all lines or in none: a bare LF among lines that end in CRLF came from a value.
    if exact and exact != data.count(b"\n", 0, end):
        raise _malformed("some lines of the head end in CRLF, and some in LF")
    _check_size(end, head_limit)
    if last < 0:
        if data.count(b"\n") > count_limit + 1:  # the status line does not count
            raise ProtocolError(RESPONSE_HEAD_TOO_LARGE, f"more than {count_limit} header fields")
        return None
    lines = data[first + len(line_end) : last].split(line_end) if last > first else []
    if len(lines) > count_limit:
        raise ProtocolError(RESPONSE_HEAD_TOO_LARGE, f"more than {count_limit} header fields")
    bodiless = method == b"HEAD" or status < 200 or status in (204, 304)
    fields, chunked, doubtful = _fields(_unfolded(lines), bodiless)
    if doubtful or (chunked and minor == 0):  # RFC 9112 section 6: the connection must not be used again
        fields.append(b"Connection: close")
    if chunked:
        minor = 1
    raw = b"\r\n".join([b"HTTP/1.%d %d %b" % (minor, status, phrase), *fields, b"", b""])
    return parse_response_head(raw, method, len(fields) + 1, checked=True), end


def _status_line(line: bytes) -> tuple[int, int, bytes]:
    """(minor version, status, phrase)."""
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        raise _malformed("the status line is not one of HTTP/1.0 or 1.1")
    return 0 if match[1] == b"1.0" else 1, int(match[2]), (match[3] or b"").translate(_TO_SPACE)


def _unfolded(lines: list[bytes]) -> list[bytes]:
    """RFC 9112 section 5.2: a fold becomes a space before the value is interpreted."""
    unfolded: list[bytes] = []
    folds: list[bytes] = []  # of the last line
    for line in [*lines, b""]:
        if line[:1] in (b" ", b"\t"):
            if not unfolded:
                raise _malformed("white space before the first field")
            folds.append(line)
            continue
        if folds:
            unfolded[-1] = unfolded_line(unfolded[-1], folds)
            folds = []
        unfolded.append(line)
    return unfolded[:-1]


def _fields(lines: list[bytes], bodiless: bool) -> tuple[list[bytes], bool, bool]:
    """Returns the lines to forward, with our own framing field last; whether the body is chunked; and whether
    the framing fields contradicted each other or were unknown to us."""
    fields: list[bytes] = []
    lengths: list[bytes] = []
    codings: list[bytes] = []
    framing = {b"content-length": lengths, b"transfer-encoding": codings}
    for line in lines:
        mended = mended_line(line)
        if mended is None:
            raise _malformed("a line of the head is malformed")
        name, _, value = mended.partition(b":")
        values = framing.get(name.lower())
        if values is None:
            fields.append(mended)
        elif line.translate(None, _CONTROLS) == line:
            values.append(value)
        else:
            raise _malformed("a control byte in a framing field")
    length = _agreed(lengths)
    chunked = list_members(b",".join(codings)) == [b"chunked"]
    if chunked and (length is not None or not lengths):
        fields.append(b"Transfer-Encoding: chunked")
        return fields, True, bool(lengths)  # RFC 9112 section 6.3: chunked overrides Content-Length
    if not codings and not lengths:
        return fields, False, False
    if not codings and length is not None:
        fields.append(b"Content-Length: %b" % length)
        return fields, False, False
    if not bodiless:
        raise _malformed("Content-Length and Transfer-Encoding disagree about where the body ends")
    return fields, False, True  # the message ends with its head, whatever the fields say


def _agreed(lengths: list[bytes]) -> bytes | None:
    """The length on which all fields and their list members agree (RFC 9112 section 6.3), or None."""
    named: set[bytes] = set()
    for part in b",".join(lengths).split(b","):
        number = part.strip(b" \t")
        if not number.isdigit():  # of bytes: only ASCII digits
            return None
        named.add(number.lstrip(b"0") or b"0")
    return named.pop() if len(named) == 1 else None


def _check_size(size: int, head_limit: int) -> None:
    if size > head_limit:
        raise ProtocolError(RESPONSE_HEAD_TOO_LARGE, f"more than {head_limit} bytes of head")


def _malformed(detail: str) -> ProtocolError:
    return ProtocolError(MALFORMED_RESPONSE, detail)
