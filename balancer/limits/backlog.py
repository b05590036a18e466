"""Detects an upstream's growing backlog: learns what is usual there, and what differs from it (pure).

A slower first byte than usual may have three causes. The app may be slower: then latency rises at once, or
changes while responses keep up with requests. A burst may have arrived: then the backlog shrinks. Or load
exceeds the upstream's capacity: then it answers as many as usual, while more and more requests wait, each
longer than the one before. Only this is a reason to limit it.
"""

from __future__ import annotations

from math import exp, log, sqrt
from typing import Final, TypeAlias

from balancer.limits.window import Window

# There is a backlog if even the fastest tenth waits _TIMES_USUAL times as long as usual, and at least this
# much longer: a smaller delay is not noticeable.
_TIMES_USUAL: Final = 3.0
_LEAST_WAIT_SECONDS: Final = 0.05
# Random growth has a standard deviation of about the square root of the counts. This many are significant.
_SIGNIFICANT: Final = 3.0
_LONGER: Final = 1.3  # the latency at the end of the growth must be this many times that at its start
_STEADY_ANSWERS: Final = 20  # answers over which their rate is averaged
_UNANSWERED: Final = 0.03  # the smallest share of the requests that goes into the backlog
# If the request rate is below _MORE times the usual, the backlog must grow over _WHILES periods in a row,
# each of _WHILE_SECONDS or 1.5 times the latency, and each time by _LIKELY deviations.
_MORE: Final = 1.3
_WHILE_SECONDS: Final = 2.0
_WHILES: Final = 3
_LIKELY: Final = 3.0
_AS_MANY_ANSWERS: Final = 0.8  # of the usual number; with fewer it is the upstream that has changed
# seconds in which the recent answer rate fades to a third, and a lower unloaded time
_LATELY_SECONDS: Final = 2.0
_MEMORY_SECONDS: Final = 5.0  # seconds in which what was usual fades to a third
_CORRECTED_SECONDS: Final = 20.0  # the same for corrections made while a limit was in force
# Growth shows in the number of waiting requests before it shows in latency: what was learned in its first
# moments is discarded. They last at most this long, or twice the latency.
_RECALL_SECONDS: Final = 1.0
_RISE_SECONDS: Final = 60.0  # seconds in which the unloaded time may triple; fewer while little is known


_Usual: TypeAlias = tuple[float, float, float]  # requests waiting, answers per second, arrivals per second


class BacklogDetector:
    """Takes each window in which the upstream had no limit (`weigh`), and those in which it had one (`held`).

    `unloaded` is the latency of its fastest answers, in seconds; `service` the average time in seconds from
    sending a request to its first byte while there is no backlog. `rate` is its recent rate of answers per
    second, `usual_rate` that without a backlog, with on average `usual_awaiting` requests waiting for their
    first byte. `suspicious`: the last window looked like a backlog; `swelled`: with more arrivals than usual.
    """

    __slots__ = ("_answers", "_before", "_before_at", "_began", "_began_with", "_calm", "_checked",
                 "_checked_awaiting", "_checked_mean", "_first", "_grew_from", "_grown", "_left",
                 "_pace", "_recent", "_to_wait", "_usual_arrivals", "_waited", "rate",
                 "service", "suspicious", "swelled", "unloaded", "usual_awaiting", "usual_rate")  # fmt: skip

    def __init__(self) -> None:
        self.unloaded = 0.0
        self.rate = 0.0
        self.service = 0.0
        self.usual_rate = 0.0
        self.suspicious = False
        self.swelled = True
        self.usual_awaiting = 0.0
        self._usual_arrivals = 0.0  # per second
        self._before: tuple[_Usual, _Usual] | None = None  # what was usual some time ago
        self._before_at = self._first = 0.0
        self._recent: _Usual = (0.0, 0.0, 0.0)
        self._calm = 0.0  # when the number of waiting requests was last usual
        # since it became suspicious
        self._began = 0.0
        self._answers = 0
        self._left = 0
        self._began_with = 0
        self._grew_from = 0
        self._waited = 0.0
        self._pace = 0.0
        self._to_wait = 0.0
        self._checked = 0.0  # when further growth of the backlog was last checked; 0 = not yet
        self._checked_awaiting = 0
        self._checked_mean = 0.0
        self._grown = 0  # consecutive checks that found growth

    def observe(self, now: float, awaiting: int) -> None:
        """`awaiting` requests wait for their first byte."""
        if awaiting <= 2 * self.usual_awaiting + 1:
            self._calm = now

    def weigh(self, now: float, window: Window) -> bool:
        """A window has ended. Returns whether a growing backlog is now proven."""
        self._learn(now, window)
        low = window.low
        if low < _TIMES_USUAL * self.unloaded or low < self.unloaded + _LEAST_WAIT_SECONDS:
            if self.suspicious:
                self.suspicious = False
                self.swelled = True
                self._take_for_usual(self._recent)
            return False
        if not self.suspicious:
            self.suspicious = True
            self.recall()
            self._began = now - window.seconds
            self._answers = self._left = self._grown = 0
            self._checked = 0.0
            self._grew_from = self._began_with = window.awaiting - window.grown
            self._waited = window.mean
            self._pace = window.rate
            self._to_wait = self._grew_from / window.rate
        self._answers += window.answers
        self._left += window.left
        lasted = now - self._began
        growth = window.awaiting - self._grew_from
        if self._answers < _AS_MANY_ANSWERS * self.rate * lasted:
            # It answers fewer than before: growth counts from here, where that has become usual.
            self._grew_from = window.awaiting
            growth = 0
            self._waited = window.mean
            self._to_wait = window.awaiting / window.rate
        usual = self._usual_arrivals * lasted
        came = self._answers + self._left + window.awaiting - self._began_with
        if came < _MORE * usual + _SIGNIFICANT * sqrt(usual):
            return self._grows_on(now, window)
        self.swelled = True
        self._pace += (window.rate - self._pace) * min(1.0, window.answers / _STEADY_ANSWERS)
        return (
            growth >= _SIGNIFICANT * sqrt(window.awaiting + self._grew_from)
            and growth + self._left >= _UNANSWERED * self._answers
            and window.mean >= _LONGER * self._waited
            and window.awaiting / self._pace >= _LONGER * self._to_wait
            and now - self._calm >= window.mean  # a change that is over within one wait does not count
        )

    def _grows_on(self, now: float, window: Window) -> bool:
        """Load is as usual, so the upstream either answers fewer, or is slower. If it is only slower, the
        number in flight soon settles at a new level; so the backlog has to keep growing for longer."""
        if not self._checked:
            self._check(now, window, 0)
        elif now - self._checked >= max(_WHILE_SECONDS, 1.5 * window.mean):
            before = self._checked_awaiting
            grows = (
                window.awaiting - before >= _LIKELY * sqrt(window.awaiting + before)
                and window.mean > self._checked_mean
            )
            self._check(now, window, self._grown + 1 if grows else 0)
        self.swelled = False
        return self._grown >= _WHILES

    def _check(self, now: float, window: Window, grown: int) -> None:
        self._checked = now
        self._checked_awaiting = window.awaiting
        self._checked_mean = window.mean
        self._grown = grown

    def rate_while_suspicious(self, now: float) -> float:
        """Answers per second since it became suspicious, or recently if it is not."""
        lasted = now - self._began
        return self._answers / lasted if self.suspicious and lasted > 0 and self._answers else self.rate

    def begin_like(self, other: BacklogDetector) -> None:
        """Assume what is usual for `other` until more is known."""
        self.unloaded = other.unloaded
        self.service = other.service
        self.rate = other.rate
        self._usual_arrivals = other._usual_arrivals
        self.usual_rate = other.usual_rate
        self.usual_awaiting = other.usual_awaiting

    def begin_anew(self) -> None:
        """Judge what follows on its own, with the current `service`."""
        self.suspicious = False
        self.swelled = True
        self.usual_awaiting = self.service * self.usual_rate
        if self._before is not None:
            usual = self.usual_awaiting, self.usual_rate, self._usual_arrivals
            self._before = usual, usual

    def held(self, window: Window) -> None:
        """A window in which a limit was in force has ended: `service` cannot exceed its `mean`. Corrections
        of `service` fade, as they may have been chance."""
        before = self.usual_awaiting / self.usual_rate if self.usual_rate else 0.0
        if window.mean < self.service:
            self.service += (window.mean - self.service) / 4
        elif self.service > before:
            self.service += (before - self.service) * (1 - exp(-window.seconds / _CORRECTED_SECONDS))

    def recall(self) -> None:
        """Discard what was learned in the last moments: the backlog had already begun to grow."""
        self._recent = self.usual_awaiting, self.usual_rate, self._usual_arrivals
        if self._before is not None:
            self._take_for_usual(self._before[0])

    def _take_for_usual(self, usual: _Usual) -> None:
        self.usual_awaiting, self.usual_rate, self._usual_arrivals = usual
        if self.usual_rate:
            self.service = self.usual_awaiting / self.usual_rate

    def _remember(self, now: float, mean: float) -> None:
        if now - self._before_at < max(_RECALL_SECONDS, 2 * mean):
            return
        usual = self.usual_awaiting, self.usual_rate, self._usual_arrivals
        self._before = usual if self._before is None else self._before[1], usual
        self._before_at = now

    def _learn(self, now: float, window: Window) -> None:
        low, rate = window.low, window.rate
        if not self.unloaded:
            self._before_at = self._first = now
            self.unloaded = low
            self.rate = self._usual_arrivals = rate
        known = now - self._first + window.seconds
        part = 1 - exp(-window.seconds / min(_MEMORY_SECONDS, known))
        if low < _TIMES_USUAL * self.unloaded or low < self.unloaded + _LEAST_WAIT_SECONDS:
            came = max(0.0, (window.answers + window.left + window.grown) / window.seconds)
            self._usual_arrivals += (came - self._usual_arrivals) * part
        if low <= 2 * self.unloaded:
            self.usual_awaiting += (window.mean_awaiting - self.usual_awaiting) * part
            self.usual_rate += (rate - self.usual_rate) * part
            # By Little's law, so that requests that are never answered count too, as with long polling.
            self.service = self.usual_awaiting / self.usual_rate
            self._remember(now, window.mean)
        self.rate += (rate - self.rate) * (1 - exp(-window.seconds / _LATELY_SECONDS))
        if low < self.unloaded:
            self.unloaded += (low - self.unloaded) * (1 - exp(-window.seconds / _LATELY_SECONDS))
        else:
            rise = min(_RISE_SECONDS, 2.0 + now - self._first)
            self.unloaded *= exp(min(log(low / self.unloaded), window.seconds / rise))
