"""Routes as they are compared with each other (L1): where each applies, and what else it asks for."""

from collections.abc import Iterator
from typing import TypeAlias

from balancer.config.route_conditions import ANY_VALUE
from balancer.config.route_match import MatchSettings
from balancer.config.route_paths import matched_form
from balancer.config.routes import RouteSettings

# A host, whether the path is a prefix, and the path as routes compare it.
Place: TypeAlias = tuple[str, bool, bytes]
# A kind of value, its name, and the value.
Wanted: TypeAlias = tuple[str, str, str]


class Rule:
    """A route with its conditions as they are compared; `number` is its position, from 1."""

    def __init__(self, number: int, route: RouteSettings) -> None:
        match = route.match
        self.number = number
        self.route = route
        self.places = list(dict.fromkeys(_places(match)))
        self.without_tls = route.without_tls
        self.has_conditions = match.has_conditions
        self._methods = frozenset(match.methods)
        headers = {name.lower(): value for name, value in match.headers.items()}
        named = (("header", headers), ("query", match.query), ("cookie", match.cookies))
        self.wanted: frozenset[Wanted] = frozenset(
            (kind, name, value) for kind, values in named for name, value in values.items()
        )
        # What meets its conditions meets these too.
        self.implied = self.wanted | {(kind, name, ANY_VALUE) for kind, name, _ in self.wanted}

    def __str__(self) -> str:
        return f"route {self.number} ({self.route.name})"

    def takes(self, other: "Rule") -> bool:
        """Whether what meets the conditions of another one, host and path apart, meets its own."""
        if self._methods and not (other._methods and other._methods <= self._methods):
            return False
        if self.without_tls and not other.without_tls:
            return False
        return self.wanted <= other.implied


def _places(match: MatchSettings) -> Iterator[Place]:
    for host in match.host or ("",):
        if match.path:
            yield host, False, matched_form(match.path)
        for prefix in match.path_prefix or (() if match.path else ("/",)):
            yield host, True, matched_form(prefix).rstrip(b"/")


def places_with(place: Place) -> Iterator[Place]:
    """The places that include all of this one, itself among them."""
    host, _, path = place
    parts = path.rstrip(b"/").split(b"/")
    above = [place[1:], *((True, b"/".join(parts[: at + 1])) for at in range(len(parts)))]
    for each in _hosts_with(host):
        for is_prefix, form in above:
            yield each, is_prefix, form


def _hosts_with(host: str) -> list[str]:
    """The host patterns that include all of this one."""
    patterns = [host, ""] if host else [""]
    labels = host.removeprefix("*.").split(".")
    first = 0 if host.startswith("*.") else 1
    return list(
        dict.fromkeys([*patterns, *(f"*.{'.'.join(labels[at:])}" for at in range(first, len(labels)))])
    )
