"""The hash key of a request, for policies that send equal keys to the same upstream."""

import re
from collections.abc import Callable
from hashlib import blake2b
from typing import Final, Protocol
from urllib.parse import unquote_to_bytes

from balancer.http.cookies import cookie_value
from balancer.http.head import RequestHead
from balancer.http.headers import find_value
from balancer.policies.base import NO_KEY


class Client(Protocol):
    """The client that sent the request."""

    def client_address(self, head: RequestHead) -> str:
        """The client's IP address, seen through trusted proxies."""

    def lines(self, head: RequestHead) -> bytes:
        """The header lines that describe the client to the app, each with its CRLF."""


# The key of a request as an unsigned 64-bit number, or NO_KEY if the request lacks the value.
HashKey = Callable[[RequestHead, Client], int]

_ENCODED: Final = re.compile(rb"[%+]")


def hash_key(source: str) -> HashKey:
    """The function for `source`: `client_ip`, `path`, `header:NAME`, `cookie:NAME` or `query:NAME`.

    Raises ValueError for anything else.
    """
    kind, _, name = source.partition(":")
    if source == "client_ip":
        return lambda head, client: _number(client.client_address(head).encode())
    if source == "path":
        return lambda head, client: _number(head.target.partition(b"?")[0])
    if name and kind in _NAMED:
        value_of, wanted = _NAMED[kind], name.encode()

        def named(head: RequestHead, client: Client) -> int:
            value = value_of(head, client, wanted)
            return _number(value) if value else NO_KEY

        return named
    raise ValueError(f"{source} is no source of a hash key")


def _number(value: bytes) -> int:
    return int.from_bytes(blake2b(value, digest_size=8).digest())


def _header(head: RequestHead, client: Client, name: bytes) -> bytes | None:
    """As the app sees it, including our lines about the client. A repeated head is already rendered."""
    name = name.lower()
    value = head.find(name)
    if value is None and not head.outgoing:
        value = find_value(client.lines(head).split(b"\r\n"), name)
    return value


def _cookie(head: RequestHead, client: Client, name: bytes) -> bytes | None:
    """RFC 6265 section 5.4: one Cookie field; names are case-sensitive, and the first one counts."""
    return cookie_value(head.find(b"cookie") or b"", name)


def _query(head: RequestHead, client: Client, name: bytes) -> bytes | None:
    """The first parameter called `name`, however it is encoded: `a%20b` and `a+b` are the same key."""
    for pair in head.target.partition(b"?")[2].split(b"&"):
        found, _, value = pair.partition(b"=")
        if found == name or (_ENCODED.search(found) and _decoded(found) == name):
            return _decoded(value)
    return None


def _decoded(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" ")) if _ENCODED.search(text) else text


_NAMED: Final = {"header": _header, "cookie": _cookie, "query": _query}
