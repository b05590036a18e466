"""Which route a request takes, and so which pool serves it."""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

from mypy_extensions import mypyc_attr

from balancer.http.edits import Edits, FieldEdit, RequestEdit, ResponseEdit
from balancer.http.forwarding import Peer
from balancer.http.request_head import RequestHead
from balancer.proxy.route_table import RouteTable
from balancer.proxy.side import Side
from balancer.proxy.split import OWN_COOKIE, Split
from balancer.proxy.stages.answer import Answer
from balancer.spec.worker import (
    FOREVER_NS,
    FieldsSpec,
    MatchSpec,
    RouteSpec,
)


class Route:
    """Its name (the metric label), who serves its requests, and what these may take. It has one `side` unless
    there is a `split`. `answers`: it has no pool, and gives `answer`, 404 if that is None. `is_plain`: it
    only forwards, to one pool, all requests. `is_bounded`: its pools have shares of the client connections.
    `read_only_until_ns`: until then it serves no changes, 0 if it does."""

    __slots__ = ("_only_forwards", "answer", "answers", "body_bytes", "edits", "is_bounded",
                 "is_plain", "name", "read_only_until_ns", "side", "sides", "split", "timeouts")  # fmt: skip

    def __init__(self, spec: RouteSpec, side: Side, split: Split | None = None) -> None:
        self.name = spec.name
        self.side = side
        self.split = split
        self.sides = [side] if split is None else split.sides
        self.answers = not spec.sides
        self.answer = None if spec.answer is None else Answer(spec.answer)
        self.edits = edits_of(spec)
        self.is_plain = not self.answers and self.edits is None and split is None
        self._only_forwards = self.is_plain
        self.is_bounded = False
        self.read_only_until_ns = 0
        self.timeouts = spec.timeouts
        self.body_bytes = spec.body_bytes

    @property
    def strips(self) -> bool:
        """Whether it changes paths."""
        return self.edits is not None and self.edits.request is not None and self.edits.request.strips

    def reconsider(self) -> None:
        """`read_only_until_ns` may have changed."""
        self.is_plain = self._only_forwards and not self.read_only_until_ns


def edits_of(route: RouteSpec) -> Edits | None:
    """What a route changes in heads; None if nothing. The response of a split one may get a cookie."""
    rewrite, response = route.rewrite, route.response
    split = route.split
    if rewrite is None and response is None and split is None:
        return None
    request = None
    cookie = b"" if split is None or split.key != OWN_COOKIE else split.cookie
    if rewrite is not None:
        fields = None if rewrite.fields is None else _field_edit(rewrite.fields)
        prefixes = [prefix.encode() for prefix in rewrite.prefixes]
        request = RequestEdit(prefixes, rewrite.instead.encode(), rewrite.host, fields, cookie)
    elif cookie:
        request = RequestEdit(cookie=cookie)
    return Edits(request, None if response is None else ResponseEdit(_field_edit(response)))


def _field_edit(spec: FieldsSpec) -> FieldEdit:
    return FieldEdit(spec.set, spec.add, spec.remove)


@mypyc_attr(allow_interpreted_subclasses=True)
class Router:
    """The routes in the order in which they are matched; the last one matches every request.
    `only` is the single one, if it needs no matching. `bounds_total`: one of them limits how long an exchange
    may take in total."""

    __slots__ = ("_table", "bounds_total", "matches", "only", "routes")

    def __init__(self, routes: list[Route], matches: list[MatchSpec]) -> None:
        """`matches` are the routes' own."""
        self.routes = routes
        self.matches = matches
        self.bounds_total = any(route.timeouts.total_ns < FOREVER_NS for route in routes)
        strips = any(route.strips for route in routes)
        self.only = routes[0] if len(routes) == 1 and not strips else None
        self._table = RouteTable(matches, strips)

    def match(self, head: RequestHead, peer: Peer) -> Route:
        """The first route whose conditions are met by `head`, from `peer`; its target is in normal form then,
        if any route looks at paths or changes them. Raises ProtocolError for a path that apps could take for
        another route's."""
        known = head.route
        if known is not None:
            assert isinstance(known, Route)
            return known
        route = self.routes[self._table.number_of(head, peer)]
        head.route = route
        return route
