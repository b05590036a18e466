"""Header fields that describe the client to the app: X-Forwarded-*, X-Real-IP, Forwarded (RFC 7239), Via.

An untrusted peer's claims about itself are replaced. A trusted proxy's are believed and extended: its
X-Forwarded-* if it sends them, else its Forwarded, never both, so that the app, the log and the hash key all
agree. Request ids (X-Request-ID) are made here too.
"""

import ipaddress
from collections.abc import Callable, Sequence
from typing import Final

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
from balancer.http.request_head import RequestHead
from balancer.http.via import via_lines

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
# Called with an untrusted peer's address and the forwarding fields it sent.
Untrusted = Callable[[str, Sequence[Field]], None]

_TWO_DIGITS: Final = [b"%02x" % number for number in range(256)]
_KNOWN_NODES: Final = 4096
_KNOWN_BYTES: Final = 64
_KNOWN_PEERS: Final = 1024


class RequestIds:
    """Makes request ids: 16 hex digits of the worker, 12 of a counter. Unique, not secret."""

    __slots__ = ("_count", "_prefix", "_stem")

    def __init__(self, prefix: int) -> None:
        self._prefix = b"%016x" % prefix
        self._count = 0
        self._stem = b""  # the present id without its last two digits

    def of(self, head: RequestHead) -> bytes:
        """The client's own id if it sent a valid one, else a new one."""
        if head.request_id:
            return head.request_id
        self._count = count = self._count + 1
        low = count & 0xFF
        if not low or not self._stem:
            self._stem = b"%b%010x" % (self._prefix, count >> 8)
        return self._stem + _TWO_DIGITS[low]


class Peer:
    """The peer of client connections from one address, with its forwarding lines rendered once.

    `address` is its IP address, without zone or port; IPv4-mapped IPv6 becomes IPv4.
    """

    __slots__ = ("_forwarding", "_lines", "address", "told", "trusted")

    def __init__(self, address: str, forwarding: "Forwarding") -> None:
        self.address = address
        self.trusted = forwarding.trusts(address)
        self._forwarding = forwarding
        self.told = False  # `untrusted` was called for this connection
        plain = address.encode()
        start = b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: http\r\nX-Real-IP: %b\r\n" % (plain, plain)
        via = forwarding.via
        self._lines = (start + via[0], start + via[1])

    def lines(self, head: RequestHead) -> bytes:
        """The lines to append to the forwarded head, each with its CRLF, except X-Request-ID."""
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
        """The lines that replace those of an untrusted peer."""
        lines = self._lines[head.minor]
        if head.host:
            lines = b"%bX-Forwarded-Host: %b\r\n" % (lines, head.host)
        says_any = False
        for field in sent:
            if field.value:
                says_any = True
                if field.name == b"forwarded":  # only if the peer sent it: most apps read X-Forwarded-*
                    lines += b"Forwarded: %b\r\n" % render_hop(node_of(self.address), b"http", head.host)
                    break
        if says_any and not self.told:
            self.told = True
            self._forwarding.untrusted(self.address, sent)
        return lines

    def _facts(self, head: RequestHead, sent: list[Field]) -> ClientFacts:
        """What a trusted peer reports, parsed once for a head and all requests that repeat it."""
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
            else:
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
        first = len(near)  # index of the first node that a trusted proxy has added
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
        first = len(hops)  # index of the first hop that a trusted proxy has added
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
            # A hop that does not name its client stays in the chain as "unknown", so that no other address is
            # taken for it.
            node = hop.node or (b"unknown" if chain else b"")
            if node:
                chain.append(known(node)[0].encode() or node)
            facts = (scheme, host) if at == first else (b"", b"")
            if text := render_hop(node, *facts, hop.rest if at >= first else b""):
                told.append(text)
        return self._worded(head, client, chain, scheme, host, passed + self._forwarded(told, scheme, host))

    def _forwarded(self, hops: list[bytes], scheme: bytes, host: bytes) -> bytes:
        """Our own element repeats scheme and host: some apps read the first of each, some the last."""
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
    """Makes the `Peer` of each client connection. `trusted` are addresses and CIDR networks; `name` is ours
    in Via, "" for no Via; `untrusted` is called once for each untrusted connection that sends fields which
    only a proxy can know."""

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
        """The peer at `address`, as the socket returns it. Connections from one address share it."""
        found = self._peers.get(address)
        if found is None:
            plain = address
            if ":" in address:
                parsed = address_in(address.encode())
                plain = address if parsed is None else str(parsed)
            if len(self._peers) >= _KNOWN_PEERS:
                self._peers.clear()
            found = self._peers[address] = Peer(plain, self)
        found.told = False  # each connection is reported once
        return found

    def trusts(self, address: str) -> bool:
        """Whether the address belongs to a trusted proxy."""
        return bool(self._ipv4 or self._ipv6) and self.known(address.encode())[1]

    def known(self, node: bytes) -> tuple[str, bool]:
        """The address of a node, "" if it has none, and whether it is a trusted proxy's."""
        found = self._known.get(node)
        if found is None:
            found = self._look(node)
            if len(node) <= _KNOWN_BYTES:
                if len(self._known) >= _KNOWN_NODES:
                    self._known.clear()
                self._known[node] = found
        return found

    def _look(self, node: bytes) -> tuple[str, bool]:
        if PLAIN_IPV4.fullmatch(node):  # nearly all are: ipaddress takes ten times as long
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
    """The last MOST_HOPS elements of all these fields; the others are not parsed."""
    hops: list[Hop] = []
    for field in reversed(forwarded):
        hops = field.hops() + hops
        if len(hops) >= MOST_HOPS:
            break
    return hops[-MOST_HOPS:]


def _network(text: str) -> _Network:
    """Maps IPv4-mapped IPv6 to IPv4, as for peers: ::ffff:10.0.0.0/104 is 10.0.0.0/8."""
    network = ipaddress.ip_network(text, strict=False)
    if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= 96:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return ipaddress.IPv4Network((mapped, network.prefixlen - 96))
    return network
