"""The router of a listener while authorities look for proofs of control over domains (RFC 8555 section 8.3).

It is there only then: at other times a request does not even cost a test.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Final

from balancer.http.forwarding import Peer
from balancer.http.request_head import RequestHead
from balancer.proxy.https_redirect import CHALLENGES, answering
from balancer.proxy.router import Route, Router
from balancer.spec.worker import AnswerSpec, MatchSpec, RouteSpec

_ASKED: Final = (b"GET", b"HEAD")
_FIELDS: Final = (("Content-Type", "text/plain"), ("Cache-Control", "no-store"))


class ChallengeRouter(Router):
    """A request for the token of a challenge is answered here, whatever the route and its limits; it counts
    for the route that it would have taken. All others take theirs."""

    __slots__ = ("_answers", "_inner", "_specs")

    def __init__(self, inner: Router, specs: Sequence[RouteSpec], answers: Mapping[str, str]) -> None:
        """`inner` finds the routes, whose specs these are; `answers` are by token."""
        matches: list[MatchSpec] = [spec.match for spec in specs]
        super().__init__(inner.routes, matches)
        self._inner = inner
        self._specs = dict(zip(inner.routes, specs, strict=True))
        self._answers = {CHALLENGES + token.encode(): answer.encode() for token, answer in answers.items()}
        self.only = None

    def match(self, head: RequestHead, peer: Peer) -> Route:
        inner = self._inner
        answer = self._answers.get(head.target)
        only = inner.only
        route = inner.match(head, peer) if only is None else only
        if answer is None or head.method not in _ASKED:
            return route
        own = AnswerSpec(status=HTTPStatus.OK, headers=_FIELDS, body=answer)
        return answering(route, self._specs[route], own)
