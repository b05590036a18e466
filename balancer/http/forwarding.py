"""What the app is told of the client: X-Forwarded-*, X-Real-IP, Forwarded (RFC 7239), Via, X-Request-ID.

A peer outside the trusted proxies is believed nothing: what it says of itself is replaced. What a trusted
proxy says is believed and added to: by X-Forwarded-* where it speaks that, else by Forwarded, and never by
both, so that the app, the log and the hash key all have it the same.
"""

import ipaddress
import re
from collections.abc import Callable, Sequence

from balancer.http.fields import Field
from balancer.http.forwarded import (
    MOST_HOPS,
    PLAIN_IPV4,
    SCHEME_SWITCHES,
    ClientFacts,
    Hop,
    address_in,
    node_for,
    node_of,
    render_hop,
)
from balancer.http.head import RequestHead
from balancer.http.via import via_lines

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
# Of an untrusted peer: its address, and what it says.
Untrusted = Callable[[str, Sequence[Field]], None]

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._~:/+=@\-]{1,128}")

_ID = b"x-request-id"
_KNOWN_NODES = 4096
_KNOWN_BYTES = 64
_KNOWN_PEERS = 1024


class RequestIds:
    """Makes request ids: 16 hex digits of the worker's own, 12 of a counter. Unique, not secret."""

    __slots__ = ("_count", "_prefix")

    def __init__(self, prefix: int) -> None:
        self._prefix = b"%016x" % prefix
        self._count = 0

    def of(self, head: RequestHead) -> bytes:
        """The client's own id where it sent a sensible one, else a new one."""
        if head.forwarding is not None:
            for field in head.forwarding:
                if field.name == _ID and _REQUEST_ID.fullmatch(field.value):
                    return field.value
        self._count = count = self._count + 1
        return b"%b%012x" % (self._prefix, count)


class Peer:
    """The other end of client connections from one address, with its forwarding lines rendered once.

    `address` is its IP address, without zone or port, IPv4 where it is mapped into IPv6.
    """

    __slots__ = ("_forwarding", "_lines", "address", "told", "trusted")

    def __init__(self, address: str, forwarding: "Forwarding") -> None:
        self.address = address
        self.trusted = forwarding.trusts(address)
        self._forwarding = forwarding
        self.told = False  # that it is not believed
        plain = address.encode()
        start = b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: http\r\nX-Real-IP: %b\r\n" % (plain, plain)
        via = forwarding.via
        self._lines = (start + via[0], start + via[1])

    def lines(self, head: RequestHead) -> bytes:
        """The lines to end the forwarded head with, each with its CRLF, but X-Request-ID."""
        if head.forwarding is not None:
            if self.trusted:
                return self._facts(head, head.forwarding).lines
            return self._lines_instead(head, head.forwarding)
        if not head.host:
            return self._lines[head.minor]
        return b"%bX-Forwarded-Host: %b\r\n" % (self._lines[head.minor], head.host)

    def client_address(self, head: RequestHead) -> str:
        """The nearest address that is not a trusted proxy."""
        if not self.trusted or head.forwarding is None:
            return self.address
        return self._facts(head, head.forwarding).client

    def _lines_instead(self, head: RequestHead, sent: list[Field]) -> bytes:
        """Of what an untrusted one says nothing goes on."""
        lines = self._lines[head.minor]
        if head.host:
            lines = b"%bX-Forwarded-Host: %b\r\n" % (lines, head.host)
        says_any = False
        for field in sent:
            if field.value and field.name != _ID:
                says_any = True
                if field.name == b"forwarded":  # only for who speaks it: most apps read X-Forwarded-*
                    lines += b"Forwarded: %b\r\n" % render_hop(node_of(self.address), b"http", head.host)
                    break
        if says_any and not self.told:
            self.told = True
            self._forwarding.untrusted(self.address, sent)
        return lines

    def _facts(self, head: RequestHead, sent: list[Field]) -> ClientFacts:
        """What a trusted one says, understood once for a head and all that repeat it."""
        if head.facts is not None:
            return head.facts
        chain: list[bytes] = []
        real: list[bytes] = []
        forwarded: list[Field] = []
        scheme = host = other_scheme = b""
        others: list[bytes] = []
        by_x = False
        for field in sent:
            name = field.name
            if name == b"x-forwarded-for":
                by_x |= field.value != b""
                chain += field.members
            elif name == b"x-forwarded-proto":
                if field.value:
                    by_x = True
                    scheme = field.members[0] if field.members else b""
            elif name == b"x-forwarded-host":
                if field.value:
                    by_x = True
                    host = field.members[0] if field.members else b""
            elif name == b"x-real-ip":
                real = field.members
            elif name == b"forwarded":
                if field.value:
                    forwarded.append(field)
            elif name != _ID:
                others += [field.line, b"\r\n"]
                if name in SCHEME_SWITCHES and field.members:
                    other_scheme = field.members[0]
        passed = b"".join(others)
        if forwarded and not by_x:
            facts = self._by_forwarded(head, _nearest_hops(forwarded), passed)
        else:
            scheme = scheme or other_scheme or b"http"
            facts = self._by_x_forwarded(
                head, chain or real, scheme, host or head.host, bool(forwarded), passed
            )
        head.facts = facts
        return facts

    def _by_x_forwarded(
        self,
        head: RequestHead,
        chain: list[bytes],
        scheme: bytes,
        host: bytes,
        speaks_forwarded: bool,
        passed: bytes,
    ) -> ClientFacts:
        known = self._forwarding.known
        client = self.address
        near = chain[-MOST_HOPS:]
        first = len(near)  # of those that a trusted proxy has added
        for node in reversed(near):
            first -= 1
            address, trusted = known(node)
            client = address or client
            if not trusted:
                break
        if speaks_forwarded:
            hops = [
                render_hop(node_for(node, known(node)[0]), *((scheme, host) if at == first else (b"", b"")))
                for at, node in enumerate(near)
            ]
            passed += self._forwarded(hops, scheme, host)
        return self._worded(head, client, chain, scheme, host, passed)

    def _by_forwarded(self, head: RequestHead, hops: list[Hop], passed: bytes) -> ClientFacts:
        known = self._forwarding.known
        client = self.address
        scheme = host = b""
        first = len(hops)  # of those that a trusted proxy has added
        for hop in reversed(hops):
            first -= 1
            scheme = scheme or hop.scheme
            host = host or hop.host
            address, trusted = known(hop.node)
            client = address or client
            if not trusted:
                break
        scheme = scheme or b"http"
        host = host or head.host
        chain: list[bytes] = []
        told: list[bytes] = []
        for at, hop in enumerate(hops):
            # A hop that does not say who is before it stays between them, so that nobody takes one for its.
            node = hop.node or (b"unknown" if chain else b"")
            if node:
                chain.append(known(node)[0].encode() or node)
            facts = (scheme, host) if at == first else (b"", b"")
            if text := render_hop(node, *facts, hop.rest if at >= first else b""):
                told.append(text)
        return self._worded(head, client, chain, scheme, host, passed + self._forwarded(told, scheme, host))

    def _forwarded(self, hops: list[bytes], scheme: bytes, host: bytes) -> bytes:
        """Our own element repeats scheme and host: some apps take the first of each, some the last."""
        hops.append(render_hop(node_of(self.address), scheme, host))
        return b"Forwarded: %b\r\n" % b", ".join(hops)

    def _worded(
        self, head: RequestHead, client: str, chain: list[bytes], scheme: bytes, host: bytes, passed: bytes
    ) -> ClientFacts:
        if host:
            passed = b"X-Forwarded-Host: %b\r\n%b" % (host, passed)
        lines = b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\nX-Real-IP: %b\r\n%b%b" % (
            b", ".join([*chain, self.address.encode()]),
            scheme,
            client.encode(),
            self._forwarding.via[head.minor],
            passed,
        )
        return ClientFacts(client, lines)


class Forwarding:
    """Makes the `Peer` of each client connection. `trusted` are addresses and CIDR networks; `name` is what
    Via tells, "" where there is to be none; `untrusted` is told of each connection once that says what only a
    proxy can know, and is not to be believed."""

    __slots__ = ("_ipv4", "_ipv6", "_known", "_peers", "untrusted", "via")

    def __init__(
        self,
        trusted: Sequence[str],
        name: str = "balancer",
        untrusted: Untrusted = lambda address, sent: None,
    ) -> None:
        self.via = via_lines(name)
        networks = [_network(text) for text in trusted]
        self._ipv6 = [one for one in networks if isinstance(one, ipaddress.IPv6Network)]
        self._ipv4 = [  # mask and number
            (int(one.netmask), int(one.network_address))
            for one in networks
            if isinstance(one, ipaddress.IPv4Network)
        ]
        self._known: dict[bytes, tuple[str, bool]] = {}
        self._peers: dict[str, Peer] = {}
        self.untrusted = untrusted

    def peer(self, address: str) -> Peer:
        """`address` as the socket gives it. Connections from one address share what is known of it."""
        found = self._peers.get(address)
        if found is None:
            plain = address
            if ":" in address:
                parsed = address_in(address.encode())
                plain = address if parsed is None else str(parsed)
            if len(self._peers) >= _KNOWN_PEERS:
                self._peers.clear()
            found = self._peers[address] = Peer(plain, self)
        found.told = False  # each connection may be told of
        return found

    def trusts(self, address: str) -> bool:
        """Whether the address belongs to a trusted proxy."""
        return bool(self._ipv4 or self._ipv6) and self.known(address.encode())[1]

    def known(self, node: bytes) -> tuple[str, bool]:
        """The address of a node, "" where it has none, and whether a trusted proxy has it."""
        found = self._known.get(node)
        if found is None:
            found = self._look(node)
            if len(node) <= _KNOWN_BYTES:
                if len(self._known) >= _KNOWN_NODES:
                    self._known.clear()
                self._known[node] = found
        return found

    def _look(self, node: bytes) -> tuple[str, bool]:
        if PLAIN_IPV4.fullmatch(node):  # nearly all: ipaddress takes ten times as long
            return node.decode(), self._trusts_ipv4(int.from_bytes(bytes(map(int, node.split(b".")))))
        address = address_in(node)
        if address is None:
            return "", False
        if isinstance(address, ipaddress.IPv4Address):
            return str(address), self._trusts_ipv4(int(address))
        return str(address), any(address in network for network in self._ipv6)

    def _trusts_ipv4(self, number: int) -> bool:
        return any(number & mask == network for mask, network in self._ipv4)


def _nearest_hops(forwarded: list[Field]) -> list[Hop]:
    """The last MOST_HOPS elements of all these fields: no more of them is looked at."""
    hops: list[Hop] = []
    for field in reversed(forwarded):
        hops = field.hops() + hops
        if len(hops) >= MOST_HOPS:
            break
    return hops[-MOST_HOPS:]


def _network(text: str) -> _Network:
    """IPv4 where it is mapped into IPv6, as peers are: ::ffff:10.0.0.0/104 is 10.0.0.0/8."""
    network = ipaddress.ip_network(text, strict=False)
    if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= 96:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return ipaddress.IPv4Network((mapped, network.prefixlen - 96))
    return network
