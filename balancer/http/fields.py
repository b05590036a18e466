"""Header lines, each examined once: the meaning of a line to a proxy is a pure function of its bytes.

Most lines of most heads have been seen before (`Accept: */*`, `Connection: keep-alive`, the Date of this
second), so meanings are cached by line. A line is cached only after httptools has accepted a head with it;
a head of cached lines needs no second syntax check. What a line means together with the other lines of its
message is decided in `head` for every message.
"""

from collections.abc import Iterable
from typing import Final

from balancer.errors import MALFORMED_REQUEST, Failure, ProtocolError
from balancer.http.forwarded import Hop, hops_in, said_in
from balancer.http.headers import list_members
from balancer.http.syntax import is_field_value
from balancer.http.target import check_host
from balancer.http.via import balancers_in

# The role of a field for a proxy. FORWARDING: describes the client; only trusted proxies are believed.
HOST: Final = 0
CONNECTION: Final = 1
LENGTH: Final = 2
CODING: Final = 3
EXPECT: Final = 4
UPGRADE: Final = 5
TE: Final = 6
DROP: Final = 7
FORWARDING: Final = 8
DATE: Final = 9
VIA: Final = 10
REQUEST_ID: Final = 11
EXPLAIN: Final = 14  # never forwarded; only trusted proxies are believed
TRACEPARENT: Final = 12
TRACESTATE: Final = 13
OTHER: Final = -1  # forwarded unchanged
UNKNOWN: Final = -2

REQUEST_KINDS: Final[dict[bytes, int]] = {
    b"host": HOST,
    b"connection": CONNECTION,
    b"content-length": LENGTH,
    b"transfer-encoding": CODING,
    b"expect": EXPECT,
    b"upgrade": UPGRADE,
    b"te": TE,
    b"keep-alive": DROP,
    b"proxy-connection": DROP,
    b"proxy-authorization": DROP,  # meant for us, the next hop (RFC 9110 section 11.7.2)
    b"proxy": DROP,  # CGI turns it into HTTP_PROXY, which programs use as a setting (httpoxy, CVE-2016-5385)
    b"client-cert": DROP,  # RFC 9440: only the proxy that terminates TLS may set it
    b"client-cert-chain": DROP,
    b"forwarded": FORWARDING,
    b"x-forwarded-for": FORWARDING,
    b"x-forwarded-proto": FORWARDING,
    b"x-forwarded-host": FORWARDING,
    b"x-real-ip": FORWARDING,
    b"x-request-id": REQUEST_ID,
    b"via": VIA,
    b"x-balancer-explain": EXPLAIN,
}
# Where traces are on.
TRACED_KINDS: Final = {**REQUEST_KINDS, b"traceparent": TRACEPARENT, b"tracestate": TRACESTATE}
RESPONSE_KINDS: Final[dict[bytes, int]] = {
    b"connection": CONNECTION,
    b"content-length": LENGTH,
    b"transfer-encoding": CODING,
    b"upgrade": UPGRADE,
    b"keep-alive": DROP,
    b"proxy-connection": DROP,
    b"te": DROP,
    b"date": DATE,
}

_TOKEN_LISTS: Final = frozenset([CONNECTION, UPGRADE, TE])
_OWN_WORDS: Final = frozenset([HOST, LENGTH, CODING, EXPECT])
MOST_MEMBERS: Final = 100  # of all Connection fields of a head, and of each other token list

_REMEMBERED_LINES: Final = 4096
_REMEMBERED_NAMES: Final = 1024
# Names with more lines than this carry ids, cookies or tokens, of which nearly none comes twice.
_LINES_OF_A_NAME: Final = 256
_SIGNS: Final = bytes(byte if bytes([byte]).isalnum() else 0x2D for byte in range(256))
_REMEMBERED_BYTES: Final = 256  # longer lines are mostly cookies and tokens of a single client


class Field:
    """A field that concerns a proxy.

    `line` is the whole line as forwarded: framing fields and Host are rewritten in our own words, so that no
    parser can read them differently. `name` is in lower case, `value` without surrounding white space.
    `members` are the list members in lower case for token lists, the balancers for Via, and the result of
    `said_in` for FORWARDING fields.
    """

    __slots__ = ("_hops", "kind", "line", "members", "name", "value")

    def __init__(self, kind: int, line: bytes) -> None:
        name, _, value = line.partition(b":")
        self.kind = kind
        self.name = name.lower()
        self.value = value.strip(b" \t")
        self.line = line
        self.members: list[bytes] = []
        if kind in _TOKEN_LISTS:
            self.members = list_members(value)
        elif kind == FORWARDING:
            self.members = said_in(self.name, self.value)
        elif kind == VIA:
            self.members = balancers_in(value)
        elif kind in _OWN_WORDS:
            self.line = _own_words(kind, line, self.value)
        self._hops: list[Hop] | None = None

    def hops(self) -> list[Hop]:
        """The elements of Forwarded, parsed only if the peer is trusted."""
        if self._hops is None:
            self._hops = hops_in(self.value)
        return self._hops


def _own_words(kind: int, line: bytes, value: bytes) -> bytes:
    """A value that is not exact stays unchanged: `head` refuses it, or it frames nothing."""
    if kind == HOST:
        return b"Host: " + value
    if kind == LENGTH and value.isdigit():  # of bytes: only ASCII digits
        return b"Content-Length: " + (value.lstrip(b"0") or b"0")
    if kind == CODING and value.lower() == b"chunked":
        return b"Transfer-Encoding: chunked"
    if kind == EXPECT and value.lower() == b"100-continue":
        return b"Expect: 100-continue"
    return line


NEW: Final = Field(DROP, b":")  # marks a line not seen before


class _Name:
    """A field name that httptools has accepted: what the field is, and how many lines with it are cached."""

    __slots__ = ("kind", "lines")

    def __init__(self, kind: int) -> None:
        self.kind = kind
        self.lines = 0


class FieldTable:
    """Maps field lines of requests or responses to their meaning: a `Field`, or None for "forward unchanged".

    `head` reads `seen` directly, one lookup per line. A line that is not in it goes through `examine`, and if
    its name is new through `learn`, once httptools has accepted its head. `told` are further FORWARDING names
    in lower case, `x-forwarded-*` for a prefix; `kept` are exceptions from it. `passes_trailers`: forward
    trailers. `failure` is the failure that an invalid line is reported as."""

    __slots__ = ("_failure", "_kept", "_kinds", "_look_alike", "_names", "_passes_trailers", "_told",
                 "seen")  # fmt: skip

    def __init__(
        self,
        kinds: dict[bytes, int],
        told: Iterable[str] = (),
        kept: Iterable[str] = (),
        passes_trailers: bool = False,
        failure: Failure = MALFORMED_REQUEST,
    ) -> None:
        self._failure = failure
        self._passes_trailers = passes_trailers
        names = [name.encode() for name in told]
        self._kept = frozenset(_plain(name.encode()) for name in kept)
        self._told = tuple(_plain(name[:-1]) for name in names if name.endswith(b"*"))
        single = [name for name in names if not name.endswith(b"*") and _plain(name) not in self._kept]
        self._kinds = dict.fromkeys(single, FORWARDING) | kinds
        self._look_alike = frozenset(
            _plain(name)
            for name, kind in self._kinds.items()
            if kind in (FORWARDING, REQUEST_ID, EXPLAIN, DROP)
        )
        self._names: dict[bytes, _Name] = {}  # as received
        self.seen: dict[bytes, Field | None] = {}

    def examine(self, line: bytes) -> Field | None:
        """The meaning of a line that is not in `seen`. NEW if it is to be checked by httptools first: its
        name is new, or it is invalid. Raises ProtocolError for an invalid Host."""
        colon = line.find(b":")
        if colon < 1 or (name := self._names.get(line[:colon])) is None or not is_field_value(line):
            return NEW
        if name.kind == OTHER and name.lines == _LINES_OF_A_NAME:
            return None
        return self._understand(line, name, True)

    def learn(self, line: bytes, remembered: bool = True) -> Field | None:
        """The meaning of a line that httptools has accepted; cached if `remembered`. Raises ProtocolError for
        an invalid Host."""
        text = line[: line.index(b":")]
        name = self._names.get(text)
        if name is None:
            name = _Name(self._kind_of(text.lower()))
            if remembered and len(text) <= _REMEMBERED_BYTES:
                if len(self._names) >= _REMEMBERED_NAMES:
                    self._names.clear()
                self._names[text] = name
        return self._understand(line, name, remembered)

    def kind_of(self, line: bytes) -> int:
        """The role of a line that has been accepted; UNKNOWN if its name is not remembered, as long ones
        never are."""
        name = self._names.get(line[: line.find(b":")])
        return UNKNOWN if name is None else name.kind

    def passed_trailers(self, trailers: bytes) -> bytes:
        """The lines of `trailers`, each with its CRLF, that are forwarded: none, unless enabled. An app that
        stops reading at the last chunk would take them for its next request. A field that we or proxies set
        in heads is never forwarded: no peer is trusted there."""
        if not self._passes_trailers:
            return b""
        lines = trailers.split(b"\r\n")[:-1]
        kept = [line for line in lines if self._kind_of(line[: line.index(b":")].lower()) == OTHER]
        return b"".join([line + b"\r\n" for line in kept])

    def _understand(self, line: bytes, name: _Name, remembered: bool) -> Field | None:
        field = None if name.kind == OTHER else self._parse(line, name.kind)
        is_common = name.lines < _LINES_OF_A_NAME or name.kind == DATE
        if remembered and is_common and len(line) <= _REMEMBERED_BYTES:
            name.lines += 1
            seen = self.seen
            if len(seen) >= _REMEMBERED_LINES:
                # Rare, so nothing finer is worth it: common lines are back at once.
                seen.clear()
                for one in self._names.values():
                    one.lines = 0
            seen[line] = field
        return field

    def _parse(self, line: bytes, kind: int) -> Field | None:
        if kind in _TOKEN_LISTS and line.count(b",") >= MOST_MEMBERS:
            name = line[: line.index(b":")].lower()
            raise ProtocolError(self._failure, f"more than {MOST_MEMBERS} members in {name.decode()}")
        field = Field(kind, line)
        if kind == HOST:
            check_host(field.value)
        elif kind == VIA and not field.members:
            return None  # lines of other proxies cost nothing
        return field

    def _kind_of(self, name: bytes) -> int:
        kind = self._kinds.get(name)
        if kind is not None:
            return kind
        plain = _plain(name)
        if plain in self._kept:
            return OTHER
        if plain.startswith(self._told):
            return FORWARDING if name == plain else DROP
        # WSGI and CGI read `X_Forwarded_For` or `X.Forwarded.For` as the real field; no trusted proxy writes
        # it like that.
        return DROP if plain in self._look_alike else OTHER


def _plain(name: bytes) -> bytes:
    """`name` as CGI and the like see it: most do not distinguish `-` from `_`, some no signs at all."""
    return name.translate(_SIGNS)
