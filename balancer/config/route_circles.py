"""Redirects that lead back to their own route, or by way of others (L1): clients follow them for ever.

A sample request of each redirect is followed, as long as it is certain which route takes it: one without
conditions, on a host of the request's own or one that routes name, at the usual port.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from balancer.config.route_paths import matched_form
from balancer.config.route_rules import Place, Rule, places_with

_MOST_STEPS = 20  # as browsers follow
_URL = re.compile(r"(https?|\$scheme)://((?:(?!\$uri|\$path)[^/?#])*)")
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_OF_REQUEST = re.compile(r"\$(?:uri|path)")


class _Asked(NamedTuple):
    """A request. `host` may be a pattern, for a host that only this pattern has; `path` is as routes compare
    it."""

    scheme: str
    host: str
    path: bytes


class Circle(NamedTuple):
    """Routes that redirect from one to the next, and the last one to the first. `by_tls`: one of them leads
    to https, so to a proxy in front."""

    rules: tuple[Rule, ...]
    by_tls: bool

    def __str__(self) -> str:
        first, *others = self.rules
        if not others:
            to = first.route.redirect.to if first.route.redirect is not None else ""
            comes = " once a proxy in front forwards it" if self.by_tls else ""
            return (
                f"{first} redirects to {to}, which it takes itself{comes}, in circles; write another place, "
                "or put a route for it above"
            )
        way = ", ".join(
            f"{rule.route.name} to {rule.route.redirect.to}" for rule in self.rules if rule.route.redirect
        )
        return f"{first} redirects in circles: {way}; let one of them lead elsewhere"


class _Map:
    """Which route takes a request."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._at: dict[Place, list[Rule]] = {}
        for rule in rules:
            for place in rule.places:
                self._at.setdefault(place, []).append(rule)
        self.hosts = {host for host, _, _ in self._at if host}

    def taker(self, asked: _Asked) -> Rule | None:
        """The route that takes a request for certain."""
        places = places_with((asked.host, False, asked.path))
        found = [one for place in places if (one := self._first(place, asked.scheme)) is not None]
        first = min(found, key=lambda rule: rule.number, default=None)
        return None if first is None or first.has_conditions else first

    def _first(self, place: Place, scheme: str) -> Rule | None:
        is_tls = scheme == "https"
        return next((one for one in self._at.get(place, ()) if not (is_tls and one.without_tls)), None)


def circles(rules: Sequence[Rule]) -> Iterator[Circle]:
    """Each circle once. `rules` are all routes, in their order."""
    known = _Map(rules)
    reported: set[frozenset[int]] = set()
    for rule in rules:
        if rule.route.redirect is None:
            continue
        for host, _, path in rule.places:
            circle = _followed(rule, _Asked("http", host, path or b"/"), known)
            if (
                circle is not None
                and (names := frozenset(one.number for one in circle.rules)) not in reported
            ):
                reported.add(names)
                yield circle


def _followed(rule: Rule, asked: _Asked, known: _Map) -> Circle | None:
    """The circle that a request to a redirect comes into."""
    if known.taker(asked) is not rule:
        return None
    way = [rule]
    by_tls = False
    for _ in range(_MOST_STEPS):
        to = _target(way[-1], asked, known)
        taker = None if to is None else known.taker(to)
        if to is None or taker is None or taker.route.redirect is None:
            return None
        asked = to
        by_tls = by_tls or to.scheme == "https"
        way.append(taker)
    last = len(way) - 1
    begin = max((at for at in range(last) if way[at] is way[last]), default=last)
    found = way[begin:last]
    if not found:
        return None
    first = min(range(len(found)), key=lambda at: found[at].number)
    return Circle((*found[first:], *found[:first]), by_tls)


def _target(rule: Rule, asked: _Asked, known: _Map) -> _Asked | None:
    """Where a redirect leads; None if it is not certain that it leads here."""
    assert rule.route.redirect is not None
    location = rule.route.redirect.location
    scheme, host = asked.scheme, asked.host
    if (url := _URL.match(location)) is not None:
        scheme = scheme if url[1] == "$scheme" else url[1]
        name = url[2].lower().removesuffix(_DEFAULT_PORTS[scheme]).rstrip(".")
        location = location[url.end() :]
        if ":" in name.rpartition("]")[2]:
            return None
        if name != "$host":
            # Other names may belong to other servers, unless routes name them.
            host = name.replace("$host", host)
            if host not in known.hosts:
                return None
    parts = _OF_REQUEST.split(re.split("[?#]", location, maxsplit=1)[0])
    if any("$" in part for part in parts):
        return None
    form = asked.path.join(map(matched_form, parts))
    return _Asked(scheme, host, re.sub(rb"^/+|^$", b"/", form))
