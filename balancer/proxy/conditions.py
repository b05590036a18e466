"""What a route asks of a request besides its host and path: method, header fields, cookies, query, scheme."""

from typing import Final

from balancer.http.forwarding import Peer
from balancer.http.named_values import VALUES, ValueOf
from balancer.http.request_head import RequestHead
from balancer.spec.worker import MatchSpec

ANY_VALUE: Final = "*"
_OVER_TLS: Final = (b"https", b"wss")  # wss: what Traefik says of a WebSocket


class Conditions:
    """All of them must be met. A value is compared as a whole, or must only be there."""

    __slots__ = ("_methods", "_values", "_without_tls")

    def __init__(self, spec: MatchSpec) -> None:
        self._methods = frozenset(method.encode() for method in spec.methods)
        self._without_tls = spec.without_tls
        self._values: list[tuple[ValueOf, bytes, bytes | None]] = [
            (VALUES[kind], name.encode(), None if value == ANY_VALUE else value.encode())
            for kind, wanted in (("header", spec.headers), ("query", spec.query), ("cookie", spec.cookies))
            for name, value in wanted
        ]

    def are_met(self, head: RequestHead, peer: Peer) -> bool:
        """Whether a request from `peer` meets them."""
        if self._methods and head.method not in self._methods:
            return False
        if self._without_tls and peer.client_scheme(head) in _OVER_TLS:
            return False
        for value_of, name, wanted in self._values:
            value = value_of(head, peer, name)
            if value is None or (wanted is not None and value != wanted):
                return False
        return True


def conditions(spec: MatchSpec) -> Conditions | None:
    """None if there are none."""
    any_values = spec.headers or spec.query or spec.cookies
    return Conditions(spec) if spec.methods or any_values or spec.without_tls else None
