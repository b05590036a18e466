"""The demo's table, pure: turns the answer of `GET /api/pools` into rows of text (L7)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

HEADINGS = ("replica", "state", "requests", "share", "inflight", "p50", "p95")
UNKNOWN = "-"
EJECTED = "ejected"
PROBATION = "probation"


@dataclass(frozen=True, slots=True)
class ReplicaStats:
    """What the balancer has counted for one app replica since it started.

    `bounds` are the upper bounds of the first-byte histogram in seconds; `counts` has one more element, for
    everything above the last bound, and is not cumulative.
    """

    address: str
    state: str
    requests: int
    inflight: int
    bounds: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One replica's line, in the order of HEADINGS."""

    replica: str
    state: str
    requests: str
    share: str
    inflight: str
    p50: str
    p95: str

    @property
    def cells(self) -> tuple[str, ...]:
        return (self.replica, self.state, self.requests, self.share, self.inflight, self.p50, self.p95)


def read_stats(pools: Mapping[str, Any]) -> list[ReplicaStats]:
    """The upstreams of all pools in an answer of `GET /api/pools`; KeyError if a field is missing."""
    return [
        ReplicaStats(
            address=upstream["address"],
            state=_state(upstream),
            requests=upstream["requests"],
            inflight=upstream["inflight"],
            bounds=tuple(pools["first_byte_bounds"]),
            counts=tuple(upstream["first_byte_buckets"]),
        )
        for pool in pools["pools"]
        for upstream in pool["upstreams"]
    ]


def _state(upstream: Mapping[str, Any]) -> str:
    if upstream["admin_state"] != "active":
        return str(upstream["admin_state"])
    if upstream["causes"]:
        return EJECTED
    return PROBATION if upstream["on_probation"] else "active"


def rows(stats: Sequence[ReplicaStats], names: Mapping[str, str]) -> list[Row]:
    """One row per replica in the order given; `names` maps an address to the replica's name."""
    total = sum(one.requests for one in stats)
    return [
        Row(
            replica=names.get(one.address, one.address),
            state=one.state,
            requests=f"{one.requests:,}",
            share=f"{one.requests / total:.0%}" if total else UNKNOWN,
            inflight=str(one.inflight),
            p50=_milliseconds(quantile(0.50, one.bounds, one.counts)),
            p95=_milliseconds(quantile(0.95, one.bounds, one.counts)),
        )
        for one in stats
    ]


def quantile(q: float, bounds: Sequence[float], counts: Sequence[int]) -> float | None:
    """The q-quantile of a histogram, estimated as by Prometheus' histogram_quantile; None if it is empty.

    Values are assumed to be spread evenly over their bucket, the first one starting at 0; above the last
    bound nothing is known, so the result is that bound.
    """
    total = sum(counts)
    if total == 0:
        return None
    rank = q * total
    below = 0
    lower = 0.0
    for upper, count in zip(bounds, counts, strict=False):
        if count and below + count >= rank:
            return lower + (upper - lower) * (rank - below) / count
        below += count
        lower = upper
    return lower


def plain_lines(table: Sequence[Row]) -> list[str]:
    """The heading and one line per replica, in columns: for output that is not a terminal."""
    lines = [HEADINGS, *(row.cells for row in table)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    return [
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]


def _milliseconds(seconds: float | None) -> str:
    if seconds is None:
        return UNKNOWN
    return f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"
