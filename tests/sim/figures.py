"""The outcomes of the requests, second by second."""

from collections import Counter
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import NamedTuple


class End(StrEnum):
    """How a request ended, from its client's view."""

    SERVED = "served"
    REFUSED = "refused"  # 503 made by the balancer
    LEFT = "left"  # the client left


class Record(NamedTuple):
    """One request; times in seconds from the start."""

    came: float
    ended: float
    end: End
    reason: str  # the reason of a refusal
    route: str

    @property
    def took(self) -> float:
        return self.ended - self.came


class Figures:
    """All requests of a scene, and its late health checks."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.probes_late: list[float] = []  # when a health check timed out

    def came(self, begin: float, end: float) -> Counter[End]:
        """The outcomes of the requests that arrived between the two."""
        return Counter(one.end for one in self.records if begin <= one.came < end)

    def ended(self, begin: float, end: float) -> Counter[End]:
        """The outcomes of the requests that ended between the two."""
        return Counter(one.end for one in self.records if begin <= one.ended < end)

    def goodput(self, begin: int, end: int) -> list[int]:
        """Requests served in each of these seconds."""
        served = Counter(int(one.ended) for one in self.records if one.end is End.SERVED)
        return [served[second] for second in range(begin, end)]

    def latency(self, share: float, begin: float = 0.0, end: float = float("inf")) -> float:
        """The latency quantile of the requests served between the two."""
        return percentile(self._took(lambda one: begin <= one.ended < end), share)

    def reasons(self) -> Counter[str]:
        """Why requests were refused."""
        return Counter(one.reason for one in self.records if one.end is End.REFUSED)

    @property
    def last_failure(self) -> float:
        """When the last unserved request ended; 0 if all were served."""
        return max((one.ended for one in self.records if one.end is not End.SERVED), default=0.0)

    def _took(self, counts: Callable[[Record], bool]) -> list[float]:
        return sorted(one.took for one in self.records if one.end is End.SERVED and counts(one))

    def table(self) -> str:
        """A readable table: one line per second."""
        last = int(max((one.ended for one in self.records), default=0.0))
        lines = ["  s   came served refused   left  p50 ms  p99 ms"]
        by_second: list[list[Record]] = [[] for _ in range(last + 1)]
        came: Counter[int] = Counter()
        for one in self.records:
            by_second[int(one.ended)].append(one)
            came[int(one.came)] += 1
        for second, records in enumerate(by_second):
            ends = Counter(one.end for one in records)
            took = sorted(one.took for one in records if one.end is End.SERVED)
            lines.append(
                f"{second:3d} {came[second]:6d} {ends[End.SERVED]:6d} {ends[End.REFUSED]:7d} "
                f"{ends[End.LEFT]:6d} {percentile(took, 0.5) * 1e3:7.0f} {percentile(took, 0.99) * 1e3:7.0f}"
            )
        reasons = ", ".join(f"{count} x {reason}" for reason, count in sorted(self.reasons().items()))
        return "\n".join([*lines, f"refused: {reasons or 'none'}; late checks: {len(self.probes_late)}"])


def percentile(ordered: list[float], share: float) -> float:
    """0 if there are none."""
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0


def least(counts: Iterable[int]) -> int:
    """The worst second."""
    return min(counts, default=0)
