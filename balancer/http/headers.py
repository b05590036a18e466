"""List-valued fields, repair of inexact lines, and which fields Connection may remove."""

import re
from collections.abc import Sequence
from typing import Final

TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"

_LOOSE_LINE: Final = re.compile(rb"(%b)[ \t]*:([^\n]*)" % TOKEN)
_HARMFUL: Final = bytes.maketrans(b"\r\0", b"  ")

# Set by us for every request. A client cannot remove them by nominating them in Connection, and only a
# trusted proxy can choose their value. Framing and Host are protected for the same reason.
_PROTECTED: Final = frozenset(
    b"""close keep-alive upgrade te host content-length transfer-encoding x-forwarded-for x-forwarded-proto
    x-forwarded-host forwarded via x-request-id date""".split()
)


def list_members(value: bytes) -> list[bytes]:
    """The members of a comma-separated list, in lower case, without empty ones (RFC 9110 section 5.6.1)."""
    return [member for part in value.lower().split(b",") if (member := part.strip(b" \t"))]


def without_nominated(lines: list[bytes], options: list[bytes]) -> list[bytes]:
    """`lines` without the fields that Connection nominates (RFC 9110 section 7.6.1).

    Nominating a protected field has no effect. A cold path: hardly any client nominates.
    """
    nominated = frozenset(options) - _PROTECTED
    if not nominated:
        return lines
    return [line for line in lines if line.partition(b":")[0].lower() not in nominated]


def find_value(lines: list[bytes], name: bytes) -> bytes | None:
    """The value of the first field called `name` (in lower case), or None. Scans every line: not for the
    request path."""
    size = len(name)
    for line in lines:
        if line[size : size + 1] == b":" and line[:size].lower() == name:
            return line[size + 1 :].strip(b" \t")
    return None


def values_in(block: bytes, names: Sequence[bytes]) -> list[bytes | None]:
    """As `find_value` for each of `names` (in lower case), in lines that are joined by CRLF."""
    block = b"\r\n%b\r\n" % block
    in_lower_case = block.lower()
    values: list[bytes | None] = []
    for name in names:
        at = in_lower_case.find(b"\r\n%b:" % name)
        start = at + len(name) + 3
        values.append(None if at < 0 else block[start : block.find(b"\r\n", start)].strip(b" \t"))
    return values


def unfolded_line(line: bytes, folds: list[bytes]) -> bytes:
    """A field line joined with its folds, each replaced by a space (RFC 9112 section 5.2)."""
    pieces = [piece for fold in folds if (piece := fold.strip(b" \t"))]
    if not folds[-1].strip(b" \t"):
        pieces.append(b"")
    return b" ".join([line.rstrip(b" \t"), *pieces])


def mended_line(line: bytes) -> bytes | None:
    """An inexact field line of a response, repaired for forwarding: no white space before the colon (RFC 9112
    section 5.1), a space for each CR and NUL (RFC 9110 section 5.5). None if there is no name.
    """
    match = _LOOSE_LINE.fullmatch(line)
    return None if match is None else b"%b:%b" % (match[1], match[2].translate(_HARMFUL))
