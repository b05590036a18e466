"""The concurrency limit of one upstream, found by observing it (pure).

Off the request path: `AdaptiveLimits` samples each upstream about twenty times a second and passes the sample
to its limit, which returns how many requests may be there from now on, 0 = unlimited. docs/overload.md draws
the states open, trial, held and probing, and lists the constants with their units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from balancer.limits.backlog import BacklogDetector
from balancer.limits.trial import Trial, Verdict
from balancer.limits.wasted_work import WastedWork
from balancer.limits.window import RunningWindow, Sample, Window

# The seconds and answers a window needs to be judged. While a limit is in force it is up to four answers per
# slot, as a wrong decision costs throughput then, and more for a probe.
_OPEN_SECONDS: Final = 0.049
_OPEN_ANSWERS: Final = 5
_HELD_SECONDS: Final = 0.099
_HELD_ANSWERS: Final = 10
_MOST_ANSWERS: Final = 40
_PROBE_ANSWERS: Final = 4  # times as many for a probe
_LONGEST_SECONDS: Final = 2.0  # with fewer answers in this time, a window shows nothing
_FIRST_CUT: Final = 5  # divides the number of requests there for the first limit
_CAREFUL_CUT: Final = 2  # the same if load is as usual, and the app may just be slower
_HEADROOM: Final = 1.5  # times the requests being worked on: a short backlog keeps the upstream busy
_QUIET_SECONDS: Final = 1.0  # after a trial that found no backlog, before another one
_UNPRESSED_SECONDS: Final = 5.0  # the same, before load moved from other upstreams is a reason for one
# times the usual number of requests, above which load moved from others is a reason for a limit
_CROWDED: Final = 3
_STEP: Final = 0.75  # a limit lower than this part of the previous one is compared with it
_DOUBT_WINDOWS: Final = 2  # consecutive windows with fewer answers
# The part of a limit's increase by which the rate must rise for the old limit to have been too low: from
# _RISES on, the limit is raised as far as the rate rose; from _FOLLOWS on, perhaps further.
_RISES: Final = 0.4
_FOLLOWS: Final = 0.8
_PROBE_SECONDS: Final = 4.0  # between two probes
_CHANGED: Final = 0.3  # relative change of the rate at a probe, above which the rate before does not count
# share of samples that find the limit reached; with fewer, a window shows nothing about it
_BINDING: Final = 0.5
_UNUSED_SECONDS: Final = 2.0  # without demand for more than the limit, after which it is removed
_SETTLED_SECONDS: Final = 5.0  # at most, until requests sent before a limit have been answered


@dataclass(frozen=True, slots=True)
class ConcurrencyBounds:
    """The bounds of a limit, in requests; `least` is at least 1."""

    least: int
    most: int


class ConcurrencyLimit:
    """The limit of one upstream in one worker, found from this worker's part of the traffic.

    **Open**: there is no limit until a backlog is proven (`BacklogDetector`), work is wasted (`WastedWork`),
    or other upstreams are full (`press`).
    **Trial**: the first limit is a fraction of the requests there, and at least twice the number usually
    being worked on: enough to keep the upstream busy, so that requests wait here instead of there and none is
    served later. If the upstream answers fewer than before (`Trial`), there was no backlog, the app has
    become slower, and the limit is removed.
    **Held**: the limit moves to the number being worked on by Little's law (answers per second times their
    latency without a backlog) plus headroom, and follows it. A larger step down that costs answers is undone:
    requests take longer than before, and that is learned.
    **Probing**: now and then a higher limit is tried. So nothing is ever throttled in order to measure.

    If most clients leave before they are answered, the limit drops at once. A limit that is no longer reached
    is removed.
    """

    __slots__ = ("_anchor", "_answered_until", "_bounds", "_detector", "_doubts", "_probe_at",
                 "_probed", "_quiet_until", "_rate_before", "_settled_by", "_steady", "_trial",
                 "_unpressed_until", "_used", "_wasted", "_window", "limit")  # fmt: skip

    def __init__(self, bounds: ConcurrencyBounds, like: ConcurrencyLimit | None = None) -> None:
        """`like`: another upstream's limit to start with, if in force. Otherwise an upstream that joins an
        overloaded pool would get everything that waits, before there is anything to compare with."""
        self.limit = 0
        self._bounds = bounds
        self._detector = BacklogDetector()
        self._window: RunningWindow | None = None
        self._wasted: WastedWork | None = None
        self._quiet_until = self._unpressed_until = 0.0
        # while there is a limit
        self._trial: Trial | None = None  # while the first limit has to prove that there was a backlog
        self._used = 0.0  # when it was last reached
        self._settled_by = 0.0  # the latest time; 0 once requests sent before the limit have been answered
        self._answered_until = -1  # total of answers that settles it; -1 while more are there than the limit
        self._rate_before = 0.0
        self._doubts = 0
        self._anchor: tuple[int, float] | None = None  # a limit, and the rate at that limit
        self._probed: tuple[int, Window] | None = None  # limit and window before the higher limit of a probe
        self._probe_at = 0.0
        self._steady: RunningWindow | None = None  # over the time with about the same limit
        if like is not None and like.limit:
            self.limit = like.limit
            self._used = like._used
            self._probe_at = like._probe_at
            self._detector.begin_like(like._detector)

    @property
    def service(self) -> float:
        """Seconds that a request takes without a backlog, as far as known."""
        return self._detector.service

    def resume(self, limit: float, service: float, now: float) -> None:
        """Begin with a limit in force: another worker, whose traffic comes here now, has found it."""
        self.limit = self._bounded(limit)
        self._used = now
        self._probe_at = now + _PROBE_SECONDS
        self._detector.service = self._detector.unloaded = service

    def observe(self, sample: Sample) -> int:
        """Take `sample` into account; returns the new limit."""
        running, wasted_work = self._window, self._wasted
        if running is None or wasted_work is None or running.went_back(sample):
            self.begin_anew(sample)
            return self.limit
        wasted = wasted_work.observe(sample, self._detector.usual_rate)
        if self.limit:
            self._observe_held(sample, running, wasted is not None)
        else:
            self._observe_open(sample, running, wasted)
        return self.limit

    def begin_anew(self, sample: Sample) -> None:
        """Discard everything before `sample`."""
        self._window = RunningWindow(sample)
        self._wasted = WastedWork(sample)
        self._steady = None
        self._answered_until = -1
        if self._trial is not None:
            self._trial.begin_anew(sample)

    def press(self, sample: Sample) -> int:
        """To be called after `observe` if another upstream of the pool is at its own limit, or this one is
        limited by another worker, so that excess load moves here. Returns the new limit."""
        if self.is_crowded(sample.awaiting) and sample.now >= self._unpressed_until:
            self._close(sample, self._detector.rate_while_suspicious(sample.now))
        return self.limit

    def is_crowded(self, awaiting: int) -> bool:
        """Whether there is no limit, and so many await their first byte that `press` may set one."""
        detector = self._detector
        return (
            not self.limit and awaiting > _CROWDED * (detector.usual_awaiting + 1) and detector.usual_rate > 0
        )

    # --- no limit

    def _observe_open(self, sample: Sample, running: RunningWindow, wasted: Window | None) -> None:
        detector = self._detector
        detector.observe(sample.now, sample.awaiting)
        seconds, answers = running.observe(sample)
        is_quiet = sample.now < self._quiet_until
        if wasted is not None and not is_quiet and self._bounded(self._least_sensible(sample)) < sample.mine:
            self._close(sample, wasted.rate, wasted)
        elif seconds >= _OPEN_SECONDS and answers >= _OPEN_ANSWERS:
            self._window = RunningWindow(sample)
            if detector.weigh(sample.now, running.end()) and not is_quiet:
                self._close(sample, detector.rate_while_suspicious(sample.now))
        elif seconds > _LONGEST_SECONDS:
            self._window = RunningWindow(sample)
            detector.begin_anew()

    def _close(self, sample: Sample, rate: float, wasted: Window | None = None) -> None:
        """Set the first limit. The upstream currently answers `rate` requests per second."""
        detector = self._detector
        if not detector.suspicious:
            detector.recall()
        self._rate_before = rate
        self._doubts = 0
        self._anchor = self._probed = None
        self._probe_at = sample.now + _PROBE_SECONDS
        self._used = sample.now
        least = self._least_sensible(sample)
        if wasted is not None:
            self._set(least, sample)
            left = wasted.left
        else:
            self._set(max(sample.mine / (_FIRST_CUT if detector.swelled else _CAREFUL_CUT), least), sample)
            left = self._wasted.left if self._wasted is not None else 0
        self._trial = Trial(sample, limit=self.limit, rate=rate, left=left)

    def _least_sensible(self, sample: Sample) -> float:
        """This worker's part of twice the number of requests being worked on before the backlog."""
        part = sample.mine / sample.awaiting if sample.awaiting else 1.0
        return 2 * max(self._rate_before, self._detector.usual_rate) * self._detector.service * part

    # --- a limit in force

    def _observe_held(self, sample: Sample, running: RunningWindow, wasted: bool) -> None:
        if self._steady is not None:
            self._steady.observe(sample)
        if running.was_full(sample):
            self._used = sample.now
        elif sample.now - self._used > _UNUSED_SECONDS:
            if self._probed is None:
                self._open(sample)
                return
            # Load below the probed limit does not decide a probe; the limit before it may still be needed.
            self._used = sample.now
            before, _ = self._probed
            self._probed = None
            self._set(before, sample)
        if wasted and (least := self._bounded(self._least_sensible(sample))) < self.limit:
            self._anchor = self._probed = None  # earlier rates are no longer meaningful
            self._set(least, sample)
        elif self._settled_by:
            self._settle(sample)
        elif self._is_told(*running.observe(sample)):
            self._window = RunningWindow(sample)
            window = running.end()
            if window.full >= _BINDING:
                self._judge(sample, window)
            else:
                self._steady = None  # the limit was not reached
        elif self._trial is not None and running.is_silent:
            self._window = RunningWindow(sample)  # it may be busy with requests whose clients have left

    def _is_told(self, seconds: float, answers: int) -> bool:
        wanted = max(_HELD_ANSWERS, min(4 * self.limit, _MOST_ANSWERS))
        if self._probed is not None:
            wanted *= _PROBE_ANSWERS
        return (seconds >= _HELD_SECONDS and answers >= wanted) or (
            seconds >= _LONGEST_SECONDS and answers >= _OPEN_ANSWERS
        )

    def _settle(self, sample: Sample) -> None:
        """Requests sent before the limit show nothing about it: wait until they have been answered."""
        self._window = RunningWindow(sample)
        if self._trial is not None and (dry := self._trial.runs_dry(sample)) is not None:
            self._take_back(sample, dry)
            return
        if sample.now > self._settled_by or 0 <= self._answered_until <= sample.total:
            self._settled_by = 0.0
        elif self._answered_until < 0 and sample.mine <= self.limit:
            self._answered_until = sample.total + sample.awaiting

    def _judge(self, sample: Sample, window: Window) -> None:
        if self._trial is not None:
            lower = self._bounded(max(self.limit / 2, self._least_sensible(sample)))
            verdict = self._trial.judge(sample.now, window, lower < self.limit)
            if verdict is Verdict.LEAVING:
                self._set(lower, sample)
            elif verdict is Verdict.NONE:
                self._take_back(sample, window)
            if verdict is not Verdict.BACKLOG:
                return
            self._trial = None
            self._probe_at = sample.now + _PROBE_SECONDS
        if self._probed is not None:
            self._judge_probe(sample, window, *self._probed)
        elif not self._costs_throughput(sample, window):
            self._follow(sample, window)

    def _judge_probe(self, sample: Sample, window: Window, before: int, without: Window) -> None:
        self._probed = None
        rise, most = window.rate / without.rate, self.limit / before
        if rise < 1 + _RISES * (most - 1):
            self._set(before, sample)
        elif rise < 1 + _FOLLOWS * (most - 1):
            # There was no backlog at the previous limit, and there is room for as many more as the rate has
            # risen.
            self._detector.service = max(without.mean, self._detector.service)
            self._anchor = None
            self._set(before * rise, sample)
        else:
            # The rate follows the limit, and may rise further.
            self._detector.service = max(window.mean, self._detector.service)
            self._anchor = self.limit, window.rate
            self._probe(sample, window)

    def _costs_throughput(self, sample: Sample, window: Window) -> bool:
        """Whether a larger step down has reduced the answers; it is then undone."""
        limit, rate = self.limit, window.rate
        if self._anchor is not None and limit <= _STEP * self._anchor[0]:
            before, rate_before = self._anchor
            if rate < 0.95 * rate_before * (1 + limit / before) / 2:
                # Nearer to the rate expected without a backlog than to the old one. Once may be chance.
                self._doubts += 1
                if self._doubts >= _DOUBT_WINDOWS:
                    self._doubts = 0
                    self._detector.service = max(window.mean, self._detector.service)
                    self._anchor = None
                    self._set(before, sample)
                return True
            self._anchor = limit, rate
        elif self._anchor is None or limit >= self._anchor[0]:
            self._anchor = limit, rate
        self._doubts = 0
        return False

    def _follow(self, sample: Sample, window: Window) -> None:
        self._detector.held(window)
        limit = self.limit
        if self._steady is None:
            self._steady = RunningWindow(sample)
        elif sample.now >= self._probe_at:
            steady = self._steady.end()
            self._probe(sample, steady if abs(window.rate / steady.rate - 1) < _CHANGED else window)
            return
        goal = window.own_rate * self._detector.service * _HEADROOM + 1
        if 0.6 * limit < goal < 2 * limit:
            goal = (goal + limit) / 2  # half of such a difference is chance
        self._set(max(limit / 3, min(limit * 1.5 + 1, goal)), sample)

    def _probe(self, sample: Sample, without: Window) -> None:
        """Now and then the limit is raised a little: if the rate rises too, requests take longer than
        assumed, and the limit was too low."""
        self._probe_at = sample.now + _PROBE_SECONDS
        more = self._bounded(self.limit * _HEADROOM + 1)
        if more > self.limit:
            self._probed = self.limit, without
            self._set(more, sample)

    def _bounded(self, goal: float) -> int:
        return max(self._bounds.least, min(self._bounds.most, round(goal)))

    def _set(self, goal: float, sample: Sample) -> None:
        limit = self._bounded(goal)
        if not _STEP * self.limit <= limit <= self.limit / _STEP:
            self._steady = None
        if limit < self.limit or not self.limit:
            self._settled_by = sample.now + _SETTLED_SECONDS
            self._answered_until = -1
        self.limit = limit
        self._window = RunningWindow(sample)

    def _take_back(self, sample: Sample, shown: Window) -> None:
        """Remove the limit: `shown` proves that there was no backlog, and how long requests take now."""
        self._detector.service = max(shown.mean, self._detector.service)
        self._detector.unloaded = max(shown.low, self._detector.unloaded)
        self._quiet_until = sample.now + _QUIET_SECONDS
        self._unpressed_until = sample.now + _UNPRESSED_SECONDS
        self._open(sample)

    def _open(self, sample: Sample) -> None:
        self.limit = 0
        self._trial = None
        self._settled_by = 0.0
        self._window = RunningWindow(sample)
        self._wasted = WastedWork(sample)
        self._detector.begin_anew()
