"""Connects active checks with the fleet (L7): which upstreams are checked, and what the results change."""

from collections.abc import Callable, Iterable, Mapping

from balancer.health.active import ActiveChecks
from balancer.runtime.fleet import Fleet
from balancer.runtime.states import UpstreamState
from balancer.spec.instance import CheckSpec
from balancer.telemetry.columns import (
    CODE_COLUMN,
    HISTOGRAM_CELLS,
    UPSTREAM_FIRST_BYTE,
    UPSTREAM_INFLIGHT,
    Kind,
)
from balancer.telemetry.ledger import Ledger
from balancer.upstreams.state import AdminState, Cause

_FIRST_SERVER_ERROR = CODE_COLUMN[500]


class FleetCheckSink:
    """Applies the results of checks to the fleet (`health.check_sink.CheckSink`)."""

    def __init__(
        self, fleet: Fleet, ledger: Ledger, unanswered: Callable[[UpstreamState, str], None]
    ) -> None:
        """`unanswered` is called if an upstream does not answer at its address: its name may have others."""
        self._fleet = fleet
        self._ledger = ledger
        self._unanswered = unanswered

    def failing(self, upstream: UpstreamState, why: str) -> None:
        """FALL checks in a row have failed."""
        self._fleet.eject(upstream, Cause.ACTIVE_CHECK, why)

    def passing(self, upstream: UpstreamState, why: str) -> None:
        """RISE checks in a row have passed again."""
        self._fleet.readmit(upstream, Cause.ACTIVE_CHECK, why)

    def draining(self, upstream: UpstreamState, on: bool, why: str) -> None:
        """The app announces that it wants no new work (`on`), or wants it again."""
        self._fleet.announce(upstream, on, why)

    def passed_first(self, upstream: UpstreamState, what: str) -> None:
        """Its first check has passed."""
        self._fleet.passed_first(upstream, what)

    def unanswered(self, upstream: UpstreamState, why: str) -> None:
        """Nothing answers at its address, and it is failing."""
        self._unanswered(upstream, why)

    def served(self, upstream: UpstreamState) -> int:
        """Responses below 500 so far. Unlisted codes do not count: they may be of any class."""
        return sum(self._ledger.total(Kind.UPSTREAM, upstream.row)[:_FIRST_SERVER_ERROR])

    def answers(self, upstream: UpstreamState) -> int:
        """Responses so far, whatever their status."""
        end = UPSTREAM_FIRST_BYTE + HISTOGRAM_CELLS
        return sum(self._ledger.part(upstream.row, UPSTREAM_FIRST_BYTE, end))

    def silent(self, upstream: UpstreamState, since_ns: int) -> None:
        """It has answered nothing since `since_ns`, while others have; 0 if that is not so."""
        self._fleet.set_silent(upstream, since_ns)

    def is_busy(self, upstream: UpstreamState) -> bool:
        """Whether any worker has requests in flight at it."""
        return self._ledger.total(Kind.UPSTREAM, upstream.row)[UPSTREAM_INFLIGHT] > 0


class CheckedFleet:
    """Keeps the checks in sync with the fleet (`states.FleetWatcher`)."""

    def __init__(self, checks: ActiveChecks[UpstreamState], specs: Mapping[str, CheckSpec]) -> None:
        """`specs` by pool; a pool that is not among them is not checked."""
        self._checks = checks
        self._specs = specs
        self._out: set[UpstreamState] = set()  # in maintenance

    def settle(self, specs: Mapping[str, CheckSpec], upstreams: Iterable[UpstreamState]) -> None:
        """The checks of each pool are these now. What was found about its upstreams stays."""
        before, self._specs = self._specs, specs
        for upstream in upstreams:
            old, new = before.get(upstream.pool), specs.get(upstream.pool)
            if new is None:
                self._checks.remove(upstream)
            elif new != old and upstream not in self._out:
                self._checks.change(upstream, new)

    def added(self, upstream: UpstreamState) -> None:
        """It is checked at once."""
        if (spec := self._specs.get(upstream.pool)) is not None:
            self._checks.add(upstream, spec)

    def moved(self, upstream: UpstreamState) -> None:
        """Check it again: results of the old address say nothing about the new one."""
        if upstream.pool in self._specs:
            self._checks.moved(upstream)

    def wanted(self, upstream: UpstreamState) -> None:
        """In maintenance it is not checked; afterwards its checks start again, at once."""
        if (spec := self._specs.get(upstream.pool)) is None:
            return
        if upstream.admin_state is AdminState.MAINTENANCE:
            self._out.add(upstream)
            self._checks.remove(upstream)
        elif upstream in self._out:
            self._out.discard(upstream)
            self._checks.add(upstream, spec, draining=upstream.announced)

    def removed(self, upstream: UpstreamState) -> None:
        """Stop checking it."""
        self._out.discard(upstream)
        self._checks.remove(upstream)  # also if the settings have no checks, or no such pool, any more
