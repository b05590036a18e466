"""What one upstream did over a short time, from counters that are kept anyway.

Off the request path: adaptive limits take a sample from time to time, at no cost to requests.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from balancer.edges import STANDARD, Edges

_LOW: Final = 0.1  # quantile
_BEYOND: Final = 2  # times the last bound: assumed upper bound of the histogram's last, open bucket


class Sample(NamedTuple):
    """The counters of an upstream at `now`, in seconds. `mine` are this worker's requests that await their
    first byte, `given` its answers so far. The rest is for all workers: `awaiting` as `mine`, and so far the
    `answers` by cell of a histogram over `edges`, their `total`, the sum of their latencies in nanoseconds,
    the clients that `left`, and the time that requests awaited their first byte, in seconds times requests
    (`waited`).

    Looks are more frequent than samples: `looks` at the pool so far, and of these `full` found this worker's
    requests at its limit while others waited for a slot."""

    now: float
    mine: int
    given: int
    awaiting: int
    answers: Sequence[int]
    total: int
    answered_ns: int
    left: int
    waited: float
    looks: int
    full: int
    edges: Edges = STANDARD


@dataclass(frozen=True, slots=True)
class Window:
    """`seconds` of traffic at an upstream, with `answers` first bytes; this worker got `own_rate` per second.

    `mean` and `low` (the first decile, as exact as buckets allow) are times to the first byte in seconds, 0
    without answers. Requests that await their first byte: their number at the end (`awaiting`), on average
    (`mean_awaiting`), and the increase since the start (`grown`). `left` clients left without an answer.
    `full` is the share of looks in which this worker's requests were at its limit.
    """

    seconds: float
    answers: int
    own_rate: float
    mean: float
    low: float
    awaiting: int
    mean_awaiting: float
    grown: int
    left: int
    full: float

    @property
    def rate(self) -> float:
        """Answers per second."""
        return self.answers / self.seconds


class RunningWindow:
    """A window in progress, which ends when it is long enough."""

    __slots__ = ("_first", "_last")

    def __init__(self, first: Sample) -> None:
        self._first = self._last = first

    def went_back(self, sample: Sample) -> bool:
        """Whether `sample` has lower counts than before: a worker was replaced, and its counts with it."""
        return sample.answered_ns < self._last.answered_ns or sample.left < self._last.left

    def was_full(self, sample: Sample) -> bool:
        """Whether a look since the last sample found the limit reached."""
        return sample.full > self._last.full

    def observe(self, sample: Sample) -> tuple[float, int]:
        """Extend the window to `sample`. Returns the seconds and the answers since its start."""
        self._last = sample
        first = self._first
        return sample.now - first.now, sample.total - first.total

    @property
    def is_silent(self) -> bool:
        """Whether there was no answer since the start."""
        return self._last.total == self._first.total

    @property
    def left(self) -> int:
        """Clients that left since the start."""
        return self._last.left - self._first.left

    def end(self) -> Window:
        """Returns the window up to the last sample."""
        first, last = self._first, self._last
        by_cell = [now - then for now, then in zip(last.answers, first.answers, strict=True)]
        answers = sum(by_cell, 0)
        seconds = last.now - first.now
        return Window(
            seconds=seconds,
            answers=answers,
            own_rate=(last.given - first.given) / seconds,
            mean=(last.answered_ns - first.answered_ns) / 1e9 / answers if answers > 0 else 0.0,
            low=_low(by_cell, answers, last.edges) if answers > 0 else 0.0,
            awaiting=last.awaiting,
            mean_awaiting=(last.waited - first.waited) / seconds,
            grown=last.awaiting - first.awaiting,
            left=last.left - first.left,
            full=(last.full - first.full) / (last.looks - first.looks),
        )


def _low(by_cell: Sequence[int], answers: int, edges: Edges) -> float:
    wanted = _LOW * answers
    seen = 0
    below = 0.0
    bounds = edges.bounds
    for count, bound in zip(edges.ascending(by_cell), (*bounds, _BEYOND * bounds[-1]), strict=True):
        if seen + count >= wanted:
            return below + (bound - below) * (wanted - seen) / count
        seen += count
        below = bound
    return below
