"""Reads the state of the instance for the dashboard (L7), on the event loop: what is read in one call belongs
together."""

from collections.abc import Callable
from typing import Final, Protocol

from balancer.clock import Clock
from balancer.overview.timeline import Key
from balancer.runtime.fleet import Fleet
from balancer.runtime.instance import Instance, Reloads, WorkerReports
from balancer.runtime.moment import Moment, SideMoment, of_pool, state_of
from balancer.runtime.route_counts import RouteCounts
from balancer.runtime.shaping import EVENTS_SHOWN, FAILURES_SHOWN, RouteSeen, Seen, SideSeen
from balancer.telemetry.events import Event
from balancer.telemetry.ledger import Ledger

# Kinds of events that say why an upstream is in its state.
_REASONS: Final = frozenset(("ejected", "probation", "draining", "maintenance"))


class Slots(WorkerReports, Protocol):
    """What it needs from the workers."""

    def states(self) -> dict[int, str]:
        """Of each slot in use."""


class Seeing:
    """`look` is for a sample, `see` for an overview."""

    def __init__(
        self,
        instance: Instance,
        fleet: Fleet,
        routes: RouteCounts,
        workers: Slots,
        reloads: Reloads,
        ledger: Ledger,
        clock: Clock,
    ) -> None:
        self._instance = instance
        self._fleet = fleet
        self._routes = routes
        self._workers = workers
        self._reloads = reloads
        self._ledger = ledger
        self._clock = clock
        self._revision = 0  # of the last event seen
        self._causes: dict[Key, Event] = {}

    def look(self) -> Moment:
        """What a sample needs."""
        return Moment(
            wall=self._clock.wall(),
            now=self._clock.monotonic_ns() / 1e9,
            sides=[
                SideMoment(name, side.pool, side.slo)
                for name, _, sides in self._routes.now()
                for side in sides
            ],
            pools=[of_pool(pool) for pool in self._fleet.pools.values()],
            workers=self._workers.sampling(),
            edges=self._ledger.edges,
        )

    def see(self) -> Seen:
        """What an overview needs."""
        instance, splits, readonly = self._instance, self._routes.splits, self._routes.readonly
        upstreams = {(one.pool, one.id): one for one in self._fleet.upstreams()}
        self._follow(upstreams.__contains__)
        return Seen(
            wall=self._clock.wall(),
            started=instance.started,
            revision=instance.revision,
            routes=[
                RouteSeen(
                    name,
                    is_split,
                    readonly.left(name),
                    splits.gate(name),
                    splits.last_gate(name),
                    [SideSeen(side.pool, side.weight, side.eligible, side.slo) for side in sides],
                )
                for name, is_split, sides in self._routes.now()
            ],
            pools=instance.states(),
            states={key: state_of(one) for key, one in upstreams.items()},
            causes=dict(self._causes),
            ready=self._workers.states(),
            certificates=instance.certificates(),
            events=instance.events.newest(EVENTS_SHOWN),
            failures=instance.failures(FAILURES_SHOWN),
            reload_failed=self._reloads.sample().failed,
        )

    def _follow(self, exists: Callable[[Key], bool]) -> None:
        """Read the events since the last time."""
        for event in self._instance.events.after(self._revision):
            self._revision = event.revision
            if event.upstream is not None and event.kind in _REASONS:
                self._causes[event.pool, event.upstream] = event
        for gone in [key for key in self._causes if not exists(key)]:
            del self._causes[gone]
