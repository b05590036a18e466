"""Header fields that describe the client to the app: X-Forwarded-*, X-Real-IP, Forwarded (RFC 7239), Via,
Client-Cert (RFC 9440).

An untrusted peer's claims about itself are replaced. A trusted proxy's are believed and extended: its
X-Forwarded-* if it sends them, else its Forwarded, never both, so that the app, the log and the hash key all
agree.
"""

import ipaddress
from binascii import b2a_base64
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

_KNOWN_NODES: Final = 4096
_KNOWN_BYTES: Final = 64
_KNOWN_PEERS: Final = 1024


class Peer:
    """The peer of client connections from one address, with its forwarding lines rendered once.

    `address` is its IP address, without zone or port; IPv4-mapped IPv6 becomes IPv4. `scheme` is that of its
    connections.
    """

    __slots__ = ("_ends", "_forwarding", "_lines", "address", "scheme", "told", "trusted")

    def __init__(self, address: str, forwarding: "Forwarding", certificate: bytes = b"") -> None:
        """`certificate` is the one that it has proven to have, in DER, b"" for none."""
        self.address = address
        self.scheme = forwarding.scheme
        self.trusted = forwarding.trusts(address)
        self._forwarding = forwarding
        self.told = False  # `untrusted` was called for this connection
        line = _certificate_line(certificate) if certificate else b""
        self._ends = (forwarding.via[0] + line, forwarding.via[1] + line)  # by the minor version
        plain = address.encode()
        start = b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\n%bX-Real-IP: %b\r\n" % (
            plain,
            self.scheme,
            forwarding.port_line,
            plain,
        )
        self._lines = (start + self._ends[0], start + self._ends[1])

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

    def client_scheme(self, head: RequestHead) -> bytes:
        """What the client speaks with the first trusted proxy, or with us if there is none."""
        if not self.trusted or head.forwarding is None:
            return self.scheme
        return self._facts(head, head.forwarding).scheme

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
                    lines += b"Forwarded: %b\r\n" % render_hop(node_of(self.address), self.scheme, head.host)
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
            scheme = scheme or other_scheme
            if not scheme:
                scheme = self.scheme
                passed = self._with_port(passed)
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
        if not scheme:
            scheme = self.scheme
            passed = self._with_port(passed)
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

    def _with_port(self, passed: bytes) -> bytes:
        """`passed` with our own X-Forwarded-Port: the proxy does not say otherwise."""
        line = self._forwarding.port_line
        return passed if not line or b"x-forwarded-port:" in passed.lower() else line + passed

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
            self._ends[head.minor],
            passed,
        )
        return ClientFacts(client, scheme, lines)


class Forwarding:
    """Makes the `Peer` of each client connection of a listener. `trusted` are addresses and CIDR networks;
    `name` is ours in Via, "" for no Via; `untrusted` is called once for each untrusted connection that sends
    fields which only a proxy can know. `scheme` is the listener's, and `port` the one that its clients
    connect to, told to apps unless it is 0."""

    __slots__ = ("_ipv4", "_ipv6", "_known", "_peers", "port_line", "scheme", "untrusted", "via")

    def __init__(
        self,
        trusted: Sequence[str],
        name: str = "balancer",
        untrusted: Untrusted = lambda address, sent: None,
        *,
        scheme: bytes = b"http",
        port: int = 0,
    ) -> None:
        self.via = via_lines(name)
        self.scheme = scheme
        self.port_line = b"X-Forwarded-Port: %d\r\n" % port if port else b""
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

    def certified(self, address: str, certificate: bytes) -> Peer:
        """The peer of one connection from `address`, with a `certificate` in DER."""
        return Peer(self.peer(address).address, self, certificate)

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


def _certificate_line(certificate: bytes) -> bytes:
    """RFC 9440 section 2.2: a byte sequence of RFC 8941."""
    return b"Client-Cert: :%b:\r\n" % b2a_base64(certificate, newline=False)


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
