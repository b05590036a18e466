"""The first limit of an upstream is a trial: it has to show that there was a backlog (pure).

If there was one, the upstream answers as many as before: what was above the limit only waited there. If not,
the app is only slower than it was: it answers fewer, as fewer are there, and the limit has to go.
"""

from __future__ import annotations

from enum import Enum, auto

from balancer.limits.window import RunningWindow, Sample, Window

_AT_MOST = 0.75  # of the answers as there were before, where the limit is nearly what was there
_HARDLY = 0.45  # with so much less one window is enough to say that it was none
_DOUBT_WINDOWS = 2  # in a row with fewer answers
_LEAVING_WINDOWS = 5  # in which clients leave, which tell nothing, before it is given up
_UNJUDGED_SECONDS = 10.0  # at most, for which it may be busy with requests whose clients are gone
_DRY_SECONDS, _DRY_ANSWERS = 0.25, 20
_FEW = 20  # one in so many of those who were there may leave


class Verdict(Enum):
    """What a window under the first limit has shown."""

    BACKLOG = auto()
    NONE = auto()  # there was no backlog
    LEAVING = auto()  # nothing, as too many leave
    OPEN = auto()  # nothing yet


class Trial:
    """One trial, from the moment at which the limit is in force."""

    __slots__ = ("_began", "_doubts", "_few_gone", "_rate", "_settling", "_still", "_tries")

    def __init__(self, sample: Sample, *, limit: int, rate: float, left: int) -> None:
        """`rate`: it answered so many a second before. `left` clients have lately."""
        self._began = sample.now
        self._rate = rate
        # Half way between as many as before, and as many as are let in.
        self._still = min(_AT_MOST, (1 + limit / max(1, sample.mine)) / 2)
        self._few_gone = sample.left - left + sample.awaiting // _FEW
        self._settling = RunningWindow(sample)
        self._doubts = 0
        self._tries = 0

    def runs_dry(self, sample: Sample) -> Window | None:
        """While what was sent before is answered: the last moments, if they show that it was no backlog. A
        backlog is worked off as fast to its end, unless it is of those who have left; who is only slow has
        ever fewer to answer."""
        seconds, answers = self._settling.observe(sample, False)
        expected = self._rate * seconds
        if seconds < _DRY_SECONDS or expected < _DRY_ANSWERS:
            return None
        lately = self._settling.end()
        self._settling = RunningWindow(sample)
        if answers >= _HARDLY * expected or sample.left > self._few_gone:
            self._doubts = 0
            return None
        self._doubts += 1
        return lately if self._doubts >= _DOUBT_WINDOWS else None

    def begin_anew(self, sample: Sample) -> None:
        """What was counted until now does not count any more."""
        self._settling = RunningWindow(sample)
        self._few_gone = sample.left + sample.awaiting // _FEW
        self._doubts = 0

    def judge(self, now: float, window: Window, may_be_lower: bool) -> Verdict:
        """What `window` shows, which began when what had been sent before the limit was answered, or had its
        time. `may_be_lower`: the limit, if too many leave to tell."""
        if window.left > window.answers and now - self._began < _UNJUDGED_SECONDS:
            return Verdict.OPEN
        if may_be_lower and self._tries < _LEAVING_WINDOWS and window.left > window.answers / 5:
            self._tries += 1
            self._doubts = 0
            return Verdict.LEAVING
        if window.rate >= self._still * self._rate:
            return Verdict.BACKLOG
        self._doubts += 1 if window.rate > _HARDLY * self._rate else _DOUBT_WINDOWS
        return Verdict.NONE if self._doubts >= _DOUBT_WINDOWS else Verdict.OPEN
