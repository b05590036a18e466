"""Splits and routes for tests of the supervisor."""

import logging
from collections.abc import Callable, Sequence

from balancer.messages import ReadOnly, SplitUpdate
from balancer.runtime.fleet import Fleet
from balancer.runtime.operator import Operator
from balancer.runtime.readonly import ReadonlyRoutes
from balancer.runtime.route_counts import RouteCounts
from balancer.runtime.splits import Splits
from balancer.runtime.tally import Tally
from balancer.spec.slo import SloSpec
from balancer.spec.worker import RouteSpec
from balancer.telemetry.ledger import Ledger
from tests.fakes.loop import FakeClock


class FakeNotes:
    """Records events, and what the workers are told."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.told: list[SplitUpdate] = []
        self.readonly: list[ReadOnly] = []
        self.timers: list[tuple[float, Callable[[], None]]] = []

        self.clock = FakeClock()
        self.tallies: dict[str, Tally] = {}
        self.slos: dict[str, SloSpec] = {}  # by pool

    def tally(self, route: str, pool: str) -> Tally:
        return self.tallies[pool]

    def note(self, text: str) -> int:
        self.texts.append(text)
        return len(self.texts)


def splits(routes: Sequence[RouteSpec] = (), notes: FakeNotes | None = None) -> Splits:
    """Those of `routes`."""
    notes = notes or FakeNotes()
    log = logging.getLogger("balancer.test.splits")
    return Splits(
        routes,
        note=notes.note,
        broadcast=notes.told.append,
        tally=notes.tally,
        slo_of=lambda route, pool: notes.slos.get(pool),
        clock=notes.clock,
        log=log,
    )


def operator(fleet: Fleet, split: Splits | None = None, clock: FakeClock | None = None) -> Operator:
    """The operator of a fleet."""
    return Operator(fleet, split or splits(), readonly(), clock or FakeClock())


def route_counts(fleet: Fleet, ledger: Ledger, routes: Sequence[RouteSpec] = ()) -> RouteCounts:
    """The counts of `routes`."""
    return RouteCounts(routes, splits(routes), readonly(routes), fleet, ledger)


def readonly(routes: Sequence[RouteSpec] = (), notes: FakeNotes | None = None) -> ReadonlyRoutes:
    """Those of `routes`."""
    notes = notes or FakeNotes()
    return ReadonlyRoutes(
        [route.name for route in routes],
        note=notes.note,
        broadcast=notes.readonly.append,
        call_later=lambda delay, callback: notes.timers.append((delay, callback)),
        clock=notes.clock,
        log=logging.getLogger("balancer.test.readonly"),
    )
