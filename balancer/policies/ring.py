"""The ring of consistent hashing: which upstream comes next, clockwise, from where a key falls."""

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from itertools import chain, count, islice
from struct import Struct

from balancer.upstreams.upstream import Upstream

# Points of an upstream of weight 1. The shares of equal upstreams then differ by about 9 % (1 / sqrt(128)).
POINTS = 128
# Above this many in all, every upstream gets fewer in proportion: memory and the time of a rebuild stay
# bounded. An ejection then moves up to twice the keys that it must.
MOST_POINTS = 1 << 17

# A point is a whole number below 2**53 kept as a float, as floats sort and compare about twice as fast as
# ints of this size: 37 bits of hash, and in the low 16 bits the slot of its upstream.
# (There are at most 4,096 upstreams.)
SLOT_MASK = (1 << 16) - 1
KEY_SHIFT = 64 - 53
_EIGHT = Struct(">8Q")


class _Points:
    """The points of one upstream; they follow from its id alone. How many of them are used may vary."""

    __slots__ = ("_hashes", "_made", "_used", "slot")

    def __init__(self, upstream_id: str, slot: int) -> None:
        self.slot = slot
        self._hashes = _hashes(upstream_id.encode())
        self._made: list[float] = []  # in the order in which they came: fewer are the first ones of more
        self._used: list[float] = []

    def first(self, wanted: int) -> list[float]:
        """The first `wanted` of them, sorted."""
        if wanted != len(self._used):
            for value in islice(self._hashes, max(0, wanted - len(self._made))):
                self._made.append(float(value >> KEY_SHIFT & ~SLOT_MASK | self.slot))
            self._used = sorted(self._made[:wanted])
        return self._used


def _hashes(seed: bytes) -> Iterator[int]:
    for number in count():
        digest = blake2b(seed, digest_size=_EIGHT.size, salt=number.to_bytes(blake2b.SALT_SIZE)).digest()
        yield from _EIGHT.unpack(digest)


class Ring:
    """Points on a circle. A change of one upstream moves only its own points, so only the keys next to them.

    `points` are sorted; `owners[int(point) & SLOT_MASK]` is the upstream of a point.
    """

    __slots__ = ("_points_of", "_unused_slots", "owners", "points")

    def __init__(self) -> None:
        self.points: list[float] = []
        self.owners: list[Upstream] = []
        self._points_of: dict[Upstream, _Points] = {}
        self._unused_slots: list[int] = []

    def rebuild(self, candidates: Sequence[Upstream]) -> None:
        """Lay out the points of these, by effective weight. Only newcomers are hashed."""
        staying = set(candidates)
        for upstream in [one for one in self._points_of if one not in staying]:
            self._unused_slots.append(self._points_of.pop(upstream).slot)
        for upstream in candidates:
            if upstream not in self._points_of:
                self._points_of[upstream] = _Points(upstream.id, self._take_slot(upstream))
        # By the weights in the settings: a slow start ramps the effective one only, and moves no others.
        total = POINTS * sum(one.weight for one in candidates)
        scale = POINTS * min(1.0, MOST_POINTS / max(total, 1))
        self.points = sorted(
            chain.from_iterable(
                self._points_of[one].first(max(1, round(scale * one.effective_weight))) for one in candidates
            )
        )

    def _take_slot(self, upstream: Upstream) -> int:
        if self._unused_slots:
            slot = self._unused_slots.pop()
            self.owners[slot] = upstream
        else:
            slot = len(self.owners)
            self.owners.append(upstream)
        return slot
