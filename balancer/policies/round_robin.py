"""Smooth weighted round robin: in turn, in proportion to the weights, never in bursts."""

from collections.abc import Sequence
from fractions import Fraction
from heapq import heapify, heappop, heappush
from math import gcd, lcm
from typing import ClassVar, Final

from mypy_extensions import mypyc_attr

from balancer.policies.base import Policy, PolicyContext
from balancer.upstreams.upstream import Upstream

# A round with more turns is scaled down to this many: memory stays bounded.
_ROUND_LIMIT: Final = 10_000


@mypyc_attr(allow_interpreted_subclasses=True)
class RoundRobin(Policy):
    """The order of one whole round is computed on change, so that a pick is one step along it."""

    summary: ClassVar[str] = "in turn, by weight"

    __slots__ = ("_position", "_round")

    def __init__(self, context: PolicyContext) -> None:
        super().__init__(context)
        self._round: list[Upstream] = []
        self._position = context.slot  # each worker starts at another upstream

    def rebuild(self, candidates: Sequence[Upstream]) -> None:
        self._round = _lay_out(candidates)
        # Continue at the same position: otherwise a flapping upstream would send all requests to the first.
        self._position %= max(len(self._round), 1)

    def pick(self, key: int, tried: tuple[Upstream, ...]) -> Upstream | None:
        turns = self._round
        count = len(turns)
        position = self._position
        for _ in range(count):
            upstream = turns[position]
            position += 1
            if position == count:
                position = 0
            if upstream not in tried:
                self._position = position
                return upstream
        return None


def _lay_out(candidates: Sequence[Upstream]) -> list[Upstream]:
    """One round in which no upstream is ever a whole turn ahead of or behind its share.

    For an upstream with n turns, the k-th is due within the k-th n-th of the round. Earliest deadline first
    meets all these deadlines, as they add up to exactly the round (Liu, Layland, 1973).
    """
    turns = _turns([upstream.effective_weight for upstream in candidates])
    total = sum(turns, 0)
    if total == len(turns):  # all have one
        return list(candidates)
    due = [(-(-total // n), index, 0) for index, n in enumerate(turns)]  # deadline, upstream, turn
    heapify(due)
    later: list[tuple[int, int, int]] = []  # release time, upstream, turn
    order: list[Upstream] = []
    for place in range(total):
        while later and later[0][0] <= place:
            _, index, k = heappop(later)
            heappush(due, (-(-(k + 1) * total // turns[index]), index, k))
        _, index, k = heappop(due)
        order.append(candidates[index])
        if k + 1 < turns[index]:
            heappush(later, ((k + 1) * total // turns[index], index, k + 1))
    return order


def _turns(weights: list[float]) -> list[int]:
    """The number of turns of each in one round: the weights as the smallest integers in proportion."""
    if not weights:
        return []
    # Most weights are equal, and fractions are slow.
    fractions = {each: Fraction(each).limit_denominator(100) or Fraction(1, 100) for each in set(weights)}
    scale = lcm(*(fraction.denominator for fraction in fractions.values()))
    whole = {each: int(fraction * scale) for each, fraction in fractions.items()}
    turns = [whole[each] for each in weights]
    common = gcd(*turns)
    turns = [turn // common for turn in turns]
    total = sum(turns, 0)
    if total > _ROUND_LIMIT:
        turns = [max(1, turn * _ROUND_LIMIT // total) for turn in turns]
    return turns
