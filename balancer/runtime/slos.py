"""The promises in force (L7), and their counts for the metrics, which come from the stats segment: nothing is
counted for them while requests are served."""

import threading
from collections.abc import Container, Iterator, Mapping
from typing import TypeAlias

from balancer.edges import Edges
from balancer.runtime.tally import Tally, tally
from balancer.spec.instance import InstanceSpec
from balancer.spec.slo import SloSpec
from balancer.telemetry.buckets import Buckets
from balancer.telemetry.columns import Kind
from balancer.telemetry.ledger import Ledger
from balancer.telemetry.samples import SloSample

_Side: TypeAlias = tuple[str, str]  # a route, and a pool that serves its requests
_Counts: TypeAlias = tuple[int, int, int]  # requests, slow and failed ones
_NOTHING: _Counts = (0, 0, 0)


class _Counted:
    """The counts of a side, which never decrease: not when its promise changes, and not when a scrape reads
    its row while a worker stores it."""

    __slots__ = ("_before", "_since", "shown", "slo")

    def __init__(self, slo: SloSpec, since: _Counts) -> None:
        self.slo = slo
        self.shown = _NOTHING
        self._before = _NOTHING  # by earlier latencies
        self._since = since  # what is in the row, but does not count

    def show(self, now: _Counts) -> _Counts:
        """The counts for the metrics, where `now` is what is in the row."""
        requests, slow, failed = (
            max(shown, before + count - since)
            for shown, before, count, since in zip(self.shown, self._before, now, self._since, strict=True)
        )
        self.shown = requests, slow, failed
        return self.shown

    def change(self, slo: SloSpec, before: _Counts, now: _Counts) -> None:
        """Another promise from now on: its row has `before` by the old one, and `now` by the new one."""
        self._before = self.show(before)
        self._since = now
        self.slo = slo


class Slos:
    """By route and pool. Sums of the segment may be asked for in a thread."""

    def __init__(self, spec: InstanceSpec, ledger: Ledger) -> None:
        self._ledger = ledger
        self._lock = threading.Lock()
        self._shown = spec.buckets
        self._sides = {(slo.route, slo.pool): _Counted(slo, _NOTHING) for slo in spec.slos}
        ledger.edges = Edges(spec.worker.edges)

    def settle(self, spec: InstanceSpec) -> None:
        """The promises are these now."""
        self._shown = spec.buckets
        edges = Edges(spec.worker.edges)
        if edges.order == self._ledger.edges.order and spec.slos == tuple(
            each.slo for each in self._sides.values()
        ):
            return
        with self._lock:
            before = self._tallies({(slo.route, slo.pool) for slo in spec.slos})
            self._ledger.edges = edges
            old, self._sides = self._sides, {}
            for slo in spec.slos:
                side = slo.route, slo.pool
                was = before.get(side)
                now = _NOTHING if was is None else _counts(slo, was._replace(edges=edges))
                counted = old.get(side)
                if counted is None:
                    counted = _Counted(slo, now)
                elif counted.slo.latency != slo.latency and was is not None:
                    counted.change(slo, _counts(counted.slo, was), now)
                counted.slo = slo
                self._sides[side] = counted

    def of(self, route: str, pool: str) -> SloSpec | None:
        """What is promised for the requests of a route that a pool serves, None for nothing."""
        counted = self._sides.get((route, pool))
        return None if counted is None else counted.slo

    def of_route(self, route: str) -> list[SloSpec]:
        """What is promised for each side of a route that has a promise."""
        return [one.slo for (name, _), one in self._sides.items() if name == route]

    def of_pool(self, pool: str) -> list[SloSpec]:
        """What is promised for each route to a pool that has a promise."""
        return [one.slo for (_, name), one in self._sides.items() if name == pool]

    def buckets(self) -> Buckets:
        """Which bounds the histograms of the metrics have."""
        latencies = (one.slo.latency for one in self._sides.values())
        return Buckets(self._ledger.edges, (*self._shown, *latencies))

    def samples(self) -> list[SloSample]:
        """What the metrics show; sums the segment."""
        with self._lock:
            return list(self._samples(self._tallies(self._sides)))

    def _samples(self, tallies: Mapping[_Side, Tally]) -> Iterator[SloSample]:
        for side, counted in self._sides.items():
            slo, now = counted.slo, tallies.get(side)
            shown = counted.shown if now is None else counted.show(_counts(slo, now))
            yield SloSample(*side, slo.latency, slo.percentile, slo.errors, slo.window, *shown)

    def _tallies(self, sides: Container[_Side]) -> dict[_Side, Tally]:
        """Of these sides, by the bounds in force."""
        edges = self._ledger.edges
        rows = self._ledger.totals(Kind.ROUTE, sides)
        return {(route, pool): tally(cells, edges) for (route, pool), cells in rows}


def _counts(slo: SloSpec, found: Tally) -> _Counts:
    return found.begun, found.slower(slo.latency), found.errors
