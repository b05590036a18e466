"""Counts, and the rates and percentiles of a window of time (L5). Pure."""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from operator import add, sub
from typing import NamedTuple

from balancer.edges import CELLS, Edges

_PERCENTILES = (0.5, 0.95, 0.99)


class Counts(NamedTuple):
    """Counts so far, of a side of a route or of an upstream. `cells` is the histogram of the times until
    responses began, by cell of `edges`."""

    requests: int
    errors: int  # 5xx, and responses that broke off
    client_errors: int  # 4xx
    retries: int
    received: int  # bytes of request bodies
    sent: int  # bytes of response bodies
    cells: "array[int]"

    def since(self, before: "Counts") -> "Counts":
        """What came after `before`. Never negative: counts may have begun anew in between."""
        if self is before:
            return _NONE
        cells = array("q", map(sub, self.cells, before.cells))
        if min(cells) < 0:
            cells = array("q", [max(0, count) for count in cells])
        return Counts(
            max(0, self.requests - before.requests),
            max(0, self.errors - before.errors),
            max(0, self.client_errors - before.client_errors),
            max(0, self.retries - before.retries),
            max(0, self.received - before.received),
            max(0, self.sent - before.sent),
            cells,
        )

    def plus(self, other: "Counts") -> "Counts":
        """Both together."""
        return Counts(
            self.requests + other.requests,
            self.errors + other.errors,
            self.client_errors + other.client_errors,
            self.retries + other.retries,
            self.received + other.received,
            self.sent + other.sent,
            array("q", map(add, self.cells, other.cells)),
        )


_NONE = Counts(0, 0, 0, 0, 0, 0, array("q", [0]) * CELLS)


def together(counts: Iterable[Counts]) -> Counts | None:
    """The sums; None of nothing."""
    found = list(counts)
    return reduce(Counts.plus, found) if found else None


@dataclass(frozen=True, slots=True)
class Rates:
    """What happened in a window of time, per second; shares are 0 to 1, percentiles ms until responses began.
    None without requests."""

    rps: float
    n: int  # requests in the window
    errors: float | None
    client_errors: float | None
    p50: float | None
    p95: float | None
    p99: float | None
    received: float  # bytes of request bodies
    sent: float  # bytes of response bodies


NOTHING = Rates(0.0, 0, None, None, None, None, None, 0.0, 0.0)


def rates(counts: Counts | None, seconds: float, edges: Edges) -> Rates:
    """Of what was counted in so many seconds."""
    if counts is None or seconds <= 0:
        return NOTHING
    n = counts.requests
    if not n and not counts.received and not counts.sent:
        return NOTHING
    p50, p95, p99 = percentiles(counts.cells, edges)
    return Rates(
        rps=round(n / seconds, 2),
        n=n,
        errors=share(counts.errors, n),
        client_errors=share(counts.client_errors, n),
        p50=p50,
        p95=p95,
        p99=p99,
        received=round(counts.received / seconds),
        sent=round(counts.sent / seconds),
    )


def share(part: float, of: float) -> float | None:
    """0 to 1; None of nothing."""
    return round(min(1.0, part / of), 5) if of else None


def percentiles(cells: "array[int]", edges: Edges) -> tuple[float | None, float | None, float | None]:
    """p50, p95 and p99 in ms, None without a response."""
    found = edges.quantiles(cells, _PERCENTILES)
    if not found:
        return None, None, None
    p50, p95, p99 = found
    return round(p50 * 1000, 3), round(p95 * 1000, 3), round(p99 * 1000, 3)
