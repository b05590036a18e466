"""Via (RFC 9110 section 7.6.3): the line that a request is sent on with, and which balancers it has passed.

Each instance has a name of its own, so that a request that comes back to it is known at its first return,
while two balancers in a row are nothing special.
"""

import re

from balancer.http.headers import TOKEN

_PREFIX = b"balancer-"
_MOST_BYTES = 4096  # of a value, from its end: who has passed it on last stands there
# One member of the list: received-protocol, received-by, and perhaps a comment.
_HOP = re.compile(
    rb"[ \t]*(?:%b/)?%b[ \t]+(%b[0-9a-f]{8})(?::[0-9]*)?(?:[ \t].*)?" % (TOKEN, TOKEN, _PREFIX), re.DOTALL
)
_PIECE = re.compile(rb"[()]|\\.|[^()\\]+", re.DOTALL)


def via_lines(name: str) -> tuple[bytes, bytes]:
    """The lines of the balancer `name`, each with its CRLF, for requests that came as HTTP/1.0 and as 1.1.

    Empty ones where `name` is empty: then nothing is said.
    """
    if not name:
        return b"", b""
    return b"Via: 1.0 %b\r\n" % name.encode(), b"Via: 1.1 %b\r\n" % name.encode()


def balancers_in(value: bytes) -> list[bytes]:
    """The names of balancers that the value of a Via field lists, in lower case."""
    value = value[-_MOST_BYTES:].lower()
    if _PREFIX not in value:  # as good as always
        return []
    hops = _without_comments(value).split(b",")
    return [match[1] for hop in hops if (match := _HOP.fullmatch(hop)) is not None]


def _without_comments(value: bytes) -> bytes:
    """A comment may have commas, and comments in it. One that is not closed is none: else a client could hide
    what a proxy adds behind its own."""
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
