"""What the supervisor does for its workers and its admin application (L7): the parts of the control plane,
and how they take up other settings.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from balancer.clock import Clock
from balancer.config.address import Address
from balancer.config.ourselves import ourselves
from balancer.discovery.discovery import Discovery
from balancer.discovery.lookup import SystemResolver
from balancer.health.active import ActiveChecks
from balancer.health.probe import Probes
from balancer.messages import FromSupervisor, RoutesUpdate
from balancer.runtime.aside import aside
from balancer.runtime.checking import CheckedFleet, FleetCheckSink
from balancer.runtime.fleet import Fleet
from balancer.runtime.live_tls import LiveTls
from balancer.runtime.looked_up import LookedUp
from balancer.runtime.open_files import Shares
from balancer.runtime.operator import Operator
from balancer.runtime.outliers import Outliers
from balancer.runtime.overload import OverloadWatch
from balancer.runtime.places import Places, pool_state, pool_states, route_rows, side_pools
from balancer.runtime.plan import Plan
from balancer.runtime.readonly import ReadonlyRoutes
from balancer.runtime.route_counts import RouteCounts
from balancer.runtime.slos import Slos
from balancer.runtime.splits import Splits
from balancer.runtime.states import UpstreamState
from balancer.runtime.tally import Tally, tally
from balancer.spec.instance import CheckSpec, SupervisedPool
from balancer.spec.tls import ChallengeSpec
from balancer.spec.worker import PoolSpec, WorkerSpec
from balancer.telemetry.columns import Kind
from balancer.telemetry.events import EventLog
from balancer.telemetry.ledger import Ledger

if TYPE_CHECKING:
    from balancer.runtime.acme import Acme


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the parts need from the supervisor. `broadcast` reaches all workers."""

    ledger: Ledger
    events: EventLog
    clock: Clock
    log: logging.Logger
    loop: asyncio.AbstractEventLoop
    broadcast: Callable[[FromSupervisor], None]
    shares: Shares


class ControlPlane:
    """The parts for `plan`; `addresses` are where its listeners really listen, the plain one first, `admin`
    where the admin listener does."""

    def __init__(
        self, plan: Plan, addresses: Sequence[Address], admin: Address, around: Surroundings
    ) -> None:
        spec = plan.instance
        self.plan = plan
        self._around = around
        self._admin = admin
        ledger, clock, log, loop = around.ledger, around.clock, around.log, around.loop
        self.slos = Slos(spec, ledger)
        self.fleet = Fleet(
            pool_states(spec, ledger),
            ledger=ledger,
            events=around.events,
            clock=clock,
            log=log,
            call_later=loop.call_later,
            broadcast=around.broadcast,
            own=ourselves(addresses[0], admin, *addresses[1:]),
        )
        self.splits = Splits(
            spec.worker.routes,
            note=partial(self.fleet.note, "split"),
            broadcast=around.broadcast,
            tally=self._tally,
            slo_of=self.slos.of,
            clock=clock,
            log=log,
        )
        self.readonly = ReadonlyRoutes(
            [route.name for route in spec.worker.routes],
            note=partial(self.fleet.note, "read_only"),
            broadcast=around.broadcast,
            call_later=loop.call_later,
            clock=clock,
            log=log,
        )
        self.tls = LiveTls(plan, note=self.fleet.note, broadcast=around.broadcast, clock=clock, log=log)
        self.acme = self._open_acme()
        resolver = SystemResolver(max_threads=around.shares.lookups)
        self.discovery = Discovery(self.fleet, resolver, log, clock, aside)
        self._probes = Probes(
            spec.worker.via, around.shares.checks, {pool.name: pool.tls for pool in spec.worker.pools}
        )
        self.tls.on_upstreams = self._probes.update
        self.checks: ActiveChecks[UpstreamState] = ActiveChecks(
            clock=clock,
            random=Random(),
            sink=FleetCheckSink(self.fleet, ledger, self.discovery.unanswered),
            open_probe=self._probes,
            loop=loop,
        )
        self.checks.count_over(ledger.edges)
        self._checked = CheckedFleet(self.checks, _checks(spec.pools))
        self.outliers = Outliers(
            self.fleet,
            {pool.name: pool.ejection for pool in spec.pools},
            clock=clock,
            call_later=loop.call_later,
            check_now=self.checks.check_now,
        )
        self.fleet.watchers += [LookedUp(self.discovery), self._checked, self.outliers]
        for upstream in self.fleet.upstreams():
            for watcher in self.fleet.watchers:
                watcher.added(upstream)
        for pool in spec.pools:
            for name in pool.names:
                self.discovery.watch_entry(pool.name, name)
        self.operator = Operator(self.fleet, self.splits, self.readonly, clock)
        self.overload = OverloadWatch(self.fleet, ledger, clock)
        self.routes = RouteCounts(
            spec.worker.routes, self.splits, self.readonly, self.fleet, ledger, self.slos.of
        )

    def _tally(self, route: str, pool: str) -> Tally:
        ledger = self._around.ledger
        return tally(ledger.total(Kind.ROUTE, ledger.row(Kind.ROUTE, route, pool)), ledger.edges)

    def places(self, spec: WorkerSpec | None = None) -> Places:
        """For the `start` messages of workers, by the present settings or, before they are in force, by
        `spec`. Raises StartupError if there is no room for its routes."""
        return Places(
            spec or self.plan.instance.worker,
            self.fleet,
            self.splits,
            self.readonly,
            self._around.ledger,
            present=None if spec is not None else lambda: self.tls.worker_spec,
            challenges=self._challenges,
        )

    def _challenges(self) -> tuple[ChallengeSpec, ...]:
        return () if self.acme is None else self.acme.challenges

    def _open_acme(self) -> "Acme | None":
        if self.tls.listener is None or self.plan.tls is None or self.plan.tls.acme is None:
            return None
        from balancer.runtime.acme import Acme  # half a MiB that others need not have

        around = self._around
        return Acme(
            self.plan.tls.acme,
            self.tls.listener,
            note=self.fleet.note,
            broadcast=around.broadcast,
            clock=around.clock,
            log=around.log,
        )

    # --- other settings

    def open_pools(self, plan: Plan) -> list[str]:
        """Add the pools that only `plan` has: they are looked up and checked from now on, and serve when
        workers know them. Returns their names. Raises StartupError if there is no room for them; nothing has
        changed then."""
        supervised = {pool.name: pool for pool in plan.instance.pools}
        specs = [pool for pool in plan.instance.worker.pools if pool.name not in self.fleet.pools]
        new = [pool_state(pool, supervised[pool.name], self._around.ledger) for pool in specs]
        both = (*plan.instance.pools, *self.plan.instance.pools)  # of the two, what is in force
        self._checked.settle(_checks(both), ())
        self.outliers.settle({pool.name: pool.ejection for pool in both})
        for pool in new:
            self._probes.update(pool.name, pool.spec.tls)
            self.fleet.open_pool(pool)
            for name in supervised[pool.name].names:
                self.discovery.watch_entry(pool.name, name)
        return [pool.name for pool in new]

    def close_pools(self, names: Iterable[str], plan: Plan, holders: set[int]) -> None:
        """Remove these pools of a plan. Workers whose pages are `holders` know them."""
        entries = {pool.name: pool for pool in plan.instance.pools}
        ledger = self._around.ledger
        for name in names:
            pool = self.fleet.pools[name]
            for entry in entries[name].names:
                self.discovery.forget_entry(name, entry.id)
            self.fleet.close_pool(name)
            for upstream in pool.upstreams.values():
                ledger.retire(Kind.UPSTREAM, name, upstream.id, holders=holders)
            ledger.retire(Kind.POOL, name, holders=holders)

    def open_routes(self, plan: Plan) -> None:
        """Make room for the counts of a plan's routes. Raises StartupError if there is none."""
        route_rows(plan.instance.worker.routes, self._around.ledger)

    def close_routes(self, plan: Plan, *, but: Plan, holders: set[int]) -> None:
        """Drop the counts of a plan's routes that the other one does not have. Workers whose pages are
        `holders` know them."""
        kept = set(_sides(but))
        for route, pool in _sides(plan):
            if (route, pool) not in kept:
                with suppress(KeyError):  # there was no room for it
                    self._around.ledger.retire(Kind.ROUTE, route, pool, holders=holders)

    async def known(self, pools: Sequence[str], within: float) -> None:
        """Wait until the upstreams of these pools have been looked up and checked once, for `within` seconds
        at most: those that hang must not keep the others from serving."""
        end = self._around.loop.time() + within
        with suppress(TimeoutError):
            async with asyncio.timeout_at(end):
                await self.discovery.asked()
        while self._around.loop.time() < end and any(map(self._is_unknown, pools)):  # noqa: ASYNC110 - seldom
            await asyncio.sleep(_GLANCE)

    def _is_unknown(self, pool: str) -> bool:
        return any(
            one.unchecked and one.address and self.checks.last(one) is None
            for one in self.fleet.pools[pool].upstreams.values()
        )

    def settle(self, plan: Plan, addresses: Sequence[Address], holders: set[int]) -> None:
        """Take up other settings; its pools are open. Workers whose pages are `holders` know the ones
        before."""
        before, self.plan = self.plan, plan
        spec, old = plan.instance, before.instance
        self.fleet.circles.settle(ourselves(addresses[0], self._admin, *addresses[1:]))
        self._settle_tls(before)
        self.outliers.settle({pool.name: pool.ejection for pool in spec.pools})
        specs = {pool.name: pool for pool in spec.worker.pools}
        were = {pool.name: pool for pool in old.pools}
        for pool in spec.pools:
            if (was := were.get(pool.name)) is not None:
                self._settle_members(specs[pool.name], was, pool)
        present = [one for one in self.fleet.upstreams() if one.pool in specs]
        self._checked.settle(_checks(spec.pools), present)
        self._settle_routes(before, holders)
        self.slos.settle(spec)
        self.checks.count_over(self._around.ledger.edges)

    def _settle_members(self, spec: PoolSpec, was: SupervisedPool, now: SupervisedPool) -> None:
        """The members of an entry that is gone leave, those of one that is only looked up otherwise stay."""
        pool, known = spec.name, {name.id: name for name in was.names}
        gone = known.keys() - {name.id for name in now.names}
        new = [name.id for name in now.names if name.id not in known]
        for entry in gone:
            self.discovery.forget_entry(pool, entry)
            self.fleet.set_problem(pool, entry, "")
        self.fleet.settle(spec, now, gone, heir=new[0] if new else "")
        for name in now.names:
            if known.get(name.id) != name:
                self.discovery.watch_entry(pool, name)

    def _settle_routes(self, before: Plan, holders: set[int]) -> None:
        old, new = before.instance.worker, self.plan.instance.worker
        self.splits.settle(new.routes)
        self.readonly.settle(route.name for route in new.routes)
        self.routes.settle(new.routes)
        if old.routes == new.routes:
            return
        update = RoutesUpdate(
            routes=new.routes,
            rows=route_rows(new.routes, self._around.ledger),
            splits=self.splits.updates(),
            read_only=self.readonly.updates(),
        )
        self._around.broadcast(update)
        self.close_routes(before, but=self.plan, holders=holders)

    def _settle_tls(self, before: Plan) -> None:
        """Read other files from now on; workers get what is in them."""
        listener = self.tls.listener
        self.tls.settle(self.plan, self.fleet.revision)
        if self.tls.listener is None or self.plan.tls is None or self.plan.tls.acme is None:
            self.acme = None
        elif before.tls is None or before.tls.acme != self.plan.tls.acme or self.tls.listener is not listener:
            self.acme = self._open_acme()


_GLANCE = 0.05  # seconds


def _sides(plan: Plan) -> list[tuple[str, str]]:
    """The routes' names with each of their pools."""
    return [(route.name, pool) for route in plan.instance.worker.routes for pool in side_pools(route)]


def _checks(pools: Iterable[SupervisedPool]) -> dict[str, CheckSpec]:
    return {pool.name: pool.check for pool in pools if pool.check is not None}
