"""When a pool is overloaded: its load exceeds its capacity (L5). Pure; the supervisor samples and reports."""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

LOOK = 0.5  # seconds between two samples
# ENTERS samples in a row with refused requests or with a standing queue begin an overload; LEAVES samples in
# a row without either end it. A burst is shorter than the first, a pause within an overload than the second.
ENTERS = 3
LEAVES = 10
# A queue is standing if it holds work for this many seconds, at the upstreams' present throughput (Little's
# law); with a shorter one the pool is well used. The waiting time of served requests would not show it: if
# the newest are served first, they have hardly waited.
STANDING = 0.25
_SHOWN = 5  # samples from which the present rates are computed


class Load(NamedTuple):
    """A pool's queue: requests refused so far, and waiting now."""

    refused: int
    waiting: int


class Ends(NamedTuple):
    """Other ends of requests so far: served, and abandoned by their clients before a response began."""

    served: int
    left: int


class Mark(NamedTuple):
    """The counters at one moment."""

    now_ns: int
    served: int
    refused: int
    left: int


class Figures(NamedTuple):
    """What happened within `seconds`."""

    seconds: float
    served: int
    refused: int
    left: int

    @classmethod
    def between(cls, first: Mark, last: Mark) -> "Figures":
        """The difference. Counts of removed upstreams are lost: `served` may be too low, but not negative."""
        seconds = (last.now_ns - first.now_ns) / 1e9
        served = max(0, last.served - first.served)
        return cls(seconds, served, last.refused - first.refused, last.left - first.left)

    def rates(self) -> tuple[float, float, float]:
        """Served, refused and left per second; 0 if no time has passed."""
        seconds = self.seconds
        if seconds <= 0:
            return 0.0, 0.0, 0.0
        return self.served / seconds, self.refused / seconds, self.left / seconds


class Overload:
    """Whether one pool is overloaded. `now` has the figures of the last samples, None if it is not."""

    __slots__ = ("_before", "_begin", "_last", "_looks", "_marks", "now")

    def __init__(self) -> None:
        self._before: Load | None = None
        self._looks = 0  # samples in a row that contradict the present state
        self._begin: Mark | None = None  # of the overload, or of a possible one
        self._last: Mark | None = None  # the last sample under pressure
        self._marks: deque[Mark] = deque(maxlen=_SHOWN)  # of the last samples; empty without pressure
        self.now: Figures | None = None

    def look(self, now_ns: int, load: Load, ends: Callable[[], Ends]) -> Figures | None:
        """Take a sample, every LOOK seconds. Returns figures if an overload has begun (`now` is set then;
        they cover the time until it was certain) or ended (`now` is None then; they cover all of it).

        `ends` is called only if needed.
        """
        before, self._before = self._before, load
        refuses = before is not None and load.refused > before.refused
        if not refuses and not load.waiting and self._begin is None:
            self._marks.clear()
            return None
        served, left = ends()
        mark = Mark(now_ns, served, load.refused, left)
        previous = self._marks[-1] if self._marks else mark
        self._marks.append(mark)
        pressed = refuses or (before is not None and _stands(before, load, Figures.between(previous, mark)))
        if pressed:
            self._begin = self._begin or previous
            self._last = mark
        overloaded = self.now is not None
        self._looks = self._looks + 1 if pressed is not overloaded else 0
        if overloaded:
            self.now = Figures.between(self._marks[0], mark)
            if self._looks >= LEAVES:
                return self._ends()
        elif self._looks >= ENTERS and self._begin is not None:
            self._looks = 0
            self.now = Figures.between(self._begin, mark)
            return self.now
        elif not pressed:
            self._begin = None
        return None

    def _ends(self) -> Figures:
        begin, last = self._begin, self._last
        assert begin is not None
        assert last is not None
        self._looks = 0
        self._begin = self._last = self.now = None
        return Figures.between(begin, last)


def _stands(before: Load, load: Load, since: Figures) -> bool:
    shortest = min(before.waiting, load.waiting)
    return shortest > 0 and since.seconds > 0 and shortest * since.seconds >= STANDING * since.served
