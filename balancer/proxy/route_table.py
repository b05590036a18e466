"""Finds the first route whose host and path a request has, by look-ups, however many routes there are.

The rules are kept by host, and for each host by path: of a request for `/a/b/c` the paths `/`, `/a`, `/a/b`
and `/a/b/c` are looked up. Of all that is found, the first in the order of the settings wins.
"""

from typing import Final

from balancer.errors import MALFORMED_REQUEST, ProtocolError
from balancer.http.forwarding import Peer
from balancer.http.normal_path import USUAL_BYTES, matched_form, normal_path, other_readings
from balancer.http.request_head import RequestHead
from balancer.proxy.conditions import Conditions, conditions
from balancer.spec.worker import MatchSpec

_KNOWN_HOSTS: Final = 1024  # values of Host for which the tables are remembered
_KNOWN_BYTES: Final = 64
NONE: Final = -1


class _Rule:
    """One pair of host and path of a route, whose position is `number`."""

    __slots__ = ("conditions", "number")

    def __init__(self, number: int, conditions: Conditions | None) -> None:
        self.number = number
        self.conditions = conditions


class _Paths:
    """The rules for one host, or for one domain's subdomains, or for all hosts. `everywhere` are those for
    every path; the others are looked up only if the first segment is one of `starts`."""

    __slots__ = ("_depth", "_exact", "_prefixes", "everywhere", "starts")

    def __init__(self) -> None:
        self.everywhere: list[_Rule] = []
        self._exact: dict[bytes, list[_Rule]] = {}
        self._prefixes: dict[bytes, list[_Rule]] = {}
        self.starts: set[bytes] = set()
        self._depth = 0  # segments of the longest prefix

    def add(self, rule: _Rule, path: bytes, prefix: bytes | None) -> None:
        """Rules are added in their order. Without a prefix, the path must be the same."""
        if prefix is None:
            self._exact.setdefault(path, []).append(rule)
            self.starts.add(_start(path))
            return
        prefix = prefix.rstrip(b"/")
        if not prefix:
            self.everywhere.append(rule)
            return
        self._prefixes.setdefault(prefix, []).append(rule)
        self.starts.add(_start(prefix))
        self._depth = max(self._depth, prefix.count(b"/"))

    def first(self, path: bytes, head: RequestHead, peer: Peer, before: int) -> int:
        """The first rule's number, if it is less than `before`, else `before`."""
        end = path.find(b"/", 1)
        before = _first(self.everywhere, head, peer, before)
        if (path if end < 0 else path[:end]) not in self.starts:
            return before
        before = _first(self._exact.get(path), head, peer, before)
        prefixes = self._prefixes
        for _ in range(self._depth):
            if end < 0:
                return _first(prefixes.get(path), head, peer, before)
            before = _first(prefixes.get(path[:end]), head, peer, before)
            end = path.find(b"/", end + 1)
        return before


def _start(path: bytes) -> bytes:
    """The first segment, with its slash."""
    end = path.find(b"/", 1)
    return path if end < 0 else path[:end]


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
        self._known: dict[bytes, list[_Paths]] = {}
        for number, match in enumerate(routes):
            rule = _Rule(number, conditions(match))
            for paths in self._of_hosts(match.hosts):
                if match.path:
                    paths.add(rule, matched_form(match.path.encode()), None)
                for prefix in match.path_prefixes:
                    paths.add(rule, b"", matched_form(prefix.encode()))
                if not match.path and not match.path_prefixes:
                    paths.add(rule, b"", b"/")

    def number_of(self, head: RequestHead, peer: Peer) -> int:
        """The number of the first route that matches a request from `peer`, NONE if none does. The target is
        in normal form then, if it `has_paths`. Raises ProtocolError for a path that apps could take
        for another route's."""
        target = head.target
        # By `find`: to see whether `in` is about a number, CPython raises and drops a TypeError each time.
        end = target.find(b"?")
        path = target if end < 0 else target[:end]
        # `is_usual`, inlined.
        is_odd = path.find(b"//") >= 0 or path.find(b"/.") >= 0 or path.translate(USUAL_BYTES) != path
        if not (is_odd and self.has_paths):
            tables = self._known.get(head.host) or self._tables(head.host)
            found = self._size
            end = path.find(b"/", 1)
            start = path if end < 0 else path[:end]
            for paths in tables:
                # `first`, inlined for the usual case: no rule but the ones for all paths comes into question.
                if start in paths.starts:
                    found = paths.first(path, head, peer, found)
                elif paths.everywhere:
                    rule = paths.everywhere[0]
                    if rule.conditions is not None:
                        found = _first(paths.everywhere, head, peer, found)
                    elif rule.number < found:
                        found = rule.number
            return found if found < self._size else NONE
        query = target[len(path) :]
        normal = normal_path(path)
        head.target = normal + query
        number = self.find(matched_form(normal), head, peer)
        for reading in other_readings(normal):
            if self.find(reading, head, peer) != number:
                why = "the path has an encoded slash or a parameter that could hide its route"
                raise ProtocolError(MALFORMED_REQUEST, why)
        return number

    def find(self, path: bytes, head: RequestHead, peer: Peer) -> int:
        """The number of the first route that matches a request with this path, in the form that is compared;
        NONE if none does."""
        found = size = self._size
        for paths in self._known.get(head.host) or self._tables(head.host):
            found = paths.first(path, head, peer, found)
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

    def _tables(self, value: bytes) -> list[_Paths]:
        tables = self._tables_of(plain_host(value))
        if len(value) <= _KNOWN_BYTES:
            if len(self._known) >= _KNOWN_HOSTS:
                self._known.clear()
            self._known[value] = tables
        return tables

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
