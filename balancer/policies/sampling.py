"""Draws two different upstreams at random, all pairs equally likely: choosing among many at a flat cost."""

from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeVar

from balancer.upstreams.upstream import Upstream

# With few tried upstreams among many, one draw in thousands needs more than two tries. If most have been
# tried (all attempts of a request went to a small pool), the rest is listed instead.
_TRIES: Final = 8


class Candidate(Protocol):
    """A policy's own record of one candidate."""

    __slots__ = ()

    upstream: Upstream


C = TypeVar("C", bound=Candidate)


def draw_two(candidates: Sequence[C], tried: tuple[Upstream, ...], draw: Callable[[], float]) -> Sequence[C]:
    """Two different untried candidates in random order; fewer only if there are no two.

    `draw` returns uniformly distributed numbers in [0, 1).
    """
    count = len(candidates)
    if count > 1:
        for _ in range(_TRIES):
            first = int(draw() * count)
            second = int(draw() * (count - 1))
            if second >= first:
                second += 1
            one, other = candidates[first], candidates[second]
            if not tried or (one.upstream not in tried and other.upstream not in tried):
                return one, other
    left = [one for one in candidates if one.upstream not in tried]
    return draw_two(left, (), draw) if len(left) > 1 else left
