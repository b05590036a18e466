"""Counts of one side of a route (L7), and what they say. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from balancer.edges import STANDARD, Edges
from balancer.telemetry import columns as c

DURATIONS = slice(c.ROUTE_DURATION, c.ROUTE_DURATION + c.HISTOGRAM_CELLS)
_BEGAN = slice(c.ROUTE_BEGAN, c.ROUTE_BEGAN + c.HISTOGRAM_CELLS)
# Requests that it takes for a verdict: with 100 a share is known to about a percent.
LEAST = 100
# A share is too large only if there are so many more of these requests than it allows: one in 100 is one
# percent.
LEAST_EXCESS = 3


class Tally(NamedTuple):
    """Counts so far: requests, errors (5xx, and responses that broke off), and the times to the first byte as
    the cells of a histogram over `edges`."""

    requests: int
    errors: int
    cells: tuple[int, ...]
    edges: Edges = STANDARD

    def since(self, before: "Tally") -> "Tally":
        """What came after `before`."""
        pairs = zip(self.cells, before.cells, strict=True)
        return Tally(
            self.requests - before.requests,
            self.errors - before.errors,
            tuple(a - b for a, b in pairs),
            self.edges,
        )

    @classmethod
    def of(cls, tallies: Sequence["Tally"]) -> "Tally":
        """All of these together."""
        columns = zip(*(one.cells for one in tallies), strict=True)
        return cls(
            sum(one.requests for one in tallies),
            sum(one.errors for one in tallies),
            tuple(sum(column) for column in columns),
            tallies[-1].edges,
        )

    @property
    def begun(self) -> int:
        """Requests whose response has begun; of the others the client has left before."""
        return sum(self.cells)

    def share(self) -> float:
        """The share of errors."""
        return self.errors / self.requests if self.requests else 0.0

    def slower(self, seconds: float) -> int:
        """Requests whose response began later; `seconds` is one of the bounds."""
        place = self.edges.ns.index(round(seconds * 1e9))
        return sum(self.edges.ascending(self.cells)[place + 1 :])

    def quantile(self, share: float) -> float:
        """Seconds in which this share of the responses began, interpolated within a bucket."""
        found = self.edges.quantiles(self.cells, (share,))
        return found[0] if found else self.edges.bounds[-1] * 2


def exceeds(found: int, share: float, requests: int) -> bool:
    """Whether `found` of `requests` are more than that share of them, and not by chance."""
    return found - share * requests >= LEAST_EXCESS - _ROUNDING


_ROUNDING = 1e-6


def tally(cells: Sequence[int], edges: Edges) -> Tally:
    """What the row of a side says."""
    codes = codes_of(cells)
    errors = sum(count for code, count in codes.items() if code.startswith("5")) + cells[c.ROUTE_BROKEN_OFF]
    return Tally(sum(codes.values()), errors, tuple(first_bytes(cells)), edges)


def codes_of(cells: Sequence[int]) -> dict[str, int]:
    """Responses by status code, zeros left out."""
    width = len(c.CODES)
    by_method = [cells[at * width : (at + 1) * width] for at in range(len(c.METHODS))]
    counts = [sum(column) for column in zip(*by_method, strict=True)]
    return {code: count for code, count in zip(c.CODES, counts, strict=True) if count}


def first_bytes(cells: Sequence[int]) -> list[int]:
    """Times to the first byte, by cell. Never negative: a row may be read while a worker stores it."""
    return [max(0, last + more) for last, more in zip(cells[DURATIONS], cells[_BEGAN], strict=True)]
