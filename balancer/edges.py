"""The bounds of the histograms of an instance (L0), and which cell of a row counts what.

A histogram has CELLS cells in a row of the stats segment. The first one counts what is above all bounds, each
other one what is above the next lower bound and up to its own. A bound that an instance gets while it runs
takes the next unused cell. So workers that know it and draining ones that do not may count side by side: what
the latter have counted between its two neighbours is taken to be above it.
"""

from collections.abc import Iterable, Sequence
from typing import Final

# In seconds. They are always counted: limits that are found by latency need them, whatever is exported.
DEFAULT: Final[tuple[float, ...]] = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip
MOST_OWN: Final = 12  # bounds besides the default ones: the layout of a row is fixed
CELLS: Final = 27
assert 1 + len(DEFAULT) + MOST_OWN == CELLS

BEYOND_NS: Final = 1 << 61  # longer than anything that is measured


class Edges:
    """`order` are the bounds in seconds, in the order of their cells, `bounds` and `ns` the same ones
    ascending, in seconds and nanoseconds. `cells` has the cell of each bucket, ascending; the last one is for
    what is above all bounds. `width` cells of a histogram are in use."""

    __slots__ = ("bounds", "cells", "ns", "order", "width")

    def __init__(self, order: Sequence[float] = DEFAULT) -> None:
        ranked = sorted(range(len(order)), key=order.__getitem__)
        self.order = tuple(order)
        self.bounds = tuple([order[at] for at in ranked])
        self.ns = tuple([round(bound * 1e9) for bound in self.bounds])
        self.cells = (*[at + 1 for at in ranked], 0)
        self.width = len(order) + 1

    def bucket(self, ns: int) -> int:
        """The place of a duration among the buckets, ascending."""
        place = 0
        for bound in self.ns:
            if ns <= bound:
                break
            place += 1
        return place

    def cell(self, ns: int) -> int:
        """The cell of a histogram that counts a duration."""
        return self.cells[self.bucket(ns)]

    def ascending(self, histogram: Sequence[int]) -> list[int]:
        """The counts of a histogram's cells by bucket, ascending, the last one for what is above all."""
        return [histogram[cell] for cell in self.cells]

    def quantiles(self, histogram: Sequence[int], shares: Sequence[float]) -> list[float]:
        """Seconds that these shares of the counted durations do not exceed, interpolated within a bucket; the
        one above all bounds is taken to end at twice the last one. `histogram` is by cell, `shares` ascend.
        Empty if nothing was counted."""
        total = sum(histogram, 0)  # mypyc wants to know where it starts
        if not total:
            return []
        found: list[float] = []
        seen, low, place = 0, 0.0, 0
        for bucket, cell in enumerate(self.cells):
            high = self.bounds[bucket] if bucket < len(self.bounds) else 2 * low
            count = histogram[cell]
            if count:
                while place < len(shares) and seen + count >= shares[place] * total:
                    found.append(low + (high - low) * (shares[place] * total - seen) / count)
                    place += 1
                if place == len(shares):
                    break
                seen += count
            low = high
        return found


STANDARD: Final = Edges()  # without own ones


def with_own(order: Sequence[float], wanted: Iterable[float]) -> tuple[float, ...]:
    """The bounds in the order of their cells, if those in `wanted` are counted besides `order`. There may be
    too many: more than CELLS - 1."""
    known = {round(bound * 1e9) for bound in order}
    new = {round(bound * 1e9): bound for bound in wanted}
    return (*order, *(bound for ns, bound in sorted(new.items()) if ns not in known))
