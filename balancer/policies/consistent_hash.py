"""Consistent hashing: equal keys go to the same upstream; adding or removing another moves few of them."""

from bisect import bisect
from collections.abc import Sequence
from typing import ClassVar, Final

from mypy_extensions import mypyc_attr

from balancer.errors import Outcome
from balancer.policies.base import Policy, PolicyContext
from balancer.policies.ring import KEY_SHIFT, SLOT_MASK, Ring
from balancer.upstreams.upstream import Upstream

# How many points along the ring are searched if the key's own upstream was tried or is full. Longer runs of
# tried or full upstreams are rare; then the rest is listed.
_LONGEST_WALK: Final = 256
_ROUNDING: Final = 1e-9  # 1.05 * 20 is a little more than 21 in floating point


@mypyc_attr(allow_interpreted_subclasses=True)
class ConsistentHash(Policy):
    """A key belongs to the upstream of the next point on a ring (Karger et al., 1997).

    When one of n upstreams leaves, its keys, about 1 / n, are spread over the others, and return with it.
    """

    needs_key: ClassVar[bool] = True
    summary: ClassVar[str] = (
        "equal HASH_KEYs to the same upstream; few keys move when one is added or removed"
    )

    __slots__ = ("_candidates", "_owners", "_points", "_ring")

    def __init__(self, context: PolicyContext) -> None:
        super().__init__(context)
        self._ring = Ring()
        self._candidates: list[Upstream] = []
        self._points = self._ring.points
        self._owners = self._ring.owners

    def rebuild(self, candidates: Sequence[Upstream]) -> None:
        self._ring.rebuild(candidates)
        self._candidates = list(candidates)
        self._points = self._ring.points
        self._owners = self._ring.owners

    def pick(self, key: int, tried: tuple[Upstream, ...]) -> Upstream | None:
        points = self._points
        count = len(points)
        if count == 0:
            return None
        place = bisect(points, float(key >> KEY_SHIFT))
        upstream = self._owners[int(points[place if place < count else 0]) & SLOT_MASK]
        if upstream not in tried:
            return upstream
        for step in range(1, min(count, _LONGEST_WALK)):
            upstream = self._owners[int(points[(place + step) % count]) & SLOT_MASK]
            if upstream not in tried:
                return upstream
        left = [one for one in self._candidates if one not in tried]
        return left[key % len(left)] if left else None


@mypyc_attr(allow_interpreted_subclasses=True)
class BoundedConsistentHash(ConsistentHash):
    """The same, but an upstream gets at most `bounded_load` times its share of the requests in flight.

    A key whose upstream is full moves along the ring to the first that is not (Mirrokni, Thorup and
    Zadimoghaddam, "Consistent Hashing with Bounded Loads", 2016). Loads and bound are per worker: if each
    worker keeps the bound, the instance does.
    """

    tracks_load: ClassVar[bool] = True

    __slots__ = ("_bounds", "_total", "bounded_load")

    def __init__(self, context: PolicyContext, bounded_load: float) -> None:
        super().__init__(context)
        self.bounded_load = bounded_load
        self._bounds: dict[Upstream, float] = {}  # the share of all requests in flight that each may have
        self._total = 0  # requests in flight at candidates

    def rebuild(self, candidates: Sequence[Upstream]) -> None:
        super().rebuild(candidates)
        weights = sum((one.effective_weight for one in candidates), 0.0)
        self._bounds = {one: self.bounded_load * one.effective_weight / weights for one in candidates}
        self._total = sum((one.inflight for one in candidates), 0)

    def pick(self, key: int, tried: tuple[Upstream, ...]) -> Upstream | None:
        points = self._points
        count = len(points)
        if count == 0:
            return None
        place = bisect(points, float(key >> KEY_SHIFT))
        bounds = self._bounds
        total = self._total + 1
        # inflight + 1 <= ceil(bound) is the same as inflight < bound. The bounds add up to more than the
        # requests in flight, so at least one upstream is below its own, though it may have been tried.
        for step in range(min(count, _LONGEST_WALK)):
            upstream = self._owners[int(points[(place + step) % count]) & SLOT_MASK]
            if upstream.inflight < bounds[upstream] * total - _ROUNDING and upstream not in tried:
                return upstream
        left = [one for one in self._candidates if one not in tried]
        return min(left, key=lambda one: one.inflight / bounds[one]) if left else None

    def started(self, upstream: Upstream) -> None:
        self._total += upstream in self._bounds

    def finished(self, upstream: Upstream, latency: float, outcome: Outcome) -> None:
        self._total -= upstream in self._bounds


def consistent_hash(context: PolicyContext, *, bounded_load: float = 0.0) -> ConsistentHash:
    """`bounded_load`: 0 = none, else the multiple of its fair share that an upstream may have in flight."""
    if bounded_load == 0.0:
        return ConsistentHash(context)
    if bounded_load <= 1.0:
        raise ValueError(f"bounded_load is {bounded_load:g}; write 0 for none, or more than 1, such as 1.25")
    return BoundedConsistentHash(context, bounded_load)
