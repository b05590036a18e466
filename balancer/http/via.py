"""Via (RFC 9110 section 7.6.3): the line added to a request, and the balancers it has passed.

Each instance has its own name, so that a looping request is detected at its first return, while two
balancers in a row are fine.
"""

import re
from typing import Final

from balancer.http.headers import TOKEN

_PREFIX: Final = b"balancer-"
_MOST_BYTES: Final = 4096  # of a value, from its end, where the nearest proxies are
# One list member: received-protocol, received-by, optional comment.
_HOP: Final = re.compile(
    rb"[ \t]*(?:%b/)?%b[ \t]+(%b[0-9a-f]{8})(?::[0-9]*)?(?:[ \t].*)?" % (TOKEN, TOKEN, _PREFIX), re.DOTALL
)
_PIECE: Final = re.compile(rb"[()]|\\.|[^()\\]+", re.DOTALL)


def via_lines(name: str) -> tuple[bytes, bytes]:
    """The lines of the balancer `name`, each with its CRLF, for requests received as HTTP/1.0 and as 1.1.

    Both are empty if `name` is empty: then no Via is added.
    """
    if not name:
        return b"", b""
    return b"Via: 1.0 %b\r\n" % name.encode(), b"Via: 1.1 %b\r\n" % name.encode()


def balancers_in(value: bytes) -> list[bytes]:
    """The names of the balancers in the value of a Via field, in lower case."""
    value = value[-_MOST_BYTES:].lower()
    if _PREFIX not in value:  # nearly always
        return []
    hops = _without_comments(value).split(b",")
    return [match[1] for hop in hops if (match := _HOP.fullmatch(hop)) is not None]


def _without_comments(value: bytes) -> bytes:
    """Comments may contain commas and nested comments. An unclosed comment does not count: a client could use
    one to hide what a proxy appends."""
    kept: list[bytes] = []
    depth = 0
    for piece in _PIECE.findall(value):
        if piece == b"(":
            depth += 1
        elif piece == b")":
            depth -= 1
            if depth < 0:
                return value
        elif not depth:
            kept.append(piece)
    return value if depth else b"".join(kept)
