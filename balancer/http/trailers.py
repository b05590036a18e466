"""The trailer section of a chunked body: checked line by line; fields that belong in a head are dropped."""

import re
from typing import Final

from balancer.errors import Failure, ProtocolError
from balancer.http.headers import TOKEN, mended_line, unfolded_line

_TRAILER_LINE: Final = re.compile(rb"%b:[\t\x20-\x7e\x80-\xff]*" % TOKEN)

# RFC 9110 section 6.5.1, with the list of RFC 7230 section 4.1.2: fields for framing, routing, request
# modifiers, authentication or content description make no sense after the content, and merged into the head
# they would be an attack.
_NO_TRAILERS: Final = frozenset(
    b"""age authorization cache-control connection content-encoding content-length content-range content-type
    cookie date expect expires forwarded host if-match if-modified-since if-none-match if-range
    if-unmodified-since keep-alive location max-forwards pragma proxy-authenticate proxy-authorization
    proxy-connection range retry-after set-cookie te trailer transfer-encoding upgrade vary via warning
    www-authenticate x-forwarded-for x-forwarded-host x-forwarded-proto x-request-id""".split()
)


_MOST_LINES: Final = 200


class TrailerSection:
    """Takes trailer lines one by one. At the end `kept` has the lines to forward, each with its CRLF; `size`
    is the number of bytes received, including dropped fields."""

    __slots__ = ("_drops", "_failure", "_fields", "_folds", "_limit", "_line_end", "_lines", "_patient",
                 "kept", "size")  # fmt: skip

    def __init__(self, failure: Failure, limit: int, patient: bool) -> None:
        """Parameters as for `ChunkedDecoder`; `limit` is in bytes."""
        self._failure = failure
        self._limit = limit
        self._patient = patient
        self._line_end = b"\r\n"
        self._drops = False  # the last field is dropped, and so are its folds
        self._fields: list[bytes] = []
        self._folds: list[bytes] = []  # of the last field
        self._lines = 0
        self.kept = b""
        self.size = 0

    def take(self, line: bytes) -> bool:
        """Returns whether `line`, which ends in LF, ends the section. Raises ProtocolError."""
        if self._patient and not self.size and not line.endswith(b"\r\n"):
            self._line_end = b"\n"  # as in a head: all lines or none
        field = line.removesuffix(self._line_end)
        if field == line or field.endswith(b"\r"):
            raise self._malformed()
        if not field:
            self._unfold()
            self.kept = b"".join([kept + b"\r\n" for kept in self._fields])
            return True
        if self._patient and self.size and field[:1] in (b" ", b"\t"):
            if not self._drops:
                self._folds.append(field)
        else:
            self._take_field(field)
        self.size += len(line)
        self._lines += 1
        if self.size > self._limit or self._lines > _MOST_LINES:
            raise ProtocolError(self._failure, "the trailer section is too large")
        return False

    def _take_field(self, field: bytes) -> None:
        if _TRAILER_LINE.fullmatch(field) is None:
            mended = mended_line(field) if self._patient else None
            if mended is None:
                raise self._malformed()
            field = mended
        self._drops = field.partition(b":")[0].lower().replace(b"_", b"-") in _NO_TRAILERS
        self._unfold()
        if not self._drops:
            self._fields.append(field)

    def _unfold(self) -> None:
        if self._folds:
            self._fields[-1] = unfolded_line(self._fields[-1], self._folds)
            self._folds = []

    def _malformed(self) -> ProtocolError:
        return ProtocolError(self._failure, "a trailer line is malformed")
