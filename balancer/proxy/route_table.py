"""Finds the first route whose host and path a request has, by look-ups, however many routes there are.

The rules are kept by host, and for each host by path: of a request for `/a/b/c` the paths `/`, `/a`, `/a/b`
and `/a/b/c` are looked up. Of all that is found, the first in the order of the settings wins.
"""

from typing import Final

from balancer.errors import MALFORMED_REQUEST, ProtocolError
from balancer.http.forwarding import Peer
from balancer.http.normal_path import matched_form, normal_path, other_readings, usual_path
from balancer.http.request_head import RequestHead
from balancer.proxy.conditions import Conditions, conditions
from balancer.spec.worker import MatchSpec

_KNOWN_HOSTS: Final = 1024  # values of Host that are remembered
_KNOWN_BYTES: Final = 64
NONE: Final = -1
_UNDECIDED: Final = -2  # less than all others
_NEVER: Final = 1 << 30  # more than any route's
_NEW: Final = -3


class _Rule:
    """One pair of host and path of a route, whose position is `number`."""

    __slots__ = ("conditions", "number")

    def __init__(self, number: int, conditions: Conditions | None) -> None:
        self.number = number
        self.conditions = conditions


class _Start:
    """The rules for paths that begin with the same segment. `rules` are for this segment and all below it."""

    __slots__ = ("_depth", "_exact", "_prefixes", "rules")

    def __init__(self) -> None:
        self.rules: list[_Rule] = []
        self._exact: dict[bytes, list[_Rule]] = {}
        self._prefixes: dict[bytes, list[_Rule]] = {}  # of more than one segment
        self._depth = 1  # segments of the longest prefix

    def add(self, rule: _Rule, path: bytes, is_prefix: bool) -> None:
        """As `_Paths.add`."""
        if not is_prefix:
            self._exact.setdefault(path, []).append(rule)
        elif (depth := path.count(b"/")) == 1:
            self.rules.append(rule)
        else:
            self._prefixes.setdefault(path, []).append(rule)
            self._depth = max(self._depth, depth)

    def decided(self) -> int:
        """As `_decided`, of the paths that begin with this segment."""
        return _UNDECIDED if self._exact or self._depth > 1 else _decided(self.rules)

    def first(self, path: bytes, end: int, head: RequestHead, peer: Peer, before: int) -> int:
        """The first rule's number, if it is less than `before`, else `before`. `end` is where the first
        segment of `path` ends."""
        before = _first(self.rules, head, peer, before)
        if self._exact:
            before = _first(self._exact.get(path), head, peer, before)
        for _ in range(self._depth - 1):
            end = path.find(b"/", end + 1)
            if end < 0:
                return _first(self._prefixes.get(path), head, peer, before)
            before = _first(self._prefixes.get(path[:end]), head, peer, before)
        return before


class _Paths:
    """The rules for one host, or for one domain's subdomains, or for all hosts. `everywhere` are those for
    every path, `starts` the others, by the first segment."""

    __slots__ = ("everywhere", "starts")

    def __init__(self) -> None:
        self.everywhere: list[_Rule] = []
        self.starts: dict[bytes, _Start] = {}

    def add(self, rule: _Rule, path: bytes, is_prefix: bool) -> None:
        """Rules are added in their order, for paths below `path`, or the same as it."""
        if is_prefix:
            path = path.rstrip(b"/")
            if not path:
                self.everywhere.append(rule)
                return
        self.starts.setdefault(_start(path), _Start()).add(rule, path, is_prefix)


def _start(path: bytes) -> bytes:
    """The first segment."""
    return path[1:].partition(b"/")[0]


class _Host:
    """The rules for a value of Host are in `tables`. `numbers` has what is known of first segments: the
    number of the route that takes all paths which begin so, NONE, or _UNDECIDED."""

    __slots__ = ("_default", "numbers", "tables")

    def __init__(self, tables: list[_Paths]) -> None:
        self.tables = tables
        self.numbers: dict[bytes, int] = {}
        self._default = self._least([])

    def number_of(self, start: bytes) -> int:
        """What is not yet among `numbers`. Segments that no rule names never are: clients choose them."""
        starts = [found for paths in self.tables if (found := paths.starts.get(start)) is not None]
        if not starts:
            return self._default
        number = self.numbers[start] = self._least([found.decided() for found in starts])
        return number

    def _least(self, numbers: list[int]) -> int:
        numbers += [_decided(paths.everywhere) for paths in self.tables]
        least = min(numbers)
        return NONE if least == _NEVER else least


def _decided(rules: list[_Rule]) -> int:
    """The first rule's number, if it needs no look at the request."""
    if not rules:
        return _NEVER
    return rules[0].number if rules[0].conditions is None else _UNDECIDED


def _first(rules: list[_Rule] | None, head: RequestHead, peer: Peer, before: int) -> int:
    if rules is not None:
        for rule in rules:
            if rule.number >= before:
                break
            if rule.conditions is None or rule.conditions.are_met(head, peer):
                return rule.number
    return before


class RouteTable:
    """`has_paths`: targets are brought into normal form, because some route looks at paths, or
    `changes_paths`."""

    __slots__ = ("_domains", "_everywhere", "_hosts", "_known", "_size", "has_paths")

    def __init__(self, routes: list[MatchSpec], changes_paths: bool = False) -> None:
        """`routes` in their order."""
        self.has_paths = changes_paths or any(
            match.path or any(prefix != "/" for prefix in match.path_prefixes) for match in routes
        )
        self._size = len(routes)
        self._hosts: dict[bytes, _Paths] = {}
        self._domains: dict[bytes, _Paths] = {}  # of hosts such as *.example.com
        self._everywhere = _Paths()
        self._known: dict[bytes, _Host] = {}
        for number, match in enumerate(routes):
            rule = _Rule(number, conditions(match))
            for paths in self._of_hosts(match.hosts):
                if match.path:
                    paths.add(rule, matched_form(match.path.encode()), False)
                for prefix in match.path_prefixes or (() if match.path else ("/",)):
                    paths.add(rule, matched_form(prefix.encode()), True)

    def number_of(self, head: RequestHead, peer: Peer) -> int:
        """The number of the first route that matches a request from `peer`, NONE if none does. The target is
        in normal form then, if it `has_paths`. Raises ProtocolError for a path that apps could take
        for another route's."""
        target = head.target
        path = usual_path(target)
        if path:
            return self.find(path, head, peer)
        path = target.partition(b"?")[0]
        if not self.has_paths:
            return self.find(path, head, peer)
        normal = normal_path(path)
        if normal != path:
            head.target = normal + target[len(path) :]
        number = self.find(matched_form(normal), head, peer)
        for reading in other_readings(normal):
            if self.find(reading, head, peer) != number:
                why = "the path has an encoded slash or a parameter that could hide its route"
                raise ProtocolError(MALFORMED_REQUEST, why)
        return number

    def find(self, path: bytes, head: RequestHead, peer: Peer) -> int:
        """The number of the first route that matches a request with this path, in the form that is compared;
        NONE if none does."""
        host = self._known.get(head.host) or self._host(head.host)
        start = path[1:].partition(b"/")[0]
        number = host.numbers.get(start, _NEW)
        if number == _NEW:
            number = host.number_of(start)
        if number != _UNDECIDED:
            return number
        found = size = self._size
        for paths in host.tables:
            if (rules := paths.starts.get(start)) is not None:
                found = rules.first(path, len(start) + 1, head, peer, found)
            found = _first(paths.everywhere, head, peer, found)
        return found if found < size else NONE

    def _of_hosts(self, hosts: tuple[str, ...]) -> list[_Paths]:
        if not hosts:
            return [self._everywhere]
        tables = []
        for name in hosts:
            host = plain_host(name.encode())
            if host.startswith(b"*."):
                tables.append(self._domains.setdefault(host[2:], _Paths()))
            else:
                tables.append(self._hosts.setdefault(host, _Paths()))
        return tables

    def _host(self, value: bytes) -> _Host:
        # WHATWG's URL decodes it; no name in use has one.
        if b"%" in value and (self._hosts or self._domains):
            raise ProtocolError(MALFORMED_REQUEST, "Host has an encoded character that could hide its route")
        host = _Host(self._tables_of(plain_host(value)))
        if len(value) <= _KNOWN_BYTES:
            if len(self._known) >= _KNOWN_HOSTS:
                self._known.clear()
            self._known[value] = host
        return host

    def _tables_of(self, host: bytes) -> list[_Paths]:
        tables = [self._everywhere]
        if (own := self._hosts.get(host)) is not None:
            tables.append(own)
        at = host.find(b".")
        while at >= 0 and self._domains:
            if (domain := self._domains.get(host[at + 1 :])) is not None:
                tables.append(domain)
            at = host.find(b".", at + 1)
        return tables


def plain_host(value: bytes) -> bytes:
    """A Host value as hosts are compared: in lower case, without port and trailing dot."""
    host = value.lower()
    if host.startswith(b"["):
        return host[: host.find(b"]") + 1]
    return host.partition(b":")[0].rstrip(b".")
