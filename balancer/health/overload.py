"""When a pool has more to do than its upstreams can (L5). Pure; the supervisor looks, and tells."""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

LOOK = 0.5  # seconds between two looks
# So many looks in a row with requests refused, or with a standing queue, are an overload; so many in a row
# without either are its end. A burst is over before the first, a pause in the overload before the second.
ENTERS = 3
LEAVES = 10
# A queue stands where there is work in it for so many seconds, by how fast the upstreams answer (Little's
# law); a shorter one is a pool well used. How long those have waited who get a slot would not tell: with the
# newest first they have hardly waited at all.
STANDING = 0.25
_SHOWN = 5  # looks that the present rates are taken from


class Load(NamedTuple):
    """What has come to a pool's queue: requests refused so far, and waiting now."""

    refused: int
    waiting: int


class Ends(NamedTuple):
    """How else requests have ended so far: served, and left by their clients before a response began."""

    served: int
    left: int


class Mark(NamedTuple):
    """How far things were at a moment."""

    now_ns: int
    served: int
    refused: int
    left: int


class Figures(NamedTuple):
    """What happened in so many seconds."""

    seconds: float
    served: int
    refused: int
    left: int

    @classmethod
    def between(cls, first: Mark, last: Mark) -> "Figures":
        """Upstreams that have gone took their counts with them: `served` may be too low, never negative."""
        seconds = (last.now_ns - first.now_ns) / 1e9
        served = max(0, last.served - first.served)
        return cls(seconds, served, last.refused - first.refused, last.left - first.left)

    def rates(self) -> tuple[float, float, float]:
        """Served, refused and left per second; 0 where no time has passed."""
        seconds = self.seconds
        if seconds <= 0:
            return 0.0, 0.0, 0.0
        return self.served / seconds, self.refused / seconds, self.left / seconds


class Overload:
    """Whether one pool is overloaded. `now` has the figures of the last seconds, None where it is not."""

    __slots__ = ("_before", "_begin", "_last", "_looks", "_marks", "now")

    def __init__(self) -> None:
        self._before: Load | None = None
        self._looks = 0  # in a row that speak against what is thought now
        self._begin: Mark | None = None  # of the overload, or of what may become one
        self._last: Mark | None = None  # when it was last seen
        self._marks: deque[Mark] = deque(maxlen=_SHOWN)  # of the last looks; none while all is quiet
        self.now: Figures | None = None

    def look(self, now_ns: int, load: Load, ends: Callable[[], Ends]) -> Figures | None:
        """Look at it, every LOOK seconds. Gives figures where it has become overloaded (`now` is set then) or
        has ceased to be (`now` is None): of the time it took to be sure, or of the whole overload.

        `ends` is asked only where needed.
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
