"""Joins outlier detection with the fleet (L7): what workers find, what is made of it, and for how long."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

from balancer.clock import Clock
from balancer.health.result import CheckResult
from balancer.messages import About, Doubt, Eject, Recovered, Suspected, Verdict
from balancer.outliers.ejection_term import EjectionTerm, in_a_row, skip_reason
from balancer.runtime.fleet import Fleet
from balancer.runtime.states import UpstreamState
from balancer.spec.instance import EjectionSpec
from balancer.upstreams.state import Cause
from balancer.upstreams.traffic_history import SkipReason, Symptom

_SAY_EVERY_NS = 60_000_000_000
_SYMPTOMS = {
    Symptom.SERVER_ERRORS: ("a 5xx response", "consecutive 5xx responses"),
    Symptom.FAILURES: ("a failed attempt", "consecutive failed attempts"),
}
_REASONS = {
    SkipReason.MAX_PERCENT: (
        "BALANCER_OUTLIER__MAX_EJECTION_PERCENT of the pool is already ejected or on probation"
    ),
    SkipReason.LAST_ELIGIBLE: "no other upstream is eligible",
    SkipReason.POOL_WIDE: "the other upstreams do no better, so the app or the load is at fault",
}

# Checks an upstream at once, and tells what came of it.
CheckNow: TypeAlias = Callable[[UpstreamState, Callable[[CheckResult], None]], None]


class Outliers:
    """The supervisor's word on what workers find. Is a `states.FleetWatcher`."""

    def __init__(
        self,
        fleet: Fleet,
        spec: EjectionSpec,
        *,
        clock: Clock,
        call_later: Callable[[float, Callable[[], None]], object],
        check_now: CheckNow | None = None,
    ) -> None:
        """`check_now` is None where there are no active checks."""
        self._fleet = fleet
        self._spec = spec
        self._clock = clock
        self._call_later = call_later
        self._check_now = check_now
        self._terms: dict[UpstreamState, EjectionTerm] = {}
        self._said: dict[tuple[str, SkipReason], int] = {}  # when it was last said why a pool's suspects stay

    # What workers say

    def suspected(self, worker: int, message: Eject) -> Verdict | None:
        """A worker found an outlier, and ejected it unless it says why not (`skip_reason`). The answer, where
        it needs one: until which revision it must not believe that the upstream is not ejected, 0 for
        none."""
        upstream = self._upstream(message)
        until = 0 if upstream is None else self._judge(upstream, worker, message)
        if message.skip_reason is not None:
            return None
        return Verdict(pool=message.pool, row=message.row, until=until)

    def doubted(self, worker: int, message: Doubt) -> None:
        """A worker has seen failures that may all be a client's doing: a check that fails now proves them."""
        upstream = self._upstream(message)
        if upstream is not None and self._check_now is not None and Cause.OUTLIER not in upstream.causes:
            self._check_now(upstream, partial(self._checked, worker, message))

    def _checked(self, worker: int, message: Doubt, last: CheckResult) -> None:
        upstream = self._upstream(message)  # it may have left, or moved
        if upstream is not None and last.result.counts and not last.passed:
            self._judge(upstream, worker, message, f", and an immediate check failed ({last.detail})")

    def recovered(self, message: Recovered) -> None:
        """A request to one on probation has succeeded."""
        upstream = self._upstream(message)
        if upstream is not None and upstream.on_probation:
            self._fleet.end_probation(upstream, "a request succeeded")
            self._terms[upstream].end(self._clock.monotonic_ns())

    # What the admin application asks

    def ejection_term(self, upstream: UpstreamState) -> tuple[float, int] | None:
        """Until when it is ejected, in seconds since the epoch, and for which time in a row; None where it
        is not ejected as an outlier, nor on probation. The first is past for one on probation."""
        term = self._terms.get(upstream)
        if term is None or not (Cause.OUTLIER in upstream.causes or upstream.on_probation):
            return None
        return self._clock.wall() + term.left(self._clock.monotonic_ns()), term.in_a_row

    # What the fleet says

    def added(self, upstream: UpstreamState) -> None:
        """Nothing is known of it."""

    def moved(self, upstream: UpstreamState) -> None:
        """What was known of the other address says nothing about this one."""
        if self._terms.pop(upstream, None) is not None:
            self._fleet.readmit(upstream, Cause.OUTLIER, "its address changed")
            self._fleet.end_probation(upstream, "its address changed")

    def wanted(self, upstream: UpstreamState) -> None:
        """What the operator wants does not end a term."""

    def removed(self, upstream: UpstreamState) -> None:
        """It is gone."""
        self._terms.pop(upstream, None)

    # The verdict

    def _upstream(self, about: About) -> UpstreamState | None:
        pool = self._fleet.pools.get(about.pool)
        upstream = None if pool is None else pool.upstreams.get(about.id)
        if upstream is None or upstream.row != about.row:
            return None
        # A worker that has not heard of a new address yet speaks of the machine that was there before.
        return upstream if upstream.address == about.host else None

    def _judge(self, upstream: UpstreamState, worker: int, message: Suspected, also: str = "") -> int:
        """The revision by which it is ejected, 0 where it is not. `also`: what else was seen."""
        if Cause.OUTLIER in upstream.causes:  # another worker was faster
            return self._fleet.revision
        if message.on_probation and not upstream.on_probation:
            return 0  # another worker's request has succeeded meanwhile
        one, many = _SYMPTOMS[message.symptom]
        seen = f"{one if message.count == 1 else f'{message.count} {many}'} at worker {worker}"
        if message.on_probation:
            seen += " while on probation"
        seen += also
        members = list(self._fleet.pools[upstream.pool].upstreams.values())
        reason = self._reason(message, upstream, members)
        if reason is not None:
            self._fleet.skip_ejection(
                upstream, reason, f"{seen}, but {_REASONS[reason]}", say=self._may_say(upstream.pool, reason)
            )
            return 0
        now = self._clock.monotonic_ns()
        term = self._terms.setdefault(upstream, EjectionTerm(self._spec))
        seconds = term.begin(now)
        self._fleet.eject(upstream, Cause.OUTLIER, seen, term=f" for {seconds:g} s{in_a_row(term.in_a_row)}")
        self._call_later(seconds, partial(self._time_is_over, upstream, term, seconds))
        return self._fleet.revision

    def _reason(
        self, message: Suspected, upstream: UpstreamState, members: Sequence[UpstreamState]
    ) -> SkipReason | None:
        if message.skip_reason is not None:
            return message.skip_reason
        return skip_reason(upstream, members, self._spec.max_percent)

    def _may_say(self, pool: str, reason: SkipReason) -> bool:
        now = self._clock.monotonic_ns()
        said = self._said.get((pool, reason))
        if said is not None and now - said < _SAY_EVERY_NS:
            return False
        self._said[pool, reason] = now
        return True

    def _time_is_over(self, upstream: UpstreamState, term: EjectionTerm, seconds: float) -> None:
        # An upstream that moved has another term, or none; one is begun only when the one before is over.
        if self._terms.get(upstream) is term:
            why = f"{seconds:g} s are over; it gets one request at a time until one succeeds"
            self._fleet.put_on_probation(upstream, why)
