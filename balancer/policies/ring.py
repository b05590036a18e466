"""The ring of consistent hashing: the next upstream clockwise from a key's position."""

from __future__ import annotations  # array[float] is not subscriptable at run time in 3.11

from array import array
from bisect import bisect_left
from collections.abc import Sequence
from hashlib import shake_128
from itertools import chain
from struct import unpack
from typing import Final

from balancer.upstreams.upstream import Upstream

# Points of an upstream of weight 1. The shares of equal upstreams then differ by about 9 % (1 / sqrt(128)).
POINTS: Final = 128
# Above this total, every upstream gets proportionally fewer: memory and rebuild time stay bounded. An
# ejection then moves up to twice as many keys as necessary.
MOST_POINTS: Final = 1 << 17

# A point is an integer below 2**53 kept as a float, as floats sort and compare about twice as fast as ints of
# this size: 37 bits of hash, and the slot of its upstream in the low 16 bits.
# (There are at most 4,096 upstreams.) They are in arrays, not lists: a binary search then reads one place in
# memory for each step, not two, and an update copies bytes.
SLOT_MASK: Final = (1 << 16) - 1
KEY_SHIFT: Final = 64 - 53
_HASH_SHIFT: Final = 64 - 37


class _Points:
    """The points of one upstream, derived from its id alone. The first `used` of them are on the ring."""

    __slots__ = ("made", "slot", "used")

    def __init__(self, slot: int) -> None:
        self.slot = slot
        self.made: array[float] = array("d")
        self.used = 0

    def make(self, upstream_id: str, wanted: int) -> None:
        """Make at least `wanted` points. A longer list begins with the same points."""
        if wanted > len(self.made):
            hashes = unpack(f">{wanted}Q", shake_128(upstream_id.encode()).digest(8 * wanted))
            slot = self.slot
            self.made = array("d", [(each >> _HASH_SHIFT) * 65536.0 + slot for each in hashes])


class Ring:
    """Points on a circle. A change of one upstream moves only its own points, and only the keys next to them.

    `points` are sorted; `owners[int(point) & SLOT_MASK]` is the upstream of a point.
    """

    __slots__ = ("_points_of", "_unused_slots", "owners", "points")

    def __init__(self) -> None:
        self.points: array[float] = array("d")
        self.owners: list[Upstream] = []
        self._points_of: dict[Upstream, _Points] = {}
        self._unused_slots: list[int] = []

    def rebuild(self, candidates: Sequence[Upstream]) -> None:
        """Lay out the points of `candidates` by effective weight."""
        # By the weights in the settings: slow start changes only the effective weight, and moves no others.
        total = POINTS * sum((one.weight for one in candidates), 0)
        scale = POINTS * min(1.0, MOST_POINTS / max(total, 1))
        gone: list[float] = []
        come: list[float] = []
        staying = set(candidates)
        for upstream in [one for one in self._points_of if one not in staying]:
            left = self._points_of.pop(upstream)
            gone += left.made[: left.used]
            self._unused_slots.append(left.slot)
        for upstream in candidates:
            points = self._points_of.get(upstream)
            if points is None:
                points = self._points_of[upstream] = _Points(self._take_slot(upstream))
            wanted = max(1, round(scale * upstream.effective_weight))
            points.make(upstream.id, wanted)
            come += points.made[points.used : wanted]
            gone += points.made[wanted : points.used]
            points.used = wanted
        if len(gone) + len(come) > len(self.points) // 4:
            self.points = array(
                "d", sorted(chain.from_iterable(one.made[: one.used] for one in self._points_of.values()))
            )
        else:  # if one of 1,000 upstreams changes: a fiftieth of the time
            self.points = _changed(self.points, sorted(gone), sorted(come))

    def _take_slot(self, upstream: Upstream) -> int:
        if self._unused_slots:
            slot = self._unused_slots.pop()
            self.owners[slot] = upstream
        else:
            slot = len(self.owners)
            self.owners.append(upstream)
        return slot


def _changed(points: array[float], gone: list[float], come: list[float]) -> array[float]:
    """`points` without `gone` and with `come`. All are sorted, and `gone` is a subset of `points`."""
    kept = array("d")
    start = 0
    for each in gone:
        place = bisect_left(points, each, start)
        kept += points[start:place]
        start = place + 1
    kept += points[start:]
    changed = array("d")
    start = 0
    for each in come:
        place = bisect_left(kept, each, start)
        changed += kept[start:place]
        changed.append(each)
        start = place
    changed += kept[start:]
    return changed
