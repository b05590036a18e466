"""Power of two choices: of two upstreams drawn at random, picks that with fewer requests for its weight."""

from collections.abc import Sequence
from typing import ClassVar

from mypy_extensions import mypyc_attr

from balancer.policies.base import Policy, PolicyContext
from balancer.policies.sampling import draw_two
from balancer.upstreams.upstream import Upstream


class _Candidate:
    __slots__ = ("upstream", "weight")

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.weight = upstream.effective_weight


@mypyc_attr(allow_interpreted_subclasses=True)
class PowerOfTwo(Policy):
    """Draws two different upstreams, all pairs equally likely; compares inflight / weight, ties by weight.

    Nearly as even as comparing all (Mitzenmacher, 2001), and independent balancers do not all pick the same
    upstream. As pairs are equally likely, one of n upstreams gets at most 2 / n of the requests, whatever its
    weight.
    """

    compares_load: ClassVar[bool] = True
    summary: ClassVar[str] = "of two drawn at random, the one with fewer requests in flight, by weight"

    __slots__ = ("_candidates", "_draw")

    def __init__(self, context: PolicyContext) -> None:
        super().__init__(context)
        self._draw = context.random.random
        self._candidates: list[_Candidate] = []

    def rebuild(self, candidates: Sequence[Upstream]) -> None:
        self._candidates = [_Candidate(upstream) for upstream in candidates]

    def pick(self, key: int, tried: tuple[Upstream, ...]) -> Upstream | None:
        drawn = draw_two(self._candidates, tried, self._draw)
        if len(drawn) < 2:
            return drawn[0].upstream if drawn else None
        one, other = drawn
        # Load times the other's weight: the same order as load by own weight, without divisions.
        load = (one.upstream.inflight + one.upstream.remote_inflight) * other.weight
        others = (other.upstream.inflight + other.upstream.remote_inflight) * one.weight
        if load != others:
            return one.upstream if load < others else other.upstream
        # Otherwise a quiet pool would be served evenly, whatever the weights. Equal weights need no third
        # draw: the two are in random order.
        if one.weight == other.weight or self._draw() * (one.weight + other.weight) < one.weight:
            return one.upstream
        return other.upstream
