"""Outlier detection in a worker: which upstream is suspect, by how the attempts at it end. Pure.

It is fed where an attempt ends. What it finds the pool acts on at once and reports; the supervisor, who sees
all workers, has the last word (`health/outlier.py`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from balancer.clock import Clock
from balancer.errors import Outcome
from balancer.upstreams.conduct import Conduct, Spared, Symptom
from balancer.upstreams.state import others_left
from balancer.upstreams.upstream import Upstream

# Recent counts are halved that often. Long enough for a few requests to each upstream, short enough that an
# ejected one stops being held against the others soon.
_HALF_LIFE_NS = 5_000_000_000
# A suspect that was spared is not judged again at once: it would be with every run of errors.
_QUIET_NS = 1_000_000_000
# Requests that were sent together time out together, within one sweep, and one upstream's may all come before
# the others'. So a run of timeouts is judged only when it has lasted longer than that.
_LASTS_NS = 300_000_000
_SYMPTOMS = {
    Outcome.SERVER_ERROR: Symptom.SERVER_ERRORS,
    Outcome.CONNECT_FAILED: Symptom.FAILURES,
    Outcome.FAILED: Symptom.FAILURES,
    Outcome.TIMED_OUT: Symptom.FAILURES,
}


@dataclass(frozen=True, slots=True)
class OutlierSettings:
    """How many in a row make a suspect, counted by each worker for itself."""

    consecutive_5xx: int
    consecutive_failures: int


@dataclass(frozen=True, slots=True)
class Suspicion:
    """`count` attempts in a row showed `symptom`. `spared`: why it stays all the same, as far as one worker
    can tell."""

    symptom: Symptom
    count: int
    on_probation: bool
    spared: Spared | None


class OutlierDetector:
    """Watches the upstreams of one pool. Their successes are counted by the pool itself."""

    __slots__ = ("_clock", "_faded_ns", "_thresholds")

    def __init__(self, settings: OutlierSettings, clock: Clock) -> None:
        self._clock = clock
        self._faded_ns = clock.monotonic_ns()
        self._thresholds = {
            Symptom.SERVER_ERRORS: settings.consecutive_5xx,
            Symptom.FAILURES: settings.consecutive_failures,
        }

    def ended(
        self, upstream: Upstream, outcome: Outcome, members: Sequence[Upstream], on_trial: bool = False
    ) -> Suspicion | None:
        """An attempt at `upstream`, one of `members`, did not succeed; what that makes of it.

        `on_trial`: it was to decide on a probation, so one failure is too many. What was still running at one
        that is ejected already changes nothing.
        """
        symptom = _SYMPTOMS.get(outcome)
        if symptom is None:
            return None
        now = self._clock.monotonic_ns()
        self._fade(members, now)
        conduct = upstream.conduct
        count = conduct.failed(symptom, now)
        enough = count >= self._thresholds[symptom]
        if outcome is Outcome.TIMED_OUT:
            conduct.recent_timeouts += 1
            enough &= now - conduct.runs_since_ns >= _LASTS_NS
        if upstream.is_outlier() or now < conduct.quiet_until_ns:
            return None
        if not enough and not on_trial:
            return None
        spared = self._spared(upstream, outcome, members)
        conduct.begin_anew()
        if spared is not None:
            conduct.quiet_until_ns = now + _QUIET_NS
        return Suspicion(symptom, count, on_trial, spared)

    def overruled(self, upstream: Upstream) -> None:
        """The supervisor has spared it."""
        upstream.conduct.quiet_until_ns = self._clock.monotonic_ns() + _QUIET_NS

    def _spared(self, suspect: Upstream, outcome: Outcome, members: Sequence[Upstream]) -> Spared | None:
        if not others_left(suspect, members):
            return Spared.LAST_ELIGIBLE
        recent = _RECENT.get(outcome)
        if recent is not None and _is_pool_wide(suspect, members, recent):
            return Spared.POOL_WIDE
        return None

    def _fade(self, members: Sequence[Upstream], now: int) -> None:
        """Counts fade when an attempt fails, not while all is well: that costs nothing then."""
        halvings = (now - self._faded_ns) // _HALF_LIFE_NS
        if halvings:
            self._faded_ns += halvings * _HALF_LIFE_NS
            for upstream in members:
                upstream.conduct.fade(halvings)


def _recent_errors(conduct: Conduct) -> tuple[int, int]:
    return conduct.recent_errors, conduct.recent_responses


def _recent_timeouts(conduct: Conduct) -> tuple[int, int]:
    return conduct.recent_timeouts, conduct.recent_timeouts + conduct.recent_responses


# What all upstreams of a pool may do at once, so that it is the app or the load rather than one of them: how
# many attempts ended so lately, and of how many.
_RECENT: dict[Outcome, Callable[[Conduct], tuple[int, int]]] = {
    Outcome.SERVER_ERROR: _recent_errors,
    Outcome.TIMED_OUT: _recent_timeouts,
}


def _is_pool_wide(
    suspect: Upstream, members: Sequence[Upstream], recent: Callable[[Conduct], tuple[int, int]]
) -> bool:
    """Whether the others' recent share of such ends is not under half of the suspect's own."""
    own_bad, own = recent(suspect.conduct)
    others = [recent(upstream.conduct) for upstream in members if upstream is not suspect]
    bad = sum(bad for bad, _ in others)
    return bad > 0 and 2 * bad * own >= own_bad * sum(count for _, count in others)
