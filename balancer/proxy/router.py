"""Which route a request takes, and so which pool serves it."""

from mypy_extensions import mypyc_attr

from balancer.counters import Counters
from balancer.http.head import RequestHead
from balancer.pools.pool import UpstreamPool


class Route:
    """Its name (the metric label), its pool, and its counters."""

    __slots__ = ("counters", "name", "pool")

    def __init__(self, name: str, pool: UpstreamPool, counters: Counters) -> None:
        self.name = name
        self.pool = pool
        self.counters = counters


@mypyc_attr(allow_interpreted_subclasses=True)
class Router:
    """The routes in the order in which they are matched; the last one matches every request."""

    __slots__ = ("_last", "routes")

    def __init__(self, routes: list[Route]) -> None:
        self.routes = routes
        self._last = routes[-1]

    def match(self, head: RequestHead) -> Route:
        """The first route whose conditions `head` meets."""
        return self._last
