"""The router of a plain listener that sends its clients to the TLS listener."""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

from balancer.http.forwarding import Peer
from balancer.http.request_head import RequestHead
from balancer.proxy.router import Route, Router
from balancer.proxy.side import Side
from balancer.spec.part import replaced
from balancer.spec.worker import AnswerSpec, MatchSpec, RouteSpec

_HTTPS_PORT: Final = 443
_HTTPS: Final = b"https"
# RFC 8555 section 8.3: an authority asks there by plain HTTP, before there is a certificate.
CHALLENGES: Final = b"/.well-known/acme-challenge/"


def to_https(port: int) -> AnswerSpec:
    """The redirect; `port` is where clients find the TLS listener."""
    location = "https://$host$uri" if port == _HTTPS_PORT else f"https://$host:{port}$uri"
    return AnswerSpec(status=HTTPStatus.PERMANENT_REDIRECT, location=location)


def answering(route: Route, spec: RouteSpec, answer: AnswerSpec) -> Route:
    """A route that gives this answer, in place of `route`, whose spec is `spec`; it counts for that."""
    own = replaced(spec, sides=(), split=None, rewrite=None, response=None, answer=answer)
    return Route(own, Side(None, {}, route.side.counters))


def wants_https(head: RequestHead, peer: Peer) -> bool:
    """Whether a request is redirected."""
    return peer.client_scheme(head) != _HTTPS and not head.target.startswith(CHALLENGES)


class RedirectingRouter(Router):
    """Every request is redirected to https, unless a trusted proxy says that its client speaks https, or it
    is about a certificate. It counts for the route that it would have taken."""

    __slots__ = ("_redirects",)

    def __init__(self, routes: list[Route], specs: Sequence[RouteSpec], port: int) -> None:
        """`specs` are those of the routes; `port` is where clients find the TLS listener."""
        matches: list[MatchSpec] = [spec.match for spec in specs]
        super().__init__(routes, matches)
        self.only = None
        answer = to_https(port)
        self._redirects = {
            route: answering(route, spec, answer) for route, spec in zip(routes, specs, strict=True)
        }

    def match(self, head: RequestHead, peer: Peer) -> Route:
        route = super().match(head, peer)
        return self._redirects[route] if wants_https(head, peer) else route
