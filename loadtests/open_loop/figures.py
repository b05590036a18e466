"""Figures of clients' records: percentiles, and whether the load kept its rate."""

from collections.abc import Sequence
from dataclasses import dataclass

MAX_LAG = 0.05  # seconds; with a higher 99th percentile of lag the load did not keep its rate


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds from the planned time of a request to its end."""

    p50: float
    p99: float
    max: float


def latency(seconds: Sequence[float]) -> Latency:
    """Percentiles by nearest rank; zeros if there are no values."""
    if not seconds:
        return Latency(0.0, 0.0, 0.0)
    ranked = sorted(seconds)
    return Latency(_rank(ranked, 50), _rank(ranked, 99), ranked[-1])


def _rank(ranked: Sequence[float], percent: int) -> float:
    return ranked[max(0, -(-len(ranked) * percent // 100) - 1)]
