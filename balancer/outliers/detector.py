"""Outlier detection in a worker: finds suspect upstreams by how their attempts end. Pure.

It is called when an attempt ends, or when its exchange ends, if another upstream may get the request.
`LocalEjector` acts on a suspicion at once and reports it; the supervisor, which sees all workers, has the
last word (`outliers/ejection_term.py`). An immediate active check decides about a mere doubt.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from balancer.clock import Clock
from balancer.errors import Outcome
from balancer.spec.worker import OutlierSpec
from balancer.upstreams.fault import Fault, Proof, Run
from balancer.upstreams.state import others_left
from balancer.upstreams.traffic_history import SkipReason, Symptom, TrafficHistory
from balancer.upstreams.upstream import Upstream

# Interval at which recent counts are halved. Long enough for a few requests to each upstream, short enough
# that the failures of an ejected upstream soon stop counting against the pool.
_HALF_LIFE_NS: Final = 5_000_000_000
# A suspect whose ejection was skipped is not judged again for this long, so not at every run of errors.
_QUIET_NS: Final = 1_000_000_000
# Requests sent together time out together, within one sweep, and all those of one upstream may come before
# the others'. So a run of timeouts is judged only when it has lasted longer than that.
_LASTS_NS: Final = 300_000_000
# Requests that could not be tried elsewhere are judged when the run has lasted this long: by then, requests
# that make any app fail have reached the others, and successful clients have ended the run.
_DOUBT_LASTS_NS: Final = 1_000_000_000
_Recent: TypeAlias = Callable[[TrafficHistory], tuple[int, int]]
_SYMPTOMS: Final = {
    Outcome.SERVER_ERROR: Symptom.SERVER_ERRORS,
    Outcome.CONNECT_FAILED: Symptom.FAILURES,
    Outcome.FAILED: Symptom.FAILURES,
    Outcome.TIMED_OUT: Symptom.FAILURES,
}


@dataclass(frozen=True, slots=True)
class Suspicion:
    """`count` consecutive attempts showed `symptom`. `skip_reason`: why it is not ejected, as far as one
    worker can tell. `doubted`: one client may have caused them all; a check that fails now confirms them."""

    symptom: Symptom
    count: int
    on_probation: bool
    skip_reason: SkipReason | None
    doubted: bool = False


class OutlierDetector:
    """Watches the upstreams of one pool. The pool itself counts their successes."""

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
        """An attempt at `upstream`, one of `members`, failed; returns the resulting suspicion, if any.

        `on_trial`: it decides on a probation, so one failure is too many, unless the request is to blame.
        Attempts that were still running at an already ejected upstream change nothing.
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
        """The supervisor has refused its ejection."""
        upstream.history.quiet_until_ns = self._clock.monotonic_ns() + _QUIET_NS

    def _doubt(
        self, upstream: Upstream, outcome: Outcome, run: Run, members: Sequence[Upstream], now: int
    ) -> Suspicion | None:
        """Ask for an immediate check, unless one was just requested or it would change nothing."""
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
        """Counts fade only when an attempt fails, so that it costs nothing while all succeed."""
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


# Outcomes that may affect a whole pool, because of the app or the load rather than one upstream. Functions
# that return how many recent attempts ended like that, and out of how many.
_RECENT: Final[dict[Outcome, _Recent]] = {
    Outcome.SERVER_ERROR: _recent_errors,
    Outcome.TIMED_OUT: _recent_timeouts,
}


def _is_pool_wide(suspect: Upstream, members: Sequence[Upstream], recent: _Recent) -> bool:
    """Whether the others' recent share of such outcomes is at least half of the suspect's own."""
    own_bad, own = recent(suspect.history)
    others = [recent(upstream.history) for upstream in members if upstream is not suspect]
    bad = sum((bad for bad, _ in others), 0)
    return bad > 0 and 2 * bad * own >= own_bad * sum((count for _, count in others), 0)
