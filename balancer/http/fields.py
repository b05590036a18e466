"""Header lines, each looked at once: what a line means to a proxy is a pure function of its bytes.

Most lines of most heads have been seen before (`Accept: */*`, `Connection: keep-alive`, the Date of this
second), so meanings are remembered by line. A line is remembered only after httptools has passed a head
with it; a head of remembered lines needs no second syntax check. What a line means for its message, beside
the other lines, is decided in `head` for every message.
"""

from collections.abc import Iterable

from balancer.errors import MALFORMED_REQUEST, Failure, ProtocolError
from balancer.http.forwarded import Hop, hops_in, said_in
from balancer.http.headers import list_members
from balancer.http.target import check_host
from balancer.http.via import balancers_in

# What a field is to a proxy. FORWARDING is what proxies say of the client, and only the trusted are believed.
HOST, CONNECTION, LENGTH, CODING, EXPECT, UPGRADE, TE, DROP, FORWARDING, DATE, VIA = range(11)
_OTHER = -1

REQUEST_KINDS: dict[bytes, int] = {
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
    b"proxy": DROP,  # CGI makes HTTP_PROXY of it, which programs take for a setting (httpoxy, CVE-2016-5385)
    b"client-cert": DROP,  # RFC 9440: only who ends TLS may say it
    b"client-cert-chain": DROP,
    b"forwarded": FORWARDING,
    b"x-forwarded-for": FORWARDING,
    b"x-forwarded-proto": FORWARDING,
    b"x-forwarded-host": FORWARDING,
    b"x-real-ip": FORWARDING,
    b"x-request-id": FORWARDING,
    b"via": VIA,
}
RESPONSE_KINDS: dict[bytes, int] = {
    b"connection": CONNECTION,
    b"content-length": LENGTH,
    b"transfer-encoding": CODING,
    b"upgrade": UPGRADE,
    b"keep-alive": DROP,
    b"proxy-connection": DROP,
    b"te": DROP,
    b"date": DATE,
}

_TOKEN_LISTS = frozenset([CONNECTION, UPGRADE, TE])
_OWN_WORDS = frozenset([HOST, LENGTH, CODING, EXPECT])
MOST_MEMBERS = 100  # of Connection in a head, and of each other list of tokens

_REMEMBERED_LINES = 4096
_REMEMBERED_NAMES = 1024
_SIGNS = bytes(byte if bytes([byte]).isalnum() else 0x2D for byte in range(256))
_REMEMBERED_BYTES = 256  # longer lines are mostly cookies and tokens, one client's own


class Field:
    """A field that concerns a proxy.

    `line` is the whole line as it goes on: what frames the message, or says for whom it is, in our own
    words, so that no parser can read it differently. `name` is in lower case, `value` without surrounding
    white space; `members` are the value's list members in lower case, for fields that are token lists; of Via
    the balancers in it; for those that proxies send, what `said_in` makes of them.
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
        """The elements of Forwarded: asked for only where they are believed."""
        if self._hops is None:
            self._hops = hops_in(self.value)
        return self._hops


def _own_words(kind: int, line: bytes, value: bytes) -> bytes:
    """What is not exact stays as it is: `head` refuses it, or it frames nothing."""
    if kind == HOST:
        return b"Host: " + value
    if kind == LENGTH and value.isdigit():  # of bytes: only ASCII digits
        return b"Content-Length: " + (value.lstrip(b"0") or b"0")
    if kind == CODING and value.lower() == b"chunked":
        return b"Transfer-Encoding: chunked"
    if kind == EXPECT and value.lower() == b"100-continue":
        return b"Expect: 100-continue"
    return line


NEW = Field(DROP, b":")  # stands for a line not met before


class FieldTable:
    """Field lines of requests or of responses -> what they mean: a `Field`, None for "forward as it is".

    `seen` is read directly by `head`, one lookup per line; a line that is not in there goes through `learn`
    once httptools has passed the head with it. `told` are names in lower case that are FORWARDING as well,
    `x-forwarded-*` stands for all that begin so; `kept` are exceptions from it. Trailers are passed where
    `passes_trailers`. `failure` is what a line that cannot be read is reported as.
    """

    __slots__ = ("_by_name", "_failure", "_kept", "_kinds", "_look_alike", "_passes_trailers", "_told",
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
            _plain(name) for name, kind in self._kinds.items() if kind in (FORWARDING, DROP)
        )
        self._by_name: dict[bytes, int] = {}  # of names met, OTHER for none of them
        self.seen: dict[bytes, Field | None] = {}

    def learn(self, line: bytes, remembered: bool = True) -> Field | None:
        """What `line` means, `remembered` from now on. Raises ProtocolError for a Host that is none."""
        if len(self.seen) >= _REMEMBERED_LINES:
            self.seen.clear()  # rare enough that nothing finer is worth it: the common lines are back at once
        field = self._understand(line)
        if remembered and len(line) <= _REMEMBERED_BYTES:
            self.seen[line] = field
        return field

    def passed_trailers(self, trailers: bytes) -> bytes:
        """What of `trailers`, lines with their CRLF, goes on: nothing, unless it was asked for. An app
        that stops reading at the last chunk would take them for its next request. Never what would pass for a
        field of the head that we or proxies set: no peer is believed there."""
        if not self._passes_trailers:
            return b""
        lines = trailers.split(b"\r\n")[:-1]
        kept = [line for line in lines if self._kind_of(line[: line.index(b":")].lower()) == _OTHER]
        return b"".join([line + b"\r\n" for line in kept])

    def _understand(self, line: bytes) -> Field | None:
        name = line[: line.index(b":")].lower()
        kind = self._by_name.get(name)
        if kind is None:
            if len(self._by_name) >= _REMEMBERED_NAMES:
                self._by_name.clear()
            kind = self._kind_of(name)
            if len(name) <= _REMEMBERED_BYTES:
                self._by_name[name] = kind
        if kind == _OTHER:
            return None
        if kind in _TOKEN_LISTS and line.count(b",") >= MOST_MEMBERS:
            raise ProtocolError(self._failure, f"more than {MOST_MEMBERS} members in {name.decode()}")
        field = Field(kind, line)
        if kind == HOST:
            check_host(field.value)
        elif kind == VIA and not field.members:
            return None  # other proxies' lines cost nothing
        return field

    def _kind_of(self, name: bytes) -> int:
        kind = self._kinds.get(name)
        if kind is not None:
            return kind
        plain = _plain(name)
        if plain in self._kept:
            return _OTHER
        if plain.startswith(self._told):
            return FORWARDING if name == plain else DROP
        # WSGI and CGI take `X_Forwarded_For` or `X.Forwarded.For` for the real one; nobody who is trusted
        # writes it so.
        return DROP if plain in self._look_alike else _OTHER


def _plain(name: bytes) -> bytes:
    """What CGI and its like make of `name`: most keep `-` and `_` apart no longer, some no other sign."""
    return name.translate(_SIGNS)
