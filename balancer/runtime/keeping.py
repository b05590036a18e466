"""Collects what an instance keeps beyond its end, and puts it in force again (L7).

What was set at an upstream that is not there yet, because discovery has not found it, waits until it comes.
"""

import logging
from collections.abc import Callable, Iterable, Sequence

from balancer.admin.view import RefusedError
from balancer.runtime.fleet import Fleet
from balancer.runtime.kept import Ejected, Kept, KeptUpstream, Learned
from balancer.runtime.operator import Operator
from balancer.runtime.outliers import Outliers
from balancer.runtime.states import UpstreamState
from balancer.spec.part import replaced
from balancer.telemetry import columns as c
from balancer.telemetry.ledger import Ledger
from balancer.upstreams.state import Cause

AWAITED = 600.0  # seconds that what was set at an upstream waits for it


class Keeping:
    """A `states.FleetWatcher` for upstreams that come later."""

    def __init__(
        self,
        operator: Operator,
        outliers: Outliers,
        failing: Callable[[UpstreamState], None],
        ledger: Ledger,
        call_later: Callable[[float, Callable[[], None]], object],
        log: logging.Logger,
    ) -> None:
        """`failing` tells the checks of an upstream that it has failed them before."""
        self._failing = failing
        self._call_later = call_later
        self._operator = operator
        self._outliers = outliers
        self._ledger = ledger
        self._log = log
        self._awaited: dict[tuple[str, str], KeptUpstream] = {}
        operator.on_forget = self._forget

    def _forget(self) -> bool:
        awaited, self._awaited = self._awaited, {}
        return bool(awaited)

    def _give_up(self) -> None:
        """An address that comes later may be that of another replica."""
        for pool, upstream in self._awaited:
            self._log.warning("what was set at %s of pool %s is forgotten: it is not found", upstream, pool)
        self._awaited.clear()

    # --- collecting

    def now(self, upstreams: Iterable[UpstreamState]) -> Kept:
        """What a file keeps. It includes what waits for an upstream."""
        changed, splits = self._operator.kept()
        return Kept(
            upstreams=(*changed, *self._awaited.values()),
            splits=splits,
            registered=self._operator.registered(),
            read_only=self._operator.read_only(),
            revision=self._operator.revision,
            learned=tuple(filter(None, map(self._learned, upstreams))),
        )

    def handed(self, upstreams: Sequence[UpstreamState]) -> Kept:
        """What the program that replaces this one gets."""
        ejected = tuple(self._ejected(one) for one in upstreams if one.causes or one.on_probation)
        return replaced(self.now(upstreams), ejected=ejected)

    def _learned(self, upstream: UpstreamState) -> Learned | None:
        column = c.UPSTREAM_INFLIGHT_LIMIT
        (limit,) = self._ledger.part(upstream.row, column, column + 1)
        service = self._ledger.most(upstream.row, c.UPSTREAM_SERVICE_NS) if limit else 0
        idle = self._ledger.most(upstream.row, c.UPSTREAM_IDLE_TIMEOUT_NS)
        if not service and not idle:
            return None
        return Learned(
            pool=upstream.pool,
            id=upstream.id,
            limit=limit if service else 0,
            service_ns=service,
            idle_timeout_ns=idle,
        )

    def _ejected(self, upstream: UpstreamState) -> Ejected:
        left, in_a_row = self._outliers.term_left(upstream)
        return Ejected(
            pool=upstream.pool,
            id=upstream.id,
            address=upstream.address,
            causes=tuple(sorted(upstream.causes)),
            on_probation=upstream.on_probation,
            left=left,
            in_a_row=in_a_row,
        )

    # --- in force again

    def restore(self, kept: Kept, fleet: Fleet) -> None:
        """Put it in force, as far as the settings still have what it is about."""
        self._operator.resume(kept.revision)
        for split in kept.splits:
            try:
                self._operator.restore_split(split)
            except RefusedError as error:
                self._log.warning("the weights kept of route %s are not used: %s", split.route, error)
        for one in kept.upstreams:
            pool = fleet.pools.get(one.pool)
            if pool is None:
                self._log.warning("what was set at %s is not used: there is no pool %s", one.id, one.pool)
            elif one.id in pool.upstreams:
                self._operator.restore(pool.upstreams[one.id], one)
            elif one.added:
                try:
                    self._operator.add(one.pool, one.added, one.by)
                except RefusedError as error:
                    self._log.warning("the added upstream %s is not used: %s", one.id, error)
                else:
                    self._operator.restore(pool.upstreams[one.id], one)
            else:
                self._awaited[one.pool, one.id] = one
        if self._awaited:
            self._call_later(AWAITED, self._give_up)
        for read_only in kept.read_only:
            try:
                self._operator.restore_read_only(read_only)
            except RefusedError as error:
                self._log.warning("what was kept of route %s is not used: %s", read_only.route, error)
        for registered in kept.registered:
            if registered.pool not in fleet.pools:
                continue
            try:
                self._operator.restore_registered(registered)
            except RefusedError as error:
                self._log.warning("the registered upstream %s is not used: %s", registered.entry, error)
        for ejected in kept.ejected:
            pool = fleet.pools.get(ejected.pool)
            upstream = None if pool is None else pool.upstreams.get(ejected.id)
            if upstream is not None and upstream.address == ejected.address:
                self._eject(fleet, upstream, ejected)

    def seed(self, kept: Kept, fleet: Fleet) -> int | None:
        """A page of the segment with what workers had learned, for the first ones; None if that is
        nothing."""
        page = None
        for one in kept.learned:
            pool = fleet.pools.get(one.pool)
            upstream = None if pool is None else pool.upstreams.get(one.id)
            if upstream is None:
                continue
            page = self._ledger.take_page() if page is None else page
            cells = self._ledger.cells(page, upstream.row)
            cells[c.UPSTREAM_INFLIGHT_LIMIT] = one.limit
            cells[c.UPSTREAM_SERVICE_NS] = one.service_ns
            cells[c.UPSTREAM_IDLE_TIMEOUT_NS] = one.idle_timeout_ns
        return page

    def _eject(self, fleet: Fleet, upstream: UpstreamState, was: Ejected) -> None:
        why = "as before the replacement of the program"
        if Cause.ACTIVE_CHECK in was.causes:
            fleet.eject(upstream, Cause.ACTIVE_CHECK, why)
            self._failing(upstream)
        if Cause.OUTLIER in was.causes or was.on_probation:
            fleet.eject(upstream, Cause.OUTLIER, why)
            self._outliers.resume(upstream, was.left, was.in_a_row)

    # --- the fleet's calls (FleetWatcher)

    def added(self, upstream: UpstreamState) -> None:
        """What was set at it is in force again."""
        kept = self._awaited.pop((upstream.pool, upstream.id), None)
        if kept is not None:
            self._operator.restore(upstream, kept)

    def moved(self, upstream: UpstreamState) -> None:
        """Ignored: changes are about its id."""

    def wanted(self, upstream: UpstreamState) -> None:
        """Ignored."""

    def removed(self, upstream: UpstreamState) -> None:
        """Ignored: what was set at it ends with it."""
