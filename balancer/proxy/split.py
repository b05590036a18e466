"""Divides the requests of a route among several pools, so that a user stays with one of them.

Weighted rendezvous hashing: each side draws an exponentially distributed number from the user's key, divided
by the side's weight, and the smallest wins. The draws do not depend on weights. So from 10 % to 50 % only as
many users move as must, all towards the side that grows, in every worker and instance alike, and for every
route that is split between the same pools (Schindelhauer and Schomaker, Weighted distributed hash tables,
2005).
"""

import math
import re
from base64 import urlsafe_b64encode
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Final

from balancer.http.cookies import cookie_attributes
from balancer.http.forwarding import Peer
from balancer.http.named_values import VALUES, cookie_of
from balancer.http.request_head import RequestHead
from balancer.http.response_head import ResponseHead
from balancer.proxy.side import Side
from balancer.spec.worker import SplitSpec
from balancer.sticky.pin_cookie import BalancerCookie

OWN_COOKIE: Final = "cookie"  # the key of users whom a cookie of ours names
_AGE: Final = 30 * 24 * 3600  # seconds that browsers keep it
_ID: Final = re.compile(rb"([0-9a-f]{16})(?:\.([A-Za-z0-9_-]{8}))?")
_KNOWN_KEYS: Final = 4096
_KNOWN_BYTES: Final = 64
_LONGEST_SECRET: Final = 64  # bytes that blake2b takes as a key
_BITS: Final = 1 << 64


class Split:
    """The sides of one route. `weights` are in their order, and change while it runs. A side of weight 0 gets
    no new users; if it `keeps` those it has, their cookie says so."""

    __slots__ = ("_attributes", "_cookie", "_fallback", "_keeps", "_known", "_name", "_new_id", "_secret",
                 "_source", "sides", "weights")  # fmt: skip

    def __init__(self, spec: SplitSpec, sides: Sequence[Side], new_id: Callable[[], bytes]) -> None:
        """`new_id` returns 8 random bytes."""
        self.sides = list(sides)
        self.weights = list(spec.weights)
        self._fallback = spec.fallback
        self._keeps = spec.keep
        self._secret = spec.secret[:_LONGEST_SECRET]
        kind, _, name = spec.key.partition(":")
        self._source = VALUES.get(kind) if name else None
        self._name = name.encode()
        attributes = cookie_attributes(
            path="/", domain="", max_age=_AGE, secure=False, http_only=True, same_site="lax"
        )
        self._cookie = BalancerCookie(spec.cookie, attributes) if spec.key == OWN_COOKIE else None
        if self._cookie is not None:
            self._name = spec.cookie
        self._new_id = new_id
        self._known: dict[bytes, list[float]] = {}

    def choose(self, head: RequestHead, peer: Peer) -> tuple[Side, bytes]:
        """The side of a request, and the cookie that its response must set, empty for none."""
        if self._cookie is None:
            return self.sides[self._side_of(self._key(head, peer))], b""
        match = _ID.fullmatch(cookie_of(head, peer, self._name) or b"")
        if match is None:
            user, mark = self._new_id().hex().encode(), b""
        else:
            user, mark = match[1], match[2] or b""
        number = self._kept(user, mark) if mark and self._keeps else -1
        if number < 0:
            number = self._side_of(user)
        wanted = self._mark(user, number) if self._keeps else b""
        side = self.sides[number]
        if match is not None and mark == wanted:
            return side, b""
        return side, b"%b.%b" % (user, wanted) if wanted else user

    def give(self, response: ResponseHead, value: bytes) -> ResponseHead:
        """The response with the cookie that `choose` has returned."""
        cookie = self._cookie
        if cookie is None:
            return response
        return cookie.give(response, cookie.mark(value)) or response

    def _key(self, head: RequestHead, peer: Peer) -> bytes:
        """A request without the value goes by its client's address."""
        value = None if self._source is None else self._source(head, peer, self._name)
        return value or peer.client_address(head).encode()

    def _side_of(self, key: bytes) -> int:
        draws = self._known.get(key)
        if draws is None:
            draws = [self._draw(side, key) for side in self.sides]
            if len(key) <= _KNOWN_BYTES:
                if len(self._known) >= _KNOWN_KEYS:
                    self._known.clear()
                self._known[key] = draws
        best, chosen, standby = math.inf, -1, -1
        best_standby = math.inf
        for number, weight in enumerate(self.weights):
            if not weight:
                continue
            draw = draws[number] / weight
            if draw < best_standby:
                best_standby, standby = draw, number
            if draw < best and (not self._fallback or self.sides[number].pool.serves):
                best, chosen = draw, number
        return chosen if chosen >= 0 else standby

    def _draw(self, side: Side, key: bytes) -> float:
        text = b"%b\0%b" % (side.pool_name.encode(), key)
        number = int.from_bytes(blake2b(text, digest_size=8, key=self._secret).digest())
        return -math.log((number + 0.5) / _BITS)

    def _mark(self, user: bytes, number: int) -> bytes:
        text = b"%b\0%b\0" % (self.sides[number].pool_name.encode(), user)
        return urlsafe_b64encode(blake2b(text, digest_size=6, key=self._secret).digest())

    def _kept(self, user: bytes, mark: bytes) -> int:
        """The side of weight 0 that the user is on, -1 if none."""
        for number, weight in enumerate(self.weights):
            if not weight and mark == self._mark(user, number):
                return number
        return -1
