"""Parses what proxies report about the client: `Forwarded` (RFC 7239) and the X-Forwarded-* lists.

Both are read from the right, as the nearest proxy wrote last: whatever a client starts with, an open quote
for example, it cannot hide what was appended. No function here is worse than linear in its input.
"""

import ipaddress
import re
from typing import Final, NamedTuple

from balancer.http.headers import TOKEN

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_PAIR: Final = re.compile(
    rb'(%b)=(?:(%b)|"((?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*)")[ \t]*(?:;|\Z)' % (TOKEN, TOKEN)
)
_BLANK: Final = re.compile(rb"[ \t;]*")
_QUOTED_PAIR: Final = re.compile(rb"\\(.)", re.DOTALL)
_TOKEN: Final = re.compile(TOKEN)
# RFC 7239 section 6: an address, or an obfuscated identifier; a port of either form.
_PORT: Final = rb"(?::(?:[0-9]{1,5}|_[A-Za-z0-9._-]+))?"
_ADDRESS: Final = re.compile(rb"(?:[0-9.]{7,15}|\[[0-9A-Fa-f.]{0,45}:[0-9A-Fa-f:.]{1,45}\])" + _PORT)
_HIDDEN: Final = re.compile(rb"(?:unknown|_[A-Za-z0-9._-]+)" + _PORT, re.IGNORECASE)
_OCTET: Final = rb"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
PLAIN_IPV4: Final = re.compile(rb"(?:%b\.){3}%b" % (_OCTET, _OCTET))
_SCHEME: Final = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]{0,31}")
_HOST: Final = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+=%-]+|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{0,5})?")


# How many elements are examined, the nearest ones: nobody chains that many proxies of their own.
MOST_HOPS: Final = 32

# Fields that signal https if X-Forwarded-Proto is absent. With http beside them they are a contradiction,
# which gunicorn answers with 400.
SCHEME_SWITCHES: Final = frozenset(
    b"""x-forwarded-scheme x-forwarded-protocol x-forwarded-ssl x-forwarded-https front-end-https x-scheme
    x-url-scheme x-https""".split()
)
_SAY_HTTPS: Final = frozenset([b"https", b"on", b"ssl", b"1"])


class ClientFacts:
    """A client as reported by trusted proxies: its address, what it speaks, and the header lines for the
    app."""

    __slots__ = ("client", "lines", "scheme")

    def __init__(self, client: str, scheme: bytes, lines: bytes) -> None:
        self.client = client
        self.scheme = scheme
        self.lines = lines


class Hop(NamedTuple):
    """One element of `Forwarded`: one proxy's description of the request it received.

    `node` is the sender, b"" if not given; `scheme` and `host` likewise. `rest` are its other parameters as
    received, each after a semicolon.
    """

    node: bytes
    scheme: bytes
    host: bytes
    rest: bytes


_NOTHING: Final = Hop(b"", b"", b"", b"")


def members(value: bytes) -> list[bytes]:
    """The last MOST_HOPS elements of a list without quoted strings, and everything before them as one; empty
    ones do not count (RFC 9110 section 5.6.1.2)."""
    return [member for part in value.rsplit(b",", MOST_HOPS) if (member := part.strip(b" \t,"))]


def said_in(name: bytes, value: bytes) -> list[bytes]:
    """The content of a field set by proxies, as a list: the chain of X-Forwarded-For; for X-Forwarded-Proto
    and -Host, and other programs' equivalents, the one value that counts, if it is valid."""
    if name in (b"x-forwarded-for", b"x-real-ip"):
        return members(value)
    if name == b"x-forwarded-proto":
        said = scheme_in(value)
    elif name == b"x-forwarded-host":
        said = host_in(value)
    elif name in SCHEME_SWITCHES:
        said = b"https" if value.lower() in _SAY_HTTPS else b""
    else:
        return []
    return [said] if said else []


def scheme_in(value: bytes) -> bytes:
    """The scheme in the last element of `value`, in lower case; b"" if it is not a scheme."""
    if value == b"https":
        return value
    last = _last(value)
    return last.lower() if _SCHEME.fullmatch(last) else b""


def host_in(value: bytes) -> bytes:
    """The host in the last element of `value`, with its port if there is one; b"" if it is not a host."""
    last = _last(value)
    return last if _HOST.fullmatch(last) else b""


def hops_in(value: bytes) -> list[Hop]:
    """The last MOST_HOPS elements of `Forwarded`, the nearest proxy last. A malformed element is empty."""
    return [_hop(element) for part in _elements(value) if (element := part.strip(b" \t"))]


def address_in(node: bytes) -> IpAddress | None:
    """The address of a node, which may have a port or brackets. IPv4-mapped IPv6 becomes IPv4."""
    text = node.decode("latin-1")
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def render_hop(node: bytes, scheme: bytes, host: bytes, rest: bytes = b"") -> bytes:
    """An element of `Forwarded`; parameters that are b"" are left out."""
    pairs = [
        b"%b=%b" % (name, value if _TOKEN.fullmatch(value) else b'"%b"' % value)
        for name, value in ((b"for", node), (b"proto", scheme), (b"host", host))
        if value
    ]
    return (b";".join(pairs) + rest).removeprefix(b";")


def node_of(address: str) -> bytes:
    """How `Forwarded` writes an address: IPv6 in brackets; `unknown` for none."""
    return b"[%b]" % address.encode() if ":" in address else address.encode() or b"unknown"


def node_for(text: bytes, address: str) -> bytes:
    """The node for an element of X-Forwarded-For with the address `address`, "" if it has none."""
    if address:
        return node_of(address)
    return text if _HIDDEN.fullmatch(text) else b"unknown"


def _last(value: bytes) -> bytes:
    if b"," not in value:
        return value
    return value.rstrip(b" \t,").rpartition(b",")[2].strip(b" \t")


def _elements(value: bytes) -> list[bytes]:
    """The last MOST_HOPS parts of `value`, split at commas outside quoted strings. Everything before a
    closing quote without an opening one forms one element with it."""
    found: list[bytes] = []
    end = at = len(value)  # of the element; of its part not examined yet
    comma = value.rfind(b",", 0, at)
    while True:
        closing = value.rfind(b'"', comma + 1, at)
        if closing < 0:
            found.append(value[comma + 1 : end])
            if comma < 0 or len(found) == MOST_HOPS:
                break
            end = at = comma
        else:
            at = _opening(value, closing)
            if at < 0:
                found.append(value[:end])
                break
        if comma >= at:
            comma = value.rfind(b",", 0, at)
    found.reverse()
    return found


def _opening(value: bytes, closing: int) -> int:
    """The start of the quoted string that ends at `closing`, -1 if there is none."""
    at = value.rfind(b'"', 0, closing)
    while at >= 0:
        before = at
        while before > 0 and value[before - 1] == 0x5C:
            before -= 1
        if (at - before) % 2 == 0:
            return at
        at = value.rfind(b'"', 0, before)
    return -1


def _hop(text: bytes) -> Hop:
    pairs: dict[bytes, bytes] = {}
    rest: list[bytes] = []
    at = _blank(text, 0)
    while at < len(text):
        pair = _PAIR.match(text, at)
        if pair is None:
            return _NOTHING
        name = pair[1].lower()
        if name in pairs:  # RFC 7239 section 4
            return _NOTHING
        pairs[name] = pair[2] if pair[3] is None else _QUOTED_PAIR.sub(rb"\1", pair[3])
        if name not in (b"for", b"proto", b"host"):
            rest += [b";", pair[0].rstrip(b" \t;")]
        at = _blank(text, pair.end())
    node, scheme, host = pairs.get(b"for", b""), pairs.get(b"proto", b""), pairs.get(b"host", b"")
    return Hop(
        node if _is_node(node) else b"",
        scheme.lower() if _SCHEME.fullmatch(scheme) else b"",
        host if _HOST.fullmatch(host) else b"",
        b"".join(rest),
    )


def _is_node(node: bytes) -> bool:
    return bool(
        PLAIN_IPV4.fullmatch(node)
        or _HIDDEN.fullmatch(node)
        or (_ADDRESS.fullmatch(node) and address_in(node))
    )


def _blank(text: bytes, at: int) -> int:
    match = _BLANK.match(text, at)
    return at if match is None else match.end()
