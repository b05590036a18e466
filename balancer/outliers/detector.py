"""Outlier detection in a worker: which upstream is suspect, by how the attempts at it end. Pure.

It is fed where an attempt ends, or its exchange, where another upstream may have the request. `LocalEjector`
acts on what it finds at once and reports it; the supervisor, which sees all workers, has the last word
(`outliers/ejection_term.py`). What it only doubts an active check decides, made at once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from balancer.clock import Clock
from balancer.errors import Outcome
from balancer.spec.worker import OutlierSpec
from balancer.upstreams.fault import Fault, Proof, Run
from balancer.upstreams.state import others_left
from balancer.upstreams.traffic_history import SkipReason, Symptom, TrafficHistory
from balancer.upstreams.upstream import Upstream

# Recent counts are halved that often. Long enough for a few requests to each upstream, short enough that an
# ejected one stops being held against the others soon.
_HALF_LIFE_NS = 5_000_000_000
# A suspect whose ejection was skipped is not judged again at once: it would be with every run of errors.
_QUIET_NS = 1_000_000_000
# Requests that were sent together time out together, within one sweep, and one upstream's may all come before
# the others'. So a run of timeouts is judged only when it has lasted longer than that.
_LASTS_NS = 300_000_000
# What could not be tried elsewhere is judged when the run has lasted for so long: requests that make any app
# fail have come to the others by then, and clients who fare well have ended the run.
_DOUBT_LASTS_NS = 1_000_000_000
_Recent: TypeAlias = Callable[[TrafficHistory], tuple[int, int]]
_SYMPTOMS = {
    Outcome.SERVER_ERROR: Symptom.SERVER_ERRORS,
    Outcome.CONNECT_FAILED: Symptom.FAILURES,
    Outcome.FAILED: Symptom.FAILURES,
    Outcome.TIMED_OUT: Symptom.FAILURES,
}


@dataclass(frozen=True, slots=True)
class Suspicion:
    """`count` attempts in a row showed `symptom`. `skip_reason`: why it stays all the same, as far as one
    worker can tell. `doubted`: they may all be a client's doing; a check that fails now would prove them."""

    symptom: Symptom
    count: int
    on_probation: bool
    skip_reason: SkipReason | None
    doubted: bool = False


class OutlierDetector:
    """Watches the upstreams of one pool. Their successes are counted by the pool itself."""

    __slots__ = ("_clock", "_faded_ns", "_thresholds")

    def __init__(self, spec: OutlierSpec, clock: Clock) -> None:
        self._clock = clock
        self._faded_ns = clock.monotonic_ns()
        self._thresholds = {
            Symptom.SERVER_ERRORS: spec.consecutive_5xx,
            Symptom.FAILURES: spec.consecutive_failures,
        }

    def ended(
        self, upstream: Upstream, fault: Fault, members: Sequence[Upstream], on_trial: bool = False
    ) -> Suspicion | None:
        """An attempt at `upstream`, one of `members`, did not succeed; what that makes of it.

        `on_trial`: it was to decide on a probation, so one failure is too many, unless it is the request's
        own. What was still running at one that is ejected already changes nothing.
        """
        symptom = _SYMPTOMS.get(fault.outcome)
        if symptom is None:
            return None
        now = self._clock.monotonic_ns()
        self._fade(members, now)
        history = upstream.history
        most = self._thresholds[symptom]
        run = history.failed(symptom, fault, most, now)
        if fault.proof is Proof.ALIKE or upstream.is_outlier() or now < history.quiet_until_ns:
            return None
        lasted_ns = now - history.runs_since_ns
        too_soon = fault.outcome is Outcome.TIMED_OUT and lasted_ns < _LASTS_NS
        if not on_trial and (run.length < most or too_soon):
            return None
        recent = _RECENT.get(fault.outcome)
        if not on_trial and run.sure < most:
            if symptom is Symptom.SERVER_ERRORS or not run.has_second or lasted_ns < _DOUBT_LASTS_NS:
                return self._doubt(upstream, fault.outcome, run, members, now)
            recent = _recent_failures
        skip_reason = self._skip_reason(upstream, recent, members)
        suspicion = Suspicion(symptom, run.length, on_trial, skip_reason)
        history.begin_anew()
        if skip_reason is not None:
            history.quiet_until_ns = now + _QUIET_NS
        return suspicion

    def overruled(self, upstream: Upstream) -> None:
        """The supervisor has skipped its ejection."""
        upstream.history.quiet_until_ns = self._clock.monotonic_ns() + _QUIET_NS

    def _doubt(
        self, upstream: Upstream, outcome: Outcome, run: Run, members: Sequence[Upstream], now: int
    ) -> Suspicion | None:
        """It is to be checked at once, if that was not asked for a moment ago, and would change anything."""
        history = upstream.history
        if history.doubted_ns and now - history.doubted_ns < _QUIET_NS:
            return None
        late = outcome is Outcome.TIMED_OUT and _is_pool_wide(upstream, members, _recent_timeouts)
        if late or not others_left(upstream, members):
            return None
        history.doubted_ns = now
        symptom = _SYMPTOMS[outcome]
        return Suspicion(symptom, run.length, on_probation=False, skip_reason=None, doubted=True)

    def _skip_reason(
        self, suspect: Upstream, recent: _Recent | None, members: Sequence[Upstream]
    ) -> SkipReason | None:
        if not others_left(suspect, members):
            return SkipReason.LAST_ELIGIBLE
        if recent is not None and _is_pool_wide(suspect, members, recent):
            return SkipReason.POOL_WIDE
        return None

    def _fade(self, members: Sequence[Upstream], now: int) -> None:
        """Counts fade when an attempt fails, not while all is well: that costs nothing then."""
        halvings = (now - self._faded_ns) // _HALF_LIFE_NS
        if halvings:
            self._faded_ns += halvings * _HALF_LIFE_NS
            for upstream in members:
                upstream.history.fade(halvings)


def _recent_errors(history: TrafficHistory) -> tuple[int, int]:
    return history.recent_errors, history.recent_responses


def _recent_failures(history: TrafficHistory) -> tuple[int, int]:
    return history.recent_failures, history.recent_failures + history.recent_responses


def _recent_timeouts(history: TrafficHistory) -> tuple[int, int]:
    return history.recent_timeouts, history.recent_timeouts + history.recent_responses


# What all upstreams of a pool may do at once, so that it is the app or the load rather than one of them: how
# many attempts ended so lately, and of how many.
_RECENT: dict[Outcome, _Recent] = {
    Outcome.SERVER_ERROR: _recent_errors,
    Outcome.TIMED_OUT: _recent_timeouts,
}


def _is_pool_wide(suspect: Upstream, members: Sequence[Upstream], recent: _Recent) -> bool:
    """Whether the others' recent share of such ends is not under half of the suspect's own."""
    own_bad, own = recent(suspect.history)
    others = [recent(upstream.history) for upstream in members if upstream is not suspect]
    bad = sum(bad for bad, _ in others)
    return bad > 0 and 2 * bad * own >= own_bad * sum(count for _, count in others)
