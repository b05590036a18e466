"""The value of a header field, cookie or query parameter of a request, as the app sees it."""

import re
from collections.abc import Callable
from typing import Final, TypeAlias
from urllib.parse import unquote_to_bytes

from balancer.http.cookies import cookie_value
from balancer.http.forwarding import Peer
from balancer.http.headers import find_value
from balancer.http.request_head import RequestHead

_ENCODED: Final = re.compile(rb"[%+]")

# Returns the first value of this name; None if there is none.
ValueOf: TypeAlias = Callable[[RequestHead, Peer, bytes], bytes | None]


def header_of(head: RequestHead, peer: Peer, name: bytes) -> bytes | None:
    """Including our lines about the client. A repeated head is already rendered. Upgrade is there only if it
    is forwarded, and X-Request-ID if it is the client's own; so is the client's place in a trace."""
    name = name.lower()
    if name == b"upgrade":
        return b"websocket" if head.websocket else None
    if name == b"x-request-id":
        return head.request_id or None
    if head.trace is not None and name in (b"traceparent", b"tracestate"):
        lines = head.trace.lines().split(b"\r\n")
        return find_value(lines, name)
    value = head.find(name)
    if value is None and not head.outgoing:
        value = find_value(peer.lines(head).split(b"\r\n"), name)
    return value


def cookie_of(head: RequestHead, peer: Peer, name: bytes) -> bytes | None:
    """RFC 6265 section 5.4: one Cookie field; names are case-sensitive, and the first one counts."""
    return cookie_value(head.find(b"cookie") or b"", name)


def query_of(head: RequestHead, peer: Peer, name: bytes) -> bytes | None:
    """However it is encoded: `a%20b` and `a+b` are the same value."""
    for pair in head.target.partition(b"?")[2].split(b"&"):
        found, _, value = pair.partition(b"=")
        if found == name or (_ENCODED.search(found) and _decoded(found) == name):
            return _decoded(value)
    return None


def _decoded(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" ")) if _ENCODED.search(text) else text


VALUES: Final[dict[str, ValueOf]] = {"header": header_of, "cookie": cookie_of, "query": query_of}
