"""Handles outliers of one pool in a worker: ejects and reports them, and tries those on probation."""

from collections.abc import Sequence
from typing import Final, Protocol

from balancer.clock import Clock
from balancer.errors import Outcome
from balancer.messages import Doubt, Eject, Recovered, Tell
from balancer.outliers.detector import OutlierDetector, Suspicion
from balancer.upstreams.fault import Fault, Proof
from balancer.upstreams.state import Cause, is_eligible
from balancer.upstreams.traffic_history import TrafficHistory
from balancer.upstreams.upstream import Upstream

# For this long an upstream on probation is tried only by requests that can be sent again, and only when no
# request from before its ejection is running there; then by any.
_PATIENCE_NS: Final = 1_000_000_000
# One request at a time decides on a probation. If it takes longer, as a tunnel does, another one may try.
_TRIAL_NS: Final = 5_000_000_000
# A trial cancelled after at least this long has lost a connect race: the upstream does not answer.
_LOST_NS: Final = 200_000_000
_UNTIL_TOLD: Final = 1 << 62  # later than every revision
# After connecting, another upstream may get the request: only its result shows whose fault the failure was.
JUDGED_LATER: Final = (Outcome.FAILED, Outcome.TIMED_OUT)
# Start time of attempts that end as a dial: dials are short, so their result is recent.
LATELY_NS: Final = 1 << 62


class Asker(Protocol):
    """The origin of an attempt's request."""

    def network(self) -> str:
        """The client, as returned by `client_network`."""

    def holds(self, upstream: Upstream) -> bool:
        """Whether the client chose `upstream`, by a cookie or hash key, not the policy."""


class LocalEjector:
    """Called by the pool when an attempt begins while any upstream is `on_probation`, and when one ends other
    than as a plain success. A failure after connecting is judged once its exchange has shown whose fault it
    was."""

    __slots__ = ("_clock", "_detector", "_members", "_methods", "_pool", "_tell", "on_probation")

    def __init__(
        self, pool: str, detector: OutlierDetector, methods: frozenset[bytes], tell: Tell, clock: Clock
    ) -> None:
        """`methods` may be sent twice."""
        self._clock = clock
        self._pool = pool
        self._detector = detector
        self._methods = methods
        self._tell = tell
        self._members: Sequence[Upstream] = ()
        self.on_probation: list[Upstream] = []  # not candidates, as there are others

    def rebuild(self, members: Sequence[Upstream], candidates: Sequence[Upstream]) -> None:
        """States have changed."""
        self._members = members
        now = self._clock.monotonic_ns()
        for one in members:
            if one.on_probation and not one.history.probation_ns:
                one.history.probation_ns = now
        backup = not candidates or candidates[0].backup
        self.on_probation = [
            one
            for one in members
            if one.on_probation
            and one.is_reachable()
            and is_eligible(one.admin_state, one.causes, one.first_check)
            and (backup or not one.backup)
            and one not in candidates
        ]

    def on_trial(self, method: bytes, now_ns: int) -> Upstream | None:
        """An upstream on probation that should be tried now, with one request at a time; None if there is
        none."""
        for upstream in self.on_probation:
            history = upstream.history
            running = history.trial_ns > 0 and now_ns - history.trial_ns < _TRIAL_NS
            if running or upstream.is_full() or now_ns < history.quiet_until_ns:
                continue
            if not history.asked_ns:
                history.asked_ns = now_ns
            waited = now_ns - history.asked_ns >= _PATIENCE_NS
            if waited or (method in self._methods and not upstream.inflight):
                history.trial_ns = now_ns
                return upstream
        return None

    def weigh(
        self, upstream: Upstream, outcome: Outcome, began_ns: int, latency_ns: int, asker: Asker | None
    ) -> bool:
        """An attempt that began at `began_ns` has ended; returns whether its upstream's state has changed.
        `asker` is its origin, None if nothing was sent."""
        if outcome in JUDGED_LATER:
            return False
        history = upstream.history
        # Attempts from before its ejection may still end there; they decide nothing.
        decides = upstream.on_probation and began_ns >= history.probation_ns
        if began_ns >= history.trial_ns:
            if outcome is Outcome.CANCELLED and self._has_lost(history.trial_ns):
                outcome = Outcome.CONNECT_FAILED
            history.trial_ns = 0
        if outcome is Outcome.SUCCESS:
            history.succeeded(began_ns + latency_ns)
            recovers = decides and not upstream.is_outlier()
            if recovers:
                upstream.on_probation = False
                self._tell(Recovered(pool=self._pool, id=upstream.id, row=upstream.row, host=upstream.host))
            history.watched |= upstream.on_probation
            return recovers
        if outcome is Outcome.SERVER_ERROR and asker is not None:
            held = asker.holds(upstream)
            return self._is_out(upstream, Fault(outcome, Proof.SURE, asker.network(), held), decides)
        return self._is_out(upstream, Fault(outcome), decides)

    def judge(self, upstream: Upstream, history: TrafficHistory, fault: Fault, began_ns: int) -> bool:
        """The exchange of an attempt that failed after connecting has ended, and shows whose fault it was.
        Returns whether the upstream's state has changed. `history` was its when the attempt failed."""
        if history is not upstream.history:
            return False  # it is another machine now
        decides = upstream.on_probation and began_ns >= history.probation_ns
        if began_ns >= history.trial_ns:
            history.trial_ns = 0
        return self._is_out(upstream, fault, decides)

    def _is_out(self, upstream: Upstream, fault: Fault, decides: bool) -> bool:
        suspicion = self._detector.ended(upstream, fault, self._members, decides)
        if suspicion is None or upstream not in self._members:
            return False
        if suspicion.doubted:
            self._tell(self._found(Doubt, upstream, suspicion))
            return False
        # If it cannot be reported, it is not ejected: the supervisor would never end the ejection.
        if not self._tell(self._found(Eject, upstream, suspicion)) or suspicion.skip_reason is not None:
            return False
        upstream.history.held_until = _UNTIL_TOLD
        upstream.causes |= {Cause.OUTLIER}
        return True

    def overruled(self, upstream: Upstream) -> None:
        """The supervisor has refused its ejection."""
        self._detector.overruled(upstream)
        upstream.causes -= {Cause.OUTLIER}

    def _has_lost(self, trial_ns: int) -> bool:
        return trial_ns > 0 and self._clock.monotonic_ns() - trial_ns >= _LOST_NS

    def _found(
        self, kind: type[Doubt] | type[Eject], upstream: Upstream, suspicion: Suspicion
    ) -> Doubt | Eject:
        return kind(
            pool=self._pool,
            id=upstream.id,
            row=upstream.row,
            host=upstream.host,
            symptom=suspicion.symptom,
            count=suspicion.count,
            on_probation=suspicion.on_probation,
            skip_reason=suspicion.skip_reason,
        )
