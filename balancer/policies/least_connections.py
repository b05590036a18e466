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
    """Compares inflight / weight; ties go in turn, by weight too.

    The turn: each pick moves its upstream on by 1 / weight, and of those that tie the one least far goes.
    So an idle pool is served by weighted rotation instead of always by the first or the heaviest. Turns that
    one could not take while it was busy are not owed to it: it moves on from where the last pick stood
    (start-time fair queueing; Goyal, Vin, Cheng, 1996).
    """

    summary: ClassVar[str] = "fewest requests in flight, by weight (default)"

    __slots__ = ("_candidates", "_now", "_random", "_shares", "_start", "_turns")

    def __init__(self, random: Random, start: int = 0) -> None:
        """`start` is where the first turn begins, so that several workers do not begin alike."""
        self._random = random
        self._start = start
        self._candidates: list[Upstream] = []
        self._shares: list[float] = []  # 1 / weight, in the order of the candidates
        self._turns: list[float] = []
        self._now = 0.0  # where the last picked one stood

    def rebuild(self, candidates: Sequence[Upstream]) -> None:
        kept = dict(zip(self._candidates, self._turns, strict=True))
        least = min((kept[one] for one in candidates if one in kept), default=0.0)
        self._shares = [1.0 / one.effective_weight for one in candidates]
        # A newcomer starts level with the least served: neither flooded nor passed over. Turns are kept
        # relative to the least, so that they never grow large.
        self._turns = [kept.get(one, least) - least for one in candidates]
        self._now = max(0.0, self._now - least)
        self._candidates = list(candidates)
        if not kept and candidates:
            for index in range(self._start % len(candidates)):
                self._turns[index] = self._shares[index]

    def pick(self, key: int, tried: tuple[Upstream, ...]) -> Upstream | None:
        if len(self._candidates) > _SCAN_LIMIT:
            return self._sample(tried)
        shares = self._shares
        turns = self._turns
        best = -1
        least = 0.0
        for index, upstream in enumerate(self._candidates):
            load = (upstream.inflight + upstream.remote_inflight) * shares[index]
            if (
                best < 0 or load < least or (load == least and turns[index] < turns[best])
            ) and upstream not in tried:
                best = index
                least = load
        if best < 0:
            return None
        self._move_on(best)
        return self._candidates[best]

    def _sample(self, tried: tuple[Upstream, ...]) -> Upstream | None:
        candidates = self._candidates
        count = len(candidates)
        rand = self._random.random
        first = -1
        for _ in range(_SAMPLE_TRIES):
            index = int(rand() * count)
            if index == first or candidates[index] in tried:
                continue
            if first < 0:
                first = index
                continue
            return candidates[self._lighter(first, index)]
        if first >= 0:
            return candidates[first]
        return next((upstream for upstream in candidates if upstream not in tried), None)

    def _lighter(self, one: int, other: int) -> int:
        shares = self._shares
        turns = self._turns
        a, b = self._candidates[one], self._candidates[other]
        load_a = (a.inflight + a.remote_inflight) * shares[one]
        load_b = (b.inflight + b.remote_inflight) * shares[other]
        chosen = one if load_a < load_b or (load_a == load_b and turns[one] <= turns[other]) else other
        self._move_on(chosen)
        return chosen

    def _move_on(self, index: int) -> None:
        turn = self._turns[index]
        if turn > self._now:
            self._now = turn
        self._turns[index] = self._now + self._shares[index]
