"""Swaps the router of an entrance: for other routes, and while authorities look for proofs there."""

from collections.abc import Mapping, Sequence

from balancer.clients.entrance import Entrance
from balancer.proxy.challenges import ChallengeRouter
from balancer.proxy.router import Router
from balancer.spec.worker import RouteSpec


class Door:
    """An entrance, and the router that it has while nothing is looked for."""

    __slots__ = ("_answers", "_entrance", "_router", "_routes")

    def __init__(self, entrance: Entrance, routes: Sequence[RouteSpec]) -> None:
        """`routes` are the specs of its router's routes."""
        self._entrance = entrance
        self._router: Router = entrance.router
        self._routes = routes
        self._answers: Mapping[str, str] = {}

    def lead(self, router: Router, routes: Sequence[RouteSpec]) -> None:
        """Requests take these routes from now on."""
        self._router, self._routes = router, routes
        self.answer(self._answers)

    def answer(self, answers: Mapping[str, str]) -> None:
        """Answer these tokens from now on, no others."""
        self._answers = answers
        router = self._router
        self._entrance.router = ChallengeRouter(router, self._routes, answers) if answers else router
