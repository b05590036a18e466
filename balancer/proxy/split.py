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
from collections.abc import Callable, Mapping, Sequence
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
_MOST_MARKS: Final = 16  # in the cookie: routes that keep users, with different pools
_ID: Final = re.compile(rb"([0-9a-f]{16})((?:\.[A-Za-z0-9_-]{8}){0,%d})" % _MOST_MARKS)
_KNOWN_KEYS: Final = 4096
_KNOWN_BYTES: Final = 64
_LONGEST_SECRET: Final = 64  # bytes that blake2b takes as a key
_BITS: Final = 1 << 64


class _User:
    """What a user's key says of each side: the draw, and the mark of being there, if users are kept."""

    __slots__ = ("draws", "marks")

    def __init__(self, draws: list[float], marks: list[bytes]) -> None:
        self.draws = draws
        self.marks = marks


class Split:
    """The sides of one route. `weights` are in their order, and change while it runs. `key` is what
    names a user. A side of weight 0 gets no new users; if it `keeps` those it has, a mark in their cookie
    says so. The cookie has a mark for each set of pools that keeps its users."""

    __slots__ = ("_cookie", "_fallback", "_keeps", "_known", "_name", "_new_id", "_pools",
                 "_secret", "_source", "key", "sides", "weights")  # fmt: skip

    def __init__(self, spec: SplitSpec, sides: Sequence[Side], new_id: Callable[[], bytes]) -> None:
        """`new_id` returns 8 random bytes."""
        self.sides = list(sides)
        self.weights = list(spec.weights)
        self._fallback = spec.fallback
        self._pools = b"\0".join(sorted(side.pool_name.encode() for side in sides))
        self.key = spec.key
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
        self._keeps = spec.keep and self._cookie is not None
        self._new_id = new_id
        self._known: dict[bytes, _User] = {}

    def weigh(self, weights: Mapping[str, int]) -> None:
        """Set the weights, by pool. They are about other routes if these are not its pools."""
        if weights.keys() == {side.pool_name for side in self.sides}:
            self.weights = [weights[side.pool_name] for side in self.sides]

    def choose(self, head: RequestHead, peer: Peer) -> tuple[Side, bytes]:
        """The side of a request, and the cookie that its response must set, empty for none."""
        if self._cookie is None:
            user = self._user(self._key(head, peer))
            return self.sides[self._serving(user, self._home(user))], b""
        match = _ID.fullmatch(cookie_of(head, peer, self._name) or b"")
        if match is None:
            key, held = self._new_id().hex().encode(), b""
        else:
            key, held = match[1], match[2]
        user = self._user(key)
        if not self._keeps:
            return self.sides[self._serving(user, self._home(user))], key if match is None else b""
        marks = held.split(b".")[1:]
        home = self._kept(user, marks)
        if home < 0:
            home = self._home(user)
        own = [mark for mark in marks if mark in user.marks]
        side = self.sides[self._serving(user, home)]
        if own == [user.marks[home]]:
            return side, b""
        marks = [mark for mark in marks if mark not in own][1 - _MOST_MARKS :]
        return side, b".".join([key, *marks, user.marks[home]])

    def refuses(self, side: Side, head: RequestHead) -> bool:
        """Whether a request must not go to its side, where only ejected upstreams are left: another side has
        an eligible one, so the checks are right. A session on an upstream that drains goes on."""
        pool = side.pool
        if not pool.panics:
            return False
        if not any(weight and one.pool.serves for one, weight in zip(self.sides, self.weights, strict=True)):
            return False
        affinity = pool.affinity
        pinned = None if affinity is None else affinity.pinned(head)
        return pinned is None or bool(pinned.causes) or not pool.keeps(pinned)

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

    def _user(self, key: bytes) -> _User:
        user = self._known.get(key)
        if user is None:
            marks = [self._mark(side, key) for side in self.sides] if self._keeps else []
            user = _User([self._draw(side, key) for side in self.sides], marks)
            if len(key) <= _KNOWN_BYTES:
                if len(self._known) >= _KNOWN_KEYS:
                    self._known.clear()
                self._known[key] = user
        return user

    def _home(self, user: _User) -> int:
        """The side that the weights give to a user."""
        best, chosen = math.inf, -1
        for number, weight in enumerate(self.weights):
            if weight and (draw := user.draws[number] / weight) < best:
                best, chosen = draw, number
        return chosen

    def _serving(self, user: _User, home: int) -> int:
        """The side that serves a user: another one while no upstream at home is eligible, if the settings
        say so and there is one."""
        if not self._fallback or self.sides[home].pool.serves:
            return home
        best, chosen = math.inf, home
        for number, weight in enumerate(self.weights):
            if weight and self.sides[number].pool.serves and (draw := user.draws[number] / weight) < best:
                best, chosen = draw, number
        return chosen

    def _draw(self, side: Side, key: bytes) -> float:
        text = b"%b\0%b" % (side.pool_name.encode(), key)
        number = int.from_bytes(blake2b(text, digest_size=8, key=self._secret).digest())
        return -math.log((number + 0.5) / _BITS)

    def _mark(self, side: Side, key: bytes) -> bytes:
        text = b"%b\0%b\0%b\0" % (self._pools, side.pool_name.encode(), key)
        return urlsafe_b64encode(blake2b(text, digest_size=6, key=self._secret).digest())

    def _kept(self, user: _User, marks: Sequence[bytes]) -> int:
        """The side of weight 0 that the user is on, -1 if none."""
        for number, weight in enumerate(self.weights):
            if not weight and user.marks[number] in marks:
                return number
        return -1
