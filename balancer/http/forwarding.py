"""What the app is told of the client: X-Forwarded-*, Forwarded (RFC 7239), Via, X-Request-ID.

A peer outside the trusted proxies is believed nothing: what it says of itself is replaced. What a trusted
proxy says is kept and added to.
"""

import ipaddress
import re
from collections.abc import Callable, Sequence

from balancer.http.head import RequestHead
from balancer.http.via import via_lines

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._~:/+=@\-]{1,128}")
# A name as it was sent, dash or underscore -> the real one; look-alikes are dropped even from the trusted.
_GENUINE = frozenset([b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"forwarded"])


class RequestIds:
    """Makes request ids: 16 hex digits of the worker's own, 12 of a counter. Unique, not secret."""

    __slots__ = ("_count", "_prefix")

    def __init__(self, prefix: int) -> None:
        self._prefix = b"%016x" % prefix
        self._count = 0

    def of(self, head: RequestHead) -> bytes:
        """The client's own id where it sent a sensible one, else a new one."""
        if head.forwarding is not None:
            for name, value in head.forwarding:
                if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
                    return value
        self._count = count = self._count + 1
        return b"%b%012x" % (self._prefix, count)


class Peer:
    """The other end of one client connection, with its forwarding lines rendered once.

    `address` is its IP address, without zone or port, IPv4 where it is mapped into IPv6.
    """

    __slots__ = ("_lines", "_trusts", "_via", "address", "trusted")

    def __init__(self, address: str, trusts: Callable[[str], bool], via: tuple[bytes, bytes]) -> None:
        self.address = address
        self.trusted = trusts(address)
        self._trusts = trusts
        self._via = via
        start = b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: http\r\n" % address.encode()
        self._lines = (start + via[0], start + via[1])

    def lines(self, head: RequestHead) -> bytes:
        """The lines to end the forwarded head with, each with its CRLF, but X-Request-ID."""
        if head.forwarding is not None:
            return self._lines_beside(head, head.forwarding)
        if not head.host:
            return self._lines[head.minor]
        return b"%bX-Forwarded-Host: %b\r\n" % (self._lines[head.minor], head.host)

    def client_address(self, head: RequestHead) -> str:
        """The nearest address that is not a trusted proxy, walking X-Forwarded-For from the right."""
        client = self.address
        if not self.trusted or head.forwarding is None:
            return client
        chain = b",".join(value for name, value in head.forwarding if name == b"x-forwarded-for")
        for hop in reversed(chain.decode("latin-1").split(",")):
            address = _parse(hop.strip(" \t"))
            if address is None:
                break
            client = str(address)
            if not self._trusts(client):
                break
        return client

    def _lines_beside(self, head: RequestHead, sent: list[tuple[bytes, bytes]]) -> bytes:
        said: dict[bytes, bytes] = {}
        for name, value in sent:
            if name in _GENUINE and value:
                said[name] = said[name] + b", " + value if name in said else value
        address = self.address.encode()
        forwarded = b"for=%b;proto=http" % (b'"[%b]"' % address if b":" in address else address)
        if self.trusted:
            chain = [said[b"x-forwarded-for"], address] if b"x-forwarded-for" in said else [address]
            proto = said.get(b"x-forwarded-proto", b"http")
            host = said.get(b"x-forwarded-host", head.host)
            if b"forwarded" in said:
                forwarded = said[b"forwarded"] + b", " + forwarded
        else:
            chain, proto, host = [address], b"http", head.host
        lines = [b"X-Forwarded-For: ", b", ".join(chain), b"\r\nX-Forwarded-Proto: ", proto, b"\r\n"]
        lines.append(self._via[head.minor])
        if host:
            lines += [b"X-Forwarded-Host: ", host, b"\r\n"]
        if b"forwarded" in said:  # only where the client side speaks it: most apps read X-Forwarded-*
            lines += [b"Forwarded: ", forwarded, b"\r\n"]
        return b"".join(lines)


class Forwarding:
    """Makes the `Peer` of each client connection. `trusted` are addresses and CIDR networks; `via` is the
    name that Via tells, "" where there is to be none."""

    __slots__ = ("_networks", "_via")

    def __init__(self, trusted: Sequence[str], via: str = "balancer") -> None:
        self._via = via_lines(via)
        self._networks: list[_Network] = [ipaddress.ip_network(network, strict=False) for network in trusted]

    def peer(self, address: str) -> Peer:
        """`address` as the socket gives it."""
        if ":" in address:
            parsed = _parse(address.partition("%")[0])
            address = address if parsed is None else str(parsed)
        return Peer(address, self.trusts, self._via)

    def trusts(self, address: str) -> bool:
        """Whether the address belongs to a trusted proxy."""
        if not self._networks:
            return False
        parsed = _parse(address)
        return parsed is not None and any(parsed in network for network in self._networks)


def _parse(text: str) -> _Address | None:
    """An address of X-Forwarded-For, which some proxies write with a port or in brackets."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
