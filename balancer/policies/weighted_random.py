"""Weighted random: each pick is random, in proportion to the weights."""

from collections.abc import Sequence
from typing import ClassVar, Final

from mypy_extensions import mypyc_attr

from balancer.policies.base import Policy, PolicyContext
from balancer.upstreams.upstream import Upstream

# A tried upstream with nearly all the weight would be drawn again and again.
_TRIES: Final = 16


@mypyc_attr(allow_interpreted_subclasses=True)
class WeightedRandom(Policy):
    """The alias method: one draw selects a cell, and its fraction one of the two upstreams that share it.

    So the cost of a pick does not depend on the number of upstreams (Walker, 1977; built as by Vose, 1991).
    """

    summary: ClassVar[str] = "by chance, by weight"

    __slots__ = ("_aliases", "_candidates", "_draw", "_shares")

    def __init__(self, context: PolicyContext) -> None:
        super().__init__(context)
        self._draw = context.random.random
        self._candidates: list[Upstream] = []
        self._shares: list[float] = []  # the part of each cell that belongs to the candidate of that index
        self._aliases: list[Upstream] = []  # the upstream that owns the rest of each cell

    def rebuild(self, candidates: Sequence[Upstream]) -> None:
        self._candidates = list(candidates)
        self._aliases = list(candidates)
        scale = len(candidates) / (sum((one.effective_weight for one in candidates), 0.0) or 1.0)
        self._shares = shares = [one.effective_weight * scale for one in candidates]
        # Each cell holds 1: the rest of a light one's cell goes to a heavy one, until that is light itself.
        light = [place for place, share in enumerate(shares) if share < 1.0]
        heavy = [place for place, share in enumerate(shares) if share >= 1.0]
        while light and heavy:
            place, giver = light.pop(), heavy[-1]
            self._aliases[place] = candidates[giver]
            shares[giver] -= 1.0 - shares[place]
            if shares[giver] < 1.0:
                light.append(heavy.pop())

    def pick(self, key: int, tried: tuple[Upstream, ...]) -> Upstream | None:
        candidates = self._candidates
        count = len(candidates)
        if count == 0:
            return None
        for _ in range(_TRIES):
            drawn = self._draw() * count
            cell = int(drawn)
            upstream = candidates[cell] if drawn - cell < self._shares[cell] else self._aliases[cell]
            if upstream not in tried:
                return upstream
        return self._of_those_left([one for one in candidates if one not in tried])

    def _of_those_left(self, left: list[Upstream]) -> Upstream | None:
        if not left:
            return None
        drawn = self._draw() * sum((one.effective_weight for one in left), 0.0)
        for upstream in left:
            drawn -= upstream.effective_weight
            if drawn < 0.0:
                return upstream
        return left[-1]  # rounding
