"""Which bounds the histograms of the metrics have (L2): all are counted, and those that were chosen are
shown."""

from collections.abc import Iterable, Sequence
from itertools import accumulate

from balancer.edges import DEFAULT, STANDARD, Edges


class Buckets:
    """The bounds in `shown`, in seconds, as far as they are among `edges`."""

    __slots__ = ("_edges", "_ends")

    def __init__(self, edges: Edges = STANDARD, shown: Iterable[float] = DEFAULT) -> None:
        wanted = {round(bound * 1e9) for bound in shown}
        self._edges = edges
        self._ends = [
            (repr(bound), place)
            for place, (bound, ns) in enumerate(zip(edges.bounds, edges.ns, strict=True))
            if ns in wanted
        ]

    def cumulated(self, histogram: Sequence[int]) -> list[tuple[str, int]]:
        """The text of each bound with the count up to it, for the cells of a histogram."""
        sums = list(accumulate(self._edges.ascending(histogram)))
        return [*((text, sums[place]) for text, place in self._ends), ("+Inf", sums[-1])]
