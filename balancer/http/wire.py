"""Renders heads to be sent: the received lines with the proxy's few changes, in one join."""

from balancer.http.forwarding import Peer
from balancer.http.framing import UNTIL_CLOSE
from balancer.http.head import HEAD_END
from balancer.http.request_head import BEFORE_ID, BEHIND_TARGET, RequestHead
from balancer.http.response_head import ResponseHead


def render_request(
    head: RequestHead, peer: Peer, request_id: bytes, authority: bytes, tail: bytes = HEAD_END
) -> bytes:
    """The request head for an upstream, always HTTP/1.1, with its empty line.

    `peer` is the client; `authority` is the upstream's, for HTTP/1.0 clients that send no Host. `tail` is
    what follows the last line: further lines, and the empty one.
    """
    fields = head.outgoing
    if not fields:
        known = head.known
        if known is not None and known.peer is peer:
            fields = known.outgoing
            head.facts = known.facts
            head.logged = known.logged
        else:
            fields = _outgoing(head, peer.lines(head), authority)
            if known is not None and head.host:
                known.outgoing = fields
                known.facts = head.facts
                known.logged = None
                known.peer = peer
        if head.host:
            head.outgoing = fields
            head.lines = []
            head.joined = b""
    return b"".join((head.method, b" ", head.target, fields, request_id, tail))


def _outgoing(head: RequestHead, forwarding: bytes, authority: bytes) -> bytes:
    lines = [BEHIND_TARGET, head.joined] if head.joined else [BEHIND_TARGET, *head.lines]
    if not head.host:
        lines.append(b"Host: " + authority)
    if head.websocket:
        lines.append(b"Connection: Upgrade\r\nUpgrade: websocket")
    elif head.te_trailers:
        lines.append(b"Connection: TE\r\nTE: trailers")
    lines.append(forwarding + BEFORE_ID)
    return b"\r\n".join(lines)


def render_response(head: ResponseHead, minor: int, close: bool, date_line: bytes) -> bytes:
    """A final response's head for an HTTP/1.`minor` client, with its empty line.

    `close` announces the end of the client connection. `date_line`, with its CRLF, is added if the upstream
    sent no Date (RFC 9110 section 6.6.1).
    """
    plain = minor == 1 and not close
    if plain and head.rendered and (head.has_date or head.rendered_date == date_line):
        return head.rendered
    if minor == 0 and head.chunked_line is not None:
        lines = [head.status_line, *head.field_lines()]
        lines.remove(head.chunked_line)
    else:
        lines = [head.status_line, head.joined] if head.joined else [head.status_line, *head.lines]
    tail = b"" if head.has_date else date_line
    if minor == 1 and head.length == UNTIL_CLOSE:
        tail += b"Transfer-Encoding: chunked\r\n"  # so that the connection can stay open
    if close:
        tail += b"Connection: close\r\n"
    elif minor == 0:
        tail += b"Connection: keep-alive\r\n"
    lines.append(tail + b"\r\n")
    rendered = b"\r\n".join(lines)
    if plain and head.raw:
        head.rendered = rendered
        head.rendered_date = date_line
    return rendered


def render_informational(head: ResponseHead) -> bytes:
    """The head of a 1xx response; for 101 with the agreed upgrade."""
    lines = [head.status_line, *head.lines]
    lines.append(b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n" if head.status == 101 else b"\r\n")
    return b"\r\n".join(lines)
