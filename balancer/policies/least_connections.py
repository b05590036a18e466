"""Weighted least connections: to whom has the fewest requests in flight for its weight. The default."""

from collections.abc import Sequence
from random import Random
from typing import ClassVar

from balancer.policies.base import Policy
from balancer.upstreams.upstream import Upstream

# Up to this many every candidate is looked at; above, two at random, so that a pick costs the same
# whatever their number. Two choices are already near the best (Mitzenmacher, 2001).
_SCAN_LIMIT = 16
_SAMPLE_TRIES = 8


class LeastConnections(Policy):
    """Compares (inflight + 1) / weight, that is the load with this request; ties go in turn."""

    summary: ClassVar[str] = "fewest requests in flight, by weight (default)"

    __slots__ = ("_candidates", "_random", "_turn")

    def __init__(self, random: Random, start: int = 0) -> None:
        """`start` is where the turn among ties begins."""
        self._random = random
        self._candidates: list[Upstream] = []
        self._turn = start

    def rebuild(self, candidates: Sequence[Upstream]) -> None:
        self._candidates = list(candidates)
        self._turn %= max(len(self._candidates), 1)

    def pick(self, key: int, tried: tuple[Upstream, ...]) -> Upstream | None:
        candidates = self._candidates
        count = len(candidates)
        if count > _SCAN_LIMIT:
            return self._sample(tried)
        turn = self._turn
        best: Upstream | None = None
        least = 0.0
        chosen = index = turn
        for _ in range(count):
            if index >= count:
                index = 0
            upstream = candidates[index]
            load = (upstream.inflight + upstream.remote_inflight + 1) / upstream.effective_weight
            if (best is None or load < least) and upstream not in tried:
                best = upstream
                least = load
                chosen = index
            index += 1
        self._turn = chosen + 1 if chosen + 1 < count else 0
        return best

    def _sample(self, tried: tuple[Upstream, ...]) -> Upstream | None:
        candidates = self._candidates
        count = len(candidates)
        rand = self._random.random
        first: Upstream | None = None
        for _ in range(_SAMPLE_TRIES):
            upstream = candidates[int(rand() * count)]
            if upstream in tried or upstream is first:
                continue
            if first is None:
                first = upstream
                continue
            # load / weight of both, compared without dividing
            if (upstream.inflight + upstream.remote_inflight + 1) * first.effective_weight < (
                first.inflight + first.remote_inflight + 1
            ) * upstream.effective_weight:
                return upstream
            return first
        return first or next((upstream for upstream in candidates if upstream not in tried), None)
