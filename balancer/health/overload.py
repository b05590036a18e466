"""When a pool has more to do than its upstreams can (L4). Pure; the supervisor looks, and tells."""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

LOOK = 0.5  # seconds between two looks
# So many looks in a row with requests refused, or with a line that stands, are an overload; so many in a row
# without either are its end. A burst is over before the first, a pause in the overload before the second.
ENTERS = 3
LEAVES = 10
# A line stands where those who come out of it have waited so long on the average; one that is always short is
# a pool well used.
STANDING_NS = 250_000_000
_SHOWN = 5  # looks that the present rates are taken from


class Load(NamedTuple):
    """What a pool's line has come to: requests refused so far, waiting now, and so far got a place after all,
    with how long these had waited together, in nanoseconds."""

    refused: int
    waiting: int
    waits: int
    waited_ns: int


class Mark(NamedTuple):
    """How far things were at a moment: requests served and refused so far."""

    now_ns: int
    served: int
    refused: int


class Figures(NamedTuple):
    """What happened in so many seconds."""

    seconds: float
    served: int
    refused: int

    @classmethod
    def between(cls, first: Mark, last: Mark) -> "Figures":
        """Upstreams that have gone took their counts with them: `served` may be too low, never negative."""
        seconds = (last.now_ns - first.now_ns) / 1e9
        return cls(seconds, max(0, last.served - first.served), last.refused - first.refused)

    def rates(self) -> tuple[float, float]:
        """Served and refused per second; 0 where no time has passed."""
        if self.seconds <= 0:
            return 0.0, 0.0
        return self.served / self.seconds, self.refused / self.seconds


class Overload:
    """Whether one pool is overloaded. `now` has the figures of the last seconds, None where it is not."""

    __slots__ = ("_before", "_begin", "_last", "_looks", "_marks", "now")

    def __init__(self) -> None:
        self._before: Load | None = None
        self._looks = 0  # in a row that speak against what is thought now
        self._begin: Mark | None = None  # of the overload, or of what may become one
        self._last: Mark | None = None  # when it was last seen
        self._marks: deque[Mark] = deque(maxlen=_SHOWN)
        self.now: Figures | None = None

    def look(self, now_ns: int, load: Load, served: Callable[[], int]) -> Figures | None:
        """Look at it, every LOOK seconds. Gives figures where it has become overloaded (`now` is set then) or
        has ceased to be (`now` is None): of the time it took to be sure, or of the whole overload.

        `served` tells how many requests the upstreams have answered so far; it is asked only where needed.
        """
        pressed = self._is_pressed(load)
        self._before = load
        if self._begin is None and not pressed:
            return None
        mark = Mark(now_ns, served(), load.refused)
        begin = self._begin = self._begin or mark
        self._marks.append(mark)
        if pressed:
            self._last = mark
        overloaded = self.now is not None
        self._looks = self._looks + 1 if pressed is not overloaded else 0
        if self._looks >= (LEAVES if overloaded else ENTERS):
            self._looks = 0
            if not overloaded:
                self.now = Figures.between(begin, mark)
                return self.now
            return Figures.between(begin, self._end() or mark)
        if overloaded:
            self.now = Figures.between(self._marks[0], mark)
        elif not pressed:
            self._end()
        return None

    def _is_pressed(self, load: Load) -> bool:
        before = self._before
        if before is None:
            return False  # what was counted before the first look was not now
        if load.refused > before.refused:
            return True
        if not load.waiting or not before.waiting:
            return False
        came_out = load.waits - before.waits
        return not came_out or load.waited_ns - before.waited_ns >= STANDING_NS * came_out

    def _end(self) -> Mark | None:
        """It is over, or was none; when it was last seen."""
        last = self._last
        self._begin = self._last = self.now = None
        self._marks.clear()
        return last
