"""The trial: an upstream's first limit has to prove that there was a backlog (pure).

If there was one, the upstream answers as many as before: requests above the limit only waited there. If not,
the app has just become slower: it answers fewer, as fewer are there, and the limit must be removed.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from balancer.limits.window import RunningWindow, Sample, Window

_AT_MOST: Final = 0.75  # the largest share of the earlier rate that a trial has to keep
_HARDLY: Final = 0.45  # below this share of the earlier rate one window proves that there was no backlog
_DOUBT_WINDOWS: Final = 2  # consecutive windows with fewer answers
# inconclusive windows, as clients leave, before the trial is decided all the same
_LEAVING_WINDOWS: Final = 5
_UNJUDGED_SECONDS: Final = 10.0  # at most, in which it may be busy with requests whose clients have left
_DRY_SECONDS: Final = 0.25
_DRY_ANSWERS: Final = 20
_FEW: Final = 20  # one in this many of the requests that were there may be abandoned


class Verdict(Enum):
    """What a window under the first limit has shown."""

    BACKLOG = auto()
    NONE = auto()  # there was no backlog
    LEAVING = auto()  # inconclusive, as too many clients leave
    OPEN = auto()  # inconclusive so far


class Trial:
    """One trial, from the moment the limit is in force."""

    __slots__ = ("_began", "_doubts", "_few_gone", "_rate", "_settling", "_still", "_tries")

    def __init__(self, sample: Sample, *, limit: int, rate: float, left: int) -> None:
        """`rate`: its answers per second before. `left`: clients that left recently."""
        self._began = sample.now
        self._rate = rate
        # Half way between the rate before and one reduced in proportion to the limit.
        self._still = min(_AT_MOST, (1 + limit / max(1, sample.mine)) / 2)
        self._few_gone = sample.left - left + sample.awaiting // _FEW
        self._settling = RunningWindow(sample)
        self._doubts = 0
        self._tries = 0

    def runs_dry(self, sample: Sample) -> Window | None:
        """While earlier requests are still being answered: returns the last moments as a window if they prove
        that there was no backlog. A backlog is worked off at full rate to its end, unless its clients have
        left; an app that is only slow has ever fewer requests to answer."""
        seconds, answers = self._settling.observe(sample)
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
        """Discard everything counted so far."""
        self._settling = RunningWindow(sample)
        self._few_gone = sample.left + sample.awaiting // _FEW
        self._doubts = 0

    def judge(self, now: float, window: Window, may_be_lower: bool) -> Verdict:
        """What `window` shows. It began after requests sent before the limit had been answered, or had their
        time. `may_be_lower`: the limit can be lowered if too many clients leave to decide."""
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
