"""Why a request took its route: the conditions of that route, and what those before it ask that it lacks.

For explanations. Each condition has a table of its own, so that it is read as it is when routes are matched.
"""

from typing import Final

from balancer.errors import ProtocolError
from balancer.http.forwarding import Peer
from balancer.http.normal_path import matched_form, normal_path
from balancer.http.request_head import RequestHead
from balancer.proxy.conditions import ANY_VALUE
from balancer.proxy.masking import HIDDEN, masked_value
from balancer.proxy.route_table import NONE, RouteTable
from balancer.proxy.router import Route, Router
from balancer.spec.explained import EarlierRoute, RouteTaken
from balancer.spec.worker import MatchSpec

MOST_EARLIER: Final = 16  # routes that are listed
EVERY_REQUEST: Final = "every request"


class _Condition:
    """One condition of a route, in words."""

    __slots__ = ("_table", "words")

    def __init__(self, words: str, match: MatchSpec) -> None:
        self.words = words
        self._table = RouteTable([match])

    def is_met(self, path: bytes, head: RequestHead, peer: Peer) -> bool:
        """Whether a request with this path meets it."""
        try:
            return self._table.find(path, head, peer) != NONE
        except ProtocolError:
            return False


class RouteReasons:
    """Of the routes of one router; the conditions are made when they are first asked for."""

    __slots__ = ("_conditions", "router")

    def __init__(self, router: Router) -> None:
        self.router = router
        self._conditions: dict[int, list[_Condition]] = {}

    def taken(self, route: Route, head: RequestHead, peer: Peer) -> RouteTaken:
        """Why `route` was taken; call it before cookies of ours are removed from the head."""
        routes = self.router.routes
        number = next((at for at, one in enumerate(routes) if one is route), -1)
        if number < 0:  # an answer in place of a route, or the routes are others by now
            number = next((at for at, one in enumerate(routes) if one.name == route.name), -1)
        if number < 0:
            note = "the routes have changed since: this one is no longer there"
            return RouteTaken(name=route.name, number=0, conditions=(), earlier=(), left_out=0, note=note)
        try:
            path = matched_form(normal_path(head.target.partition(b"?")[0]))
        except ProtocolError:
            path = head.target.partition(b"?")[0]
        earlier = [self._earlier(at, path, head, peer) for at in range(min(number, MOST_EARLIER))]
        return RouteTaken(
            name=route.name,
            number=number + 1,
            conditions=tuple(one.words for one in self._of(number)) or (EVERY_REQUEST,),
            earlier=tuple(earlier),
            left_out=max(0, number - MOST_EARLIER),
            note=_note(route),
        )

    def _earlier(self, number: int, path: bytes, head: RequestHead, peer: Peer) -> EarlierRoute:
        unmet = tuple(one.words for one in self._of(number) if not one.is_met(path, head, peer))
        return EarlierRoute(name=self.router.routes[number].name, unmet=unmet)

    def _of(self, number: int) -> list[_Condition]:
        found = self._conditions.get(number)
        if found is None:
            found = self._conditions[number] = _conditions(self.router.matches[number])
        return found


def _note(route: Route) -> str:
    if not route.answers:
        return ""
    if route.answer is None:
        return "no route matches"
    return "it answers by itself: no pool serves it"


def _conditions(match: MatchSpec) -> list[_Condition]:
    """Each of them alone. Wanted values that may be secret are hidden."""
    found = []
    if match.hosts:
        found.append(_Condition(f"host {' or '.join(match.hosts)}", MatchSpec(hosts=match.hosts)))
    paths = [f"path {match.path}"] if match.path else []
    paths += [f"path below {prefix}" for prefix in match.path_prefixes if prefix != "/"]
    if paths:
        only = MatchSpec(path=match.path, path_prefixes=match.path_prefixes)
        found.append(_Condition(" or ".join(paths), only))
    if match.methods:
        found.append(_Condition(f"method {' or '.join(match.methods)}", MatchSpec(methods=match.methods)))
    for name, value in match.headers:
        shown = value if value == ANY_VALUE else masked_value(name.lower().encode(), value.encode())
        found.append(_Condition(_valued("header", name, shown), MatchSpec(headers=((name, value),))))
    for name, value in match.query:
        shown = value if value == ANY_VALUE else HIDDEN
        found.append(_Condition(_valued("query", name, shown), MatchSpec(query=((name, value),))))
    for name, value in match.cookies:
        shown = value if value == ANY_VALUE else HIDDEN
        found.append(_Condition(_valued("cookie", name, shown), MatchSpec(cookies=((name, value),))))
    if match.without_tls:
        found.append(_Condition("scheme not https", MatchSpec(without_tls=True)))
    return found


def _valued(kind: str, name: str, shown: str) -> str:
    return f"{kind} {name} present" if shown == ANY_VALUE else f"{kind} {name} = {shown}"
