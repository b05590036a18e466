"""Header lines, each looked at once: what a line means to a proxy is a pure function of its bytes.

Most lines of most heads have been seen before (`Accept: */*`, `Connection: keep-alive`, the Date of this
second), so meanings are remembered by line. A line is remembered only after httptools has passed a head
with it; a head of remembered lines needs no second syntax check. What a line means for its message, beside
the other lines, is decided in `head` for every message.
"""

from balancer.http.headers import list_members
from balancer.http.target import check_host
from balancer.http.via import balancers_in

# What a field is to a proxy.
HOST, CONNECTION, LENGTH, CODING, EXPECT, UPGRADE, TE, DROP, FORWARDING, DATE, VIA = range(11)

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
    b"forwarded": FORWARDING,
    b"x-forwarded-for": FORWARDING,
    b"x-forwarded-proto": FORWARDING,
    b"x-forwarded-host": FORWARDING,
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

_REMEMBERED_LINES = 4096
_REMEMBERED_BYTES = 256  # longer lines are mostly cookies and tokens, one client's own


class Field:
    """A field that concerns a proxy.

    `line` is the whole line, `name` in lower case, `value` without surrounding white space; `members` are
    the value's list members in lower case, for fields that are token lists; of Via the balancers in it.
    """

    __slots__ = ("kind", "line", "members", "name", "value")

    def __init__(self, kind: int, line: bytes) -> None:
        name, _, value = line.partition(b":")
        self.kind = kind
        self.line = line
        self.name = name.lower()
        self.value = value.strip(b" \t")
        self.members = balancers_in(value) if kind == VIA else list_members(value)


NEW = Field(DROP, b":")  # stands for a line not met before


class FieldTable:
    """Field lines of requests or of responses -> what they mean: a `Field`, None for "forward as it is".

    `seen` is read directly by `head`, one lookup per line; a line that is not in there goes through `learn`
    once httptools has passed the head with it.
    """

    __slots__ = ("_kinds", "seen")

    def __init__(self, kinds: dict[bytes, int]) -> None:
        self._kinds = kinds
        self.seen: dict[bytes, Field | None] = {}

    def learn(self, line: bytes, remembered: bool = True) -> Field | None:
        """What `line` means, `remembered` from now on. Raises ProtocolError for a Host that is none."""
        if len(self.seen) >= _REMEMBERED_LINES:
            self.seen.clear()  # rare enough that nothing finer is worth it: the common lines are back at once
        field = self._understand(line)
        if remembered and len(line) <= _REMEMBERED_BYTES:
            self.seen[line] = field
        return field

    def _understand(self, line: bytes) -> Field | None:
        name = line[: line.index(b":")].lower()
        kind = self._kinds.get(name)
        if kind is None:
            if b"_" not in name or self._kinds.get(name.replace(b"_", b"-")) != FORWARDING:
                return None
            kind = DROP  # WSGI and CGI take `X_Forwarded_For` for the real one
        field = Field(kind, line)
        if kind == HOST:
            check_host(field.value)
        elif kind == VIA and not field.members:
            return None  # other proxies' lines cost nothing
        return field
