"""What a route changes in the heads of its requests and responses.

A request is changed after it has been rendered, so that what is remembered of its head is the same for all
routes. Values may have variables, such as `$client_ip`; what they stand for never has CR, LF or NUL.
"""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple, TypeAlias

from balancer.errors import MALFORMED_REQUEST, ProtocolError
from balancer.http.cookies import is_cookie_line, take_cookie
from balancer.http.forwarding import Peer
from balancer.http.named_values import header_of
from balancer.http.normal_path import encoded, matched_form
from balancer.http.request_head import RequestHead
from balancer.http.response_head import ResponseHead

_VARIABLE: Final = re.compile(r"\$(?:\$|([a-z_]+))")
_DOLLAR: Final = re.compile(r"\$(\$|[A-Za-z0-9_]*)")
VARIABLES: Final = ("client_ip", "host", "path", "request_id", "scheme", "uri")
_ENDS_A_LINE: Final = re.compile(rb"[\r\n\0]")
_LEADING_SLASHES: Final = re.compile(rb"[/\\]+")
_PREFIX: Final = b"X-Forwarded-Prefix"

Fields: TypeAlias = Sequence[tuple[str, str]]


class Facts(NamedTuple):
    """The request that variables are about; `scheme` is that of its connection."""

    head: RequestHead
    peer: Peer
    request_id: bytes
    scheme: bytes


def unknown_variable(text: str) -> str | None:
    """A name after a `$` that is not a variable, "" for none at all; None if all are known."""
    for found in _DOLLAR.finditer(text):
        name: str = found[1]
        if name != "$" and name not in VARIABLES:
            return name
    return None


class Text:
    """A text with variables; `$$` is a dollar sign."""

    __slots__ = ("_parts",)

    def __init__(self, text: str) -> None:
        # Variables and what stands between them.
        self._parts: list[bytes | str] = []
        at = 0
        for found in _VARIABLE.finditer(text):
            self._parts.append(text[at : found.start()].encode())
            self._parts.append(b"$" if found[1] is None else str(found[1]))
            at = found.end()
        self._parts.append(text[at:].encode())

    def of(self, facts: Facts) -> bytes:
        """With the values for a request. Raises ProtocolError if it would end a line."""
        text = b"".join([one if isinstance(one, bytes) else _value(one, facts) for one in self._parts])
        if _ENDS_A_LINE.search(text) is not None:
            raise ProtocolError(MALFORMED_REQUEST, "a part of the request would end a header line")
        return text


class Place(Text):
    """The value of a Location. It never leads to a host that the request's target names."""

    __slots__ = ()

    def of(self, facts: Facts) -> bytes:
        """As that of all texts. Raises ProtocolError also for a request without Host, if that is needed."""
        if "host" in self._parts and not facts.head.host:
            raise ProtocolError(MALFORMED_REQUEST, "no Host, which the redirect repeats")
        return _rooted(super().of(facts))


def value_of(name: str, text: str) -> Text:
    """The value of a field."""
    return Place(text) if name.lower() == "location" else Text(text)


def _value(name: str, facts: Facts) -> bytes:
    head = facts.head
    if name == "client_ip":
        return facts.peer.client_address(head).encode()
    if name == "host":
        return plain_authority(head.host)
    if name == "request_id":
        return facts.request_id
    if name == "scheme":
        # A trusted proxy in front knows better what the client speaks.
        return header_of(head, facts.peer, b"x-forwarded-proto") or facts.scheme
    uri = b"/" if head.target == b"*" else _rooted(head.target)
    return uri.partition(b"?")[0] if name == "path" else uri


def plain_authority(host: bytes) -> bytes:
    """A Host value without its port."""
    return host[: host.find(b"]") + 1] if host.startswith(b"[") else host.partition(b":")[0]


def _rooted(target: bytes) -> bytes:
    """A path that cannot be taken for a host: browsers read `//host` and `/\\host` as one."""
    return _LEADING_SLASHES.sub(b"/", target, count=1) if target.startswith(b"/") else target


class FieldEdit:
    """Field lines to remove, and lines to append. A field that is set replaces all of its name. Names that
    differ in - and _ only are one for many apps (RFC 3875 section 4.1.18), so they are here."""

    __slots__ = ("_appended", "_dropped")

    def __init__(self, set_: Fields, add: Fields, remove: Sequence[str]) -> None:
        names = (*remove, *(name for name, _ in set_))
        self._dropped = frozenset([name.lower().replace("_", "-").encode() for name in names])
        self._appended = [(name.encode(), value_of(name, value)) for name, value in (*set_, *add)]

    def apply(self, lines: Sequence[bytes], facts: Facts) -> list[bytes]:
        """The lines after the change."""
        dropped = self._dropped
        kept = list(lines)
        if dropped:
            kept = [line for line in lines if name_of(line).replace(b"_", b"-") not in dropped]
        for name, value in self._appended:
            kept.append(b"%b: %b" % (name, value.of(facts)))
        return kept


def name_of(line: bytes) -> bytes:
    """The name of a field line, in lower case."""
    return line[: line.find(b":")].lower()


class RequestEdit:
    """`prefixes` are stripped from the path, the first that it has, and replaced by `instead`; the app is
    told by X-Forwarded-Prefix. `host` replaces Host. The app does not get our own `cookie`. `strips`: it
    changes paths, which must be in normal form for it."""

    __slots__ = ("_changes", "_cookie", "_fields", "_host", "_instead", "_prefixes", "_search", "strips")

    def __init__(
        self,
        prefixes: Sequence[bytes] = (),
        instead: bytes = b"",
        host: str = "",
        fields: FieldEdit | None = None,
        cookie: bytes = b"",
    ) -> None:
        # The more specific ones first; as routes compare them, and as the app is told of them.
        forms = sorted([matched_form(prefix).rstrip(b"/") for prefix in prefixes], key=len, reverse=True)
        self._prefixes = [(form, encoded(form)) for form in forms]
        self.strips = bool(prefixes)
        self._instead = instead.rstrip(b"/")
        self._host = Text(host) if host else None
        self._fields = fields
        self._cookie = cookie
        self._search = cookie + b"="
        self._changes = self.strips or bool(host) or fields is not None  # more than the cookie

    def apply(self, data: bytes, facts: Facts) -> bytes:
        """`data`, a rendered request head with its empty line, after the change. Raises ProtocolError."""
        has_cookie = self._cookie != b"" and data.find(self._search) >= 0
        if not (has_cookie or self._changes):
            return data
        lines = data[:-4].split(b"\r\n")
        start = lines.pop(0)
        if has_cookie:
            lines = [kept for line in lines if (kept := self._without_cookie(line))]
        if self._prefixes:
            method, _, rest = start.partition(b" ")
            target, _, version = rest.rpartition(b" ")
            path, mark, query = target.partition(b"?")
            for prefix, told in self._prefixes:
                left = _without(path, prefix)
                if left is not None:
                    start = b"%b %b%b%b %b" % (method, self._instead + left, mark, query, version)
                    if told:
                        _tell(lines, told)
                    break
        if self._host is not None:
            line = b"Host: " + self._host.of(facts)
            lines = [line if name_of(one) == b"host" else one for one in lines]
        if self._fields is not None:
            lines = self._fields.apply(lines, facts)
        return b"\r\n".join([start, *lines, b"", b""])

    def _without_cookie(self, line: bytes) -> bytes:
        return take_cookie(line, self._cookie)[1] if is_cookie_line(line) else line


def _without(path: bytes, prefix: bytes) -> bytes | None:
    """What is left of a path without the segments of `prefix`, with one slash in front; None if it has none
    of them. Empty segments are skipped, as in matching."""
    if not path.startswith(b"/"):  # OPTIONS *
        return None
    wanted = prefix.split(b"/")[1:]  # in the form that routes compare
    segments = path.split(b"/")[1:]
    at = 0
    for segment in wanted:
        while at < len(segments) - 1 and not segments[at]:
            at += 1
        if at >= len(segments) or matched_form(segments[at]) != segment:
            return None
        at += 1
    while at < len(segments) - 1 and not segments[at]:
        at += 1
    return b"/" + b"/".join(segments[at:])


def _tell(lines: list[bytes], prefix: bytes) -> None:
    """A trusted proxy may have stripped a prefix before: the app's own links need both."""
    for at, line in enumerate(lines):
        if name_of(line) == _PREFIX.lower():
            lines[at] = b"%b: %b%b" % (_PREFIX, line[len(_PREFIX) + 1 :].strip(b" \t").rstrip(b"/"), prefix)
            return
    lines.append(b"%b: %b" % (_PREFIX, prefix))


class ResponseEdit:
    """The changes of the final response's fields."""

    __slots__ = ("_fields",)

    def __init__(self, fields: FieldEdit) -> None:
        self._fields = fields

    def apply(self, head: ResponseHead, facts: Facts) -> ResponseHead:
        """`head` after the change."""
        return head.with_lines(self._fields.apply(head.field_lines(), facts))


class Edits:
    """Those of one route."""

    __slots__ = ("request", "response")

    def __init__(self, request: RequestEdit | None, response: ResponseEdit | None) -> None:
        self.request = request
        self.response = response
