"""Whether routes lead to pools, and can match at all (L1)."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

from balancer.config.route_conditions import ANY_VALUE
from balancer.config.route_match import MatchSettings
from balancer.config.route_paths import matched_form
from balancer.config.route_text import RouteError
from balancer.config.routes import RouteSettings

# A host, whether the path is a prefix, and the path as routes compare it.
_Place: TypeAlias = tuple[str, bool, bytes]


class _Rule:
    """A route with its conditions as they are compared."""

    def __init__(self, route: RouteSettings) -> None:
        match = route.match
        self.route = route
        self.places = list(dict.fromkeys(_places(match)))
        self.has_conditions = match.has_conditions or route.without_tls
        self._methods = frozenset(match.methods)
        self._without_tls = route.without_tls
        headers = {name.lower(): value for name, value in match.headers.items()}
        named = (("header", headers), ("query", match.query), ("cookie", match.cookies))
        self._wanted = frozenset(
            (kind, name, value) for kind, values in named for name, value in values.items()
        )
        # What meets its conditions meets these too.
        self._implied = self._wanted | {(kind, name, ANY_VALUE) for kind, name, _ in self._wanted}

    def takes(self, other: "_Rule") -> bool:
        """Whether what meets the conditions of another one, host and path apart, meets its own."""
        if self._methods and not (other._methods and other._methods <= self._methods):
            return False
        if self._without_tls and not other._without_tls:
            return False
        return self._wanted <= other._implied

    def is_at(self, path: bytes) -> bool:
        """Whether it may match this path, on some host."""
        return any(
            path == form or (is_prefix and path.startswith(form + b"/")) for _, is_prefix, form in self.places
        )


def refuse_misfits(routes: tuple[RouteSettings, ...], pools: Iterable[str]) -> None:
    """Raise RouteError for a route to a pool that does not exist, and for one that can never match."""
    known = list(pools)
    seen: dict[_Place, list[_Rule]] = {}
    rules: list[_Rule] = []
    for number, route in enumerate(routes, 1):
        place = f"route {number} ({route.name})"
        for pool in route.pools:
            if pool not in known:
                there = f"the pools are {', '.join(known)}" if known else "there is no pool"
                raise RouteError(f"{place} names the pool {pool}, which does not exist; {there}")
        rule = _Rule(route)
        takers = [_taker(rule, one, seen) for one in rule.places]
        first = takers[-1]
        if first is not None and all(takers):
            why = f"{place} never matches: {first.route.name}, above it,"
            if set(rule.places) == set(first.places) and rule.takes(first):
                raise RouteError(f"{why} matches the same requests; remove one of them")
            raise RouteError(f"{why} takes all of its requests; put it first")
        if _leads_back(rule, rules):
            assert route.redirect is not None
            raise RouteError(
                f"{place} redirects to {route.redirect.to}, which it takes itself, in circles; write another "
                "place, or put a route for it above"
            )
        for one in rule.places:
            seen.setdefault(one, []).append(rule)
        rules.append(rule)


def _leads_back(rule: _Rule, above: Sequence[_Rule]) -> bool:
    """Whether a redirect leads to a path on the same host that this route takes again."""
    redirect = rule.route.redirect
    if redirect is None or rule.has_conditions:
        return False
    if redirect.to in ("$uri", "$path"):
        return True
    path = re.split("[?#]", redirect.to, maxsplit=1)[0]
    if not path.startswith("/") or "$" in path:
        return False
    form = matched_form(path)
    return rule.is_at(form) and not any(one.is_at(form) for one in above)


def _places(match: MatchSettings) -> Iterator[_Place]:
    for host in match.host or ("",):
        if match.path:
            yield host, False, matched_form(match.path)
        for prefix in match.path_prefix or (() if match.path else ("/",)):
            yield host, True, matched_form(prefix).rstrip(b"/")


def _taker(rule: _Rule, place: _Place, seen: Mapping[_Place, list[_Rule]]) -> _Rule | None:
    """A route above that takes every request that a rule takes at a place."""
    host, _, path = place
    parts = path.rstrip(b"/").split(b"/")
    above = [place[1:], *((True, b"/".join(parts[: at + 1])) for at in range(len(parts)))]
    for each in _hosts_above(host):
        for where in above:
            for one in seen.get((each, *where), ()):
                if one.takes(rule):
                    return one
    return None


def _hosts_above(host: str) -> list[str]:
    """The host patterns that include all of this one."""
    patterns = [host, ""] if host else [""]
    labels = host.removeprefix("*.").split(".")
    first = 0 if host.startswith("*.") else 1
    return [*patterns, *(f"*.{'.'.join(labels[at:])}" for at in range(first, len(labels)))]
