"""Connects outlier detection with the fleet (L7): decides on what workers report, and for how long."""

from collections.abc import Callable, Mapping, Sequence
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

# Checks an upstream at once, and calls back with the result.
CheckNow: TypeAlias = Callable[[UpstreamState, Callable[[CheckResult], None]], None]


class Outliers:
    """The supervisor's verdicts on outliers that workers report. A `states.FleetWatcher`."""

    def __init__(
        self,
        fleet: Fleet,
        specs: Mapping[str, EjectionSpec],
        *,
        clock: Clock,
        call_later: Callable[[float, Callable[[], None]], object],
        check_now: CheckNow | None = None,
    ) -> None:
        """`specs` by pool. `check_now` is None if there are no active checks; for an upstream that has none
        it does nothing."""
        self._fleet = fleet
        self._specs = specs
        self._clock = clock
        self._call_later = call_later
        self._check_now = check_now
        self._terms: dict[UpstreamState, EjectionTerm] = {}
        self._said: dict[tuple[str, SkipReason], int] = {}  # when each skip reason of a pool was last logged

    def settle(self, specs: Mapping[str, EjectionSpec]) -> None:
        """The rules of each pool are these now; terms that have begun go on."""
        self._specs = specs

    # --- reports of workers

    def suspected(self, worker: int, message: Eject) -> Verdict | None:
        """A worker found an outlier, and ejected it unless it gives a `skip_reason`. Returns the answer, if
        one is needed: the revision before which pool updates do not know of this ejection yet, 0 if the
        upstream is not ejected."""
        upstream = self._upstream(message)
        until = 0 if upstream is None else self._judge(upstream, worker, message)
        if message.skip_reason is not None:
            return None
        return Verdict(pool=message.pool, row=message.row, until=until)

    def doubted(self, worker: int, message: Doubt) -> None:
        """A worker has seen failures that one client may have caused: a failed check now would prove them."""
        upstream = self._upstream(message)
        if upstream is not None and self._check_now is not None and Cause.OUTLIER not in upstream.causes:
            self._check_now(upstream, partial(self._checked, worker, message))

    def _checked(self, worker: int, message: Doubt, last: CheckResult) -> None:
        upstream = self._upstream(message)  # it may have left, or moved
        if upstream is not None and last.result.counts and not last.passed:
            self._judge(upstream, worker, message, f", and an immediate check failed ({last.detail})")

    def recovered(self, message: Recovered) -> None:
        """A request to an upstream on probation has succeeded."""
        upstream = self._upstream(message)
        if upstream is not None and upstream.on_probation:
            self._fleet.end_probation(upstream, "a request succeeded")
            self._terms[upstream].end(self._clock.monotonic_ns())

    # --- for another program

    def term_left(self, upstream: UpstreamState) -> tuple[float, int]:
        """The seconds that its ejection still lasts, and the ejection's number in a row; zeros for none."""
        term = self._terms.get(upstream)
        return (0.0, 0) if term is None else (term.left(self._clock.monotonic_ns()), term.in_a_row)

    def resume(self, upstream: UpstreamState, left: float, in_a_row: int) -> None:
        """It was ejected by the program before this one, and is again."""
        term = self._terms[upstream] = EjectionTerm(self._specs[upstream.pool])
        term.resume(self._clock.monotonic_ns(), left, in_a_row)
        self._call_later(left, partial(self._time_is_over, upstream, term, left))

    # --- the admin application's call

    def ejection_term(self, upstream: UpstreamState) -> tuple[float, int] | None:
        """The end of its ejection, in seconds since the epoch, and the ejection's number in a row; None if it
        is neither ejected as an outlier nor on probation. On probation the end is in the past."""
        term = self._terms.get(upstream)
        if term is None or not (Cause.OUTLIER in upstream.causes or upstream.on_probation):
            return None
        return self._clock.wall() + term.left(self._clock.monotonic_ns()), term.in_a_row

    # --- the fleet's calls (FleetWatcher)

    def added(self, upstream: UpstreamState) -> None:
        """Ignored: nothing is known about it yet."""

    def moved(self, upstream: UpstreamState) -> None:
        """End its ejection: it was about the old address."""
        if self._terms.pop(upstream, None) is not None:
            self._fleet.readmit(upstream, Cause.OUTLIER, "its address changed")
            self._fleet.end_probation(upstream, "its address changed")

    def wanted(self, upstream: UpstreamState) -> None:
        """Ignored: the operator's changes do not end an ejection."""

    def removed(self, upstream: UpstreamState) -> None:
        """Forget it."""
        self._terms.pop(upstream, None)

    # --- the verdict

    def _upstream(self, about: About) -> UpstreamState | None:
        pool = self._fleet.pools.get(about.pool)
        upstream = None if pool is None else pool.upstreams.get(about.id)
        if upstream is None or upstream.row != about.row:
            return None
        # A worker that does not know a new address yet reports about the previous machine.
        return upstream if upstream.address == about.host else None

    def _judge(self, upstream: UpstreamState, worker: int, message: Suspected, also: str = "") -> int:
        """The revision as of which it is ejected, 0 if it is not. `also`: further evidence."""
        if Cause.OUTLIER in upstream.causes:  # another worker reported it first
            return self._fleet.revision
        if message.on_probation and not upstream.on_probation:
            return 0  # a request of another worker has succeeded meanwhile
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
        term = self._terms.setdefault(upstream, EjectionTerm(self._specs[upstream.pool]))
        seconds = term.begin(now)
        self._fleet.eject(upstream, Cause.OUTLIER, seen, term=f" for {seconds:g} s{in_a_row(term.in_a_row)}")
        self._call_later(seconds, partial(self._time_is_over, upstream, term, seconds))
        return self._fleet.revision

    def _reason(
        self, message: Suspected, upstream: UpstreamState, members: Sequence[UpstreamState]
    ) -> SkipReason | None:
        if message.skip_reason is not None:
            return message.skip_reason
        return skip_reason(upstream, members, self._specs[upstream.pool].max_percent)

    def _may_say(self, pool: str, reason: SkipReason) -> bool:
        now = self._clock.monotonic_ns()
        said = self._said.get((pool, reason))
        if said is not None and now - said < _SAY_EVERY_NS:
            return False
        self._said[pool, reason] = now
        return True

    def _time_is_over(self, upstream: UpstreamState, term: EjectionTerm, seconds: float) -> None:
        # An upstream that has moved has another term, or none; a term begins only after the one before.
        if self._terms.get(upstream) is term:
            why = f"{seconds:g} s are over; it gets one request at a time until one succeeds"
            self._fleet.put_on_probation(upstream, why)
