"""Swaps the router of an entrance while authorities look for proofs there."""

from collections.abc import Mapping, Sequence

from balancer.clients.entrance import Entrance
from balancer.proxy.challenges import ChallengeRouter
from balancer.proxy.router import Router
from balancer.spec.worker import RouteSpec


class Door:
    """An entrance, and the router that it has at other times."""

    __slots__ = ("_entrance", "_router", "_routes")

    def __init__(self, entrance: Entrance, routes: Sequence[RouteSpec]) -> None:
        """`routes` are the specs of its router's routes."""
        self._entrance = entrance
        self._router: Router = entrance.router
        self._routes = routes

    def answer(self, answers: Mapping[str, str]) -> None:
        """Answer these tokens from now on, no others."""
        router = self._router
        self._entrance.router = ChallengeRouter(router, self._routes, answers) if answers else router
