"""Weighted least connections: picks the upstream with the fewest requests in flight for its weight. The
default."""

from collections.abc import Sequence
from math import inf
from typing import ClassVar, Final

from mypy_extensions import mypyc_attr

from balancer.policies.base import Policy, PolicyContext
from balancer.policies.sampling import draw_two
from balancer.upstreams.upstream import Upstream

# Up to this many, all candidates are compared; above, two at random, so that the cost of a pick does not
# depend on their number. Two choices are already near the best (Mitzenmacher, 2001).
_SCAN_LIMIT: Final = 16


class _Turn:
    """A candidate and its place in the rotation."""

    __slots__ = ("place", "step", "upstream")

    def __init__(self, upstream: Upstream, place: float) -> None:
        self.upstream = upstream
        self.place = place
        self.step = 1.0 / upstream.effective_weight  # how far one pick advances it


@mypyc_attr(allow_interpreted_subclasses=True)
class LeastConnections(Policy):
    """Compares inflight / weight; ties rotate, also by weight.

    The rotation: each pick advances its upstream by 1 / weight, and among ties the least advanced is picked.
    So an idle pool that is compared as a whole is served in weighted rotation, not always by the first or the
    heaviest. Turns that an upstream missed while busy are not made up for: it continues from the place of the
    last pick (start-time fair queueing; Goyal, Vin, Cheng, 1996).
    """

    compares_load: ClassVar[bool] = True
    summary: ClassVar[str] = "fewest requests in flight, by weight (default)"

    __slots__ = ("_draw", "_now", "_start", "_turns")

    def __init__(self, context: PolicyContext) -> None:
        super().__init__(context)
        self._draw = context.random.random
        self._start = context.slot  # where rotation starts: different in each worker
        self._turns: list[_Turn] = []  # by place if they are all compared
        self._now = 0.0  # the place of the last pick

    def rebuild(self, candidates: Sequence[Upstream]) -> None:
        kept = {turn.upstream: turn.place for turn in self._turns}
        least = min((kept[one] for one in candidates if one in kept), default=0.0)
        # A new upstream starts level with the least advanced: neither flooded nor starved. Places are kept
        # relative to the least, so that they never grow large.
        self._turns = [_Turn(one, kept.get(one, least) - least) for one in candidates]
        self._now = max(0.0, self._now - least)
        if not kept and candidates:
            for turn in self._turns[: self._start % len(candidates)]:
                turn.place = turn.step
        self._turns.sort(key=_place)

    def pick(self, key: int, tried: tuple[Upstream, ...]) -> Upstream | None:
        turns: Sequence[_Turn] = self._turns
        if len(turns) > _SCAN_LIMIT:
            turns = draw_two(turns, tried, self._draw)
            if len(turns) == 2 and turns[1].place < turns[0].place:
                turns = (turns[1], turns[0])
        best: _Turn | None = None
        least = inf
        for turn in turns:  # the least advanced first: it wins ties
            upstream = turn.upstream
            load = (upstream.inflight + upstream.remote_inflight) * turn.step
            if load < least and (not tried or upstream not in tried):
                best = turn
                if not load:
                    break
                least = load
        if best is None:
            return None
        if best.place > self._now:
            self._now = best.place
        best.place = place = self._now + best.step
        if turns is self._turns:
            self._turns.remove(best)
            at = len(self._turns)
            while at and self._turns[at - 1].place > place:  # never with equal weights
                at -= 1
            self._turns.insert(at, best)
        return best.upstream


def _place(turn: _Turn) -> float:
    return turn.place
