"""Figures of what clients saw: percentiles, and whether the load kept its rate."""

from collections.abc import Sequence
from dataclasses import dataclass

MAX_LAG = 0.05  # seconds; a load whose 99th percentile of lag is above did not keep its rate


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds from when a request should have been sent to its end."""

    p50: float
    p99: float
    max: float


def latency(seconds: Sequence[float]) -> Latency:
    """Percentiles by nearest rank; zeros of nothing."""
    if not seconds:
        return Latency(0.0, 0.0, 0.0)
    ranked = sorted(seconds)
    return Latency(_rank(ranked, 50), _rank(ranked, 99), ranked[-1])


def _rank(ranked: Sequence[float], percent: int) -> float:
    return ranked[max(0, -(-len(ranked) * percent // 100) - 1)]
