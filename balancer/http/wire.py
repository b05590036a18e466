"""Heads as they go out: the bytes that came in, with a proxy's few edits, in one join."""

from balancer.http.framing import CHUNKED, UNTIL_CLOSE
from balancer.http.head import Edit, RequestHead, ResponseHead

_PHRASE_FALLBACK = b" "


def render_request(head: RequestHead, lines: bytes, request_id: bytes, authority: bytes) -> bytes:
    """The request head for an upstream, always HTTP/1.1, with its empty line.

    `lines` are those of `Peer.lines`; `authority` is the upstream's, for HTTP/1.0 clients without Host.
    """
    raw = head.raw
    if head.verbatim_line:
        parts = []
        position = 0
    else:
        parts = [b"%b %b HTTP/1.1\r\n" % (head.method, head.target)]
        position = head.line_end
    for start, end, replacement in head.edits:
        parts.append(raw[position:start])
        if replacement:
            parts.append(replacement)
        position = end
    parts.append(raw[position:-2])
    if not head.host and head.minor == 0:
        parts.append(b"Host: %b\r\n" % authority)
    if head.websocket:
        parts.append(b"Connection: Upgrade\r\nUpgrade: websocket\r\n")
    elif head.te_trailers:
        parts.append(b"Connection: TE\r\nTE: trailers\r\n")
    parts.append(lines)
    parts.append(b"X-Request-ID: %b\r\n\r\n" % request_id)
    return b"".join(parts)


def render_response(head: ResponseHead, minor: int, close: bool, date_line: bytes) -> bytes:
    """A final response's head for an HTTP/1.`minor` client, with its empty line.

    `close` announces the end of the client connection. `date_line` is added where the upstream sent no
    Date (RFC 9110 section 6.6.1).
    """
    raw = head.raw
    if head.minor == 1 and head.phrase is not None:
        parts = []
        position = 0
    else:
        parts = [b"HTTP/1.1 %d%b\r\n" % (head.status, head.phrase or _PHRASE_FALLBACK)]
        position = head.line_end
    edits = head.edits
    if minor == 0 and head.coding_line is not None:
        edits = sorted([*edits, (*head.coding_line, b"")])
    for start, end, _ in edits:
        parts.append(raw[position:start])
        position = end
    parts.append(raw[position:-2])
    if not head.has_date:
        parts.append(date_line)
    if minor == 1 and head.length == UNTIL_CLOSE:
        parts.append(b"Transfer-Encoding: chunked\r\n")  # so that the connection can go on
    if close:
        parts.append(b"Connection: close\r\n\r\n")
    elif minor == 0:
        parts.append(b"Connection: keep-alive\r\n\r\n")
    else:
        parts.append(b"\r\n")
    return b"".join(parts)


def render_informational(head: ResponseHead) -> bytes:
    """A 1xx response's head; for 101 with the upgrade that was agreed on."""
    parts = [b"HTTP/1.1 %d%b\r\n" % (head.status, head.phrase or _PHRASE_FALLBACK)]
    position = head.line_end
    for start, end, _ in head.edits:
        parts.append(head.raw[position:start])
        position = end
    parts.append(head.raw[position:-2])
    if head.status == 101:
        parts.append(b"Connection: Upgrade\r\nUpgrade: websocket\r\n")
    parts.append(b"\r\n")
    return b"".join(parts)


def sends_chunked(head: ResponseHead, minor: int) -> bool:
    """Whether the response body goes to an HTTP/1.`minor` client in chunks."""
    return minor == 1 and (head.length == CHUNKED or head.length == UNTIL_CLOSE)


__all__ = ["Edit", "render_informational", "render_request", "render_response", "sends_chunked"]
