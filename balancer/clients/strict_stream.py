"""A stream of a TLS listener whose responses say that its hosts are to be asked by https only (RFC 6797)."""

import asyncio
from typing import Final

from balancer.clients.context import ClientContext
from balancer.clients.stream import Http1Stream, StreamOwner
from balancer.http.edits import name_of
from balancer.http.forwarding import Peer
from balancer.http.response_head import ResponseHead

_NAME: Final = b"strict-transport-security"


class StrictStream(Http1Stream):
    """Adds `line`, a field line without CRLF, to all responses that do not have that field by themselves: of
    several, a browser obeys the first (RFC 6797 section 8.1)."""

    __slots__ = ()

    def __init__(
        self,
        owner: StreamOwner,
        transport: asyncio.Transport,
        peer: Peer,
        context: ClientContext,
        line: bytes,
    ) -> None:
        super().__init__(owner, transport, peer, context)
        self.own_lines = line + b"\r\n"

    def respond(self, head: ResponseHead, body: bytes, last: bool) -> None:
        lines = head.field_lines()
        if _NAME not in map(name_of, lines):
            head = head.with_lines([*lines, self.own_lines[:-2]])
        super().respond(head, body, last)
