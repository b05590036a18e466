"""Samples of the stats segment, and what they add up to."""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

from collections.abc import Iterator, Mapping, Sequence

import pytest

from balancer.overview.history import COARSE, FINE
from balancer.overview.oddity import LEAST
from balancer.runtime.figures import WINDOW, SampledFigures
from balancer.runtime.moment import Moment, PoolMoment, SideMoment
from balancer.telemetry import columns as c
from balancer.telemetry.columns import Kind
from balancer.telemetry.ledger import Ledger
from balancer.telemetry.samples import WorkerSample
from balancer.telemetry.segment import Segment
from tests.fakes.loop import FakeClock

MS = 1_000_000
A, B = "a:1", "b:1"


class Harness:
    """A route to one pool of two upstreams, counted by two workers' pages."""

    def __init__(self, segment: Segment) -> None:
        self.ledger = Ledger(segment)
        self.clock = FakeClock()
        self.figures = SampledFigures(self.ledger)
        self.workers = [self.ledger.take_page() for _ in range(2)]
        self.pages = [segment.page(index) for index in self.workers]
        self.states = {A: "active", B: "active"}
        self.overloaded = False
        self.cpu: Mapping[int, float] = {0: 1.0}
        self.routes: Sequence[str] = ["web"]
        for route in ("web", "api"):
            self.ledger.row(Kind.ROUTE, route, "pool")
        for upstream in (A, B):
            self.ledger.row(Kind.UPSTREAM, "pool", upstream)

    def cells(self, kind: Kind, *labels: str, worker: int = 0) -> memoryview[int]:
        return self.pages[worker].row(self.ledger.row(kind, *labels))

    def serve(
        self, upstream: str, n: int, ms: float = 20.0, code: int = 200, route: str = "web", worker: int = 0
    ) -> None:
        """So many requests."""
        cell = self.ledger.edges.cell(round(ms * MS))
        of_route = self.cells(Kind.ROUTE, route, "pool", worker=worker)
        of_route[c.CODE_COLUMN[code]] += n
        of_route[c.ROUTE_DURATION + cell] += n
        of_upstream = self.cells(Kind.UPSTREAM, "pool", upstream, worker=worker)
        of_upstream[c.CODE_COLUMN[code]] += n
        of_upstream[c.UPSTREAM_FIRST_BYTE + cell] += n

    def take(self) -> None:
        eligible = {id: state == "active" for id, state in self.states.items()}
        row = self.ledger.row(Kind.POOL, "pool")
        self.figures.take(
            Moment(
                wall=self.clock.wall(),
                now=self.clock.monotonic_ns() / 1e9,
                sides=[SideMoment(route, "pool", None) for route in self.routes],
                pools=[PoolMoment("pool", row, self.overloaded, dict(self.states), eligible)],
                workers=lambda: [
                    WorkerSample(slot, True, 0, seconds, 1 << 20, 9) for slot, seconds in self.cpu.items()
                ],
                edges=self.ledger.edges,
            )
        )

    def second(self, a: int = 0, b: int = 0, **how: float) -> None:
        """One passes, in which each upstream serves so many requests."""
        self.serve(A, a)
        self.serve(B, b, **how)  # type: ignore[arg-type]  # milliseconds and a code
        self.clock.advance(1.0)
        self.take()

    def series(self, of: str, name: str, kind: str = "fine") -> list[float | None]:
        values: list[float | None] = self.figures.recorded(0.0)["series"][of][name][kind]
        return values


@pytest.fixture
def harness() -> Iterator[Harness]:
    segment = Segment.create(workers=2)
    yield Harness(segment)
    segment.close()


def test_rates_are_of_the_last_ten_seconds_and_of_all_workers(harness: Harness) -> None:
    harness.take()
    for _ in range(30):
        harness.serve(A, 5, worker=1)
        harness.second(a=5, b=10)
    rates = harness.figures.rates_of_sides([("web", "pool")])
    assert (rates.rps, rates.n, rates.errors) == (20.0, 200, 0.0)
    assert harness.figures.rates_of(("pool", A)).n == 100
    for _ in range(WINDOW):
        harness.second()
    assert harness.figures.rates_of_sides([("web", "pool")]).n == 0


def test_percentiles_come_from_the_buckets_of_all_sides(harness: Harness) -> None:
    harness.routes = ["web", "api"]
    harness.take()
    harness.serve(A, 50, ms=4.0, route="api")
    harness.second(a=50, b=100, ms=80.0)
    rates = harness.figures.rates_of_sides([("web", "pool"), ("api", "pool")])
    assert rates.n == 200
    assert rates.p50 is not None
    assert rates.p99 is not None
    assert (2.5 < rates.p50 <= 25.0, 50.0 < rates.p99 <= 100.0) == (True, True)


def test_what_was_counted_before_the_first_sample_is_not_of_its_second(harness: Harness) -> None:
    harness.serve(A, 1000)
    harness.take()
    assert harness.figures.rates_of_sides([("web", "pool")]).n == 0
    harness.second(a=3)
    assert harness.figures.rates_of_sides([("web", "pool")]).n == 3


def test_counts_of_a_worker_that_has_ended_are_no_new_requests(harness: Harness) -> None:
    harness.take()
    harness.serve(A, 7, worker=1)
    harness.second(a=3)
    harness.ledger.fold(harness.workers[1])
    harness.second()
    assert harness.figures.rates_of_sides([("web", "pool")]).n == 10


def test_history_is_by_second_and_by_ten_seconds_and_ends_now(harness: Harness) -> None:
    harness.take()
    for second in range(1, 21):
        harness.second(a=second)
    fine, coarse = harness.series("route:web", "rps"), harness.series("route:web", "rps", "coarse")
    assert (len(fine), len(coarse)) == (FINE, COARSE)
    assert fine[-3:] == [18.0, 19.0, 20.0]
    assert fine[0] is None
    assert coarse[-2:] == [5.0, 14.5], "of the 9 and 10 seconds until the 10th and 20th sample"
    assert harness.series("pool:pool", "rps")[-1] == 20.0


def test_series_of_a_route_that_is_gone_vanish_and_those_of_another_go_on(harness: Harness) -> None:
    harness.routes = ["web", "api"]
    harness.take()
    harness.second(a=4)
    harness.routes = ["web"]
    harness.second(a=5)
    assert harness.figures.history.keys() == {"route:web", "pool:pool"}
    assert harness.series("route:web", "rps")[-2:] == [4.0, 5.0]


def test_states_are_recorded_when_they_change(harness: Harness) -> None:
    harness.take()
    begun = harness.clock.wall()
    harness.second()
    harness.states[B] = "ejected"
    harness.second()
    states = harness.figures.recorded(0.0, "pool:pool")["states"]["pool"]
    assert states == {A: [(begun, "active")], B: [(begun, "active"), (begun + 2, "ejected")]}
    assert harness.figures.recorded(0.0, "route:web")["states"] == {}


def test_gauges_are_sums_over_workers_and_a_limit_is_only_where_all_have_one(harness: Harness) -> None:
    for worker in (0, 1):
        cells = harness.cells(Kind.UPSTREAM, "pool", A, worker=worker)
        cells[c.UPSTREAM_INFLIGHT], cells[c.UPSTREAM_INFLIGHT_LIMIT] = 3, 10
        harness.cells(Kind.POOL, "pool", worker=worker)[c.POOL_QUEUE_LENGTH] = 2
    harness.take()
    assert harness.figures.load("pool", [A]) == (6, 20)
    assert harness.figures.load("pool", [A, B]) == (6, 0)
    assert harness.figures.now.queue == {"pool": 4}


def test_refusals_are_per_second(harness: Harness) -> None:
    harness.take()
    for _ in range(4):
        harness.cells(Kind.POOL, "pool")[c.POOL_QUEUE_REJECTED] += 6
        harness.second()
    assert harness.figures.refused("pool") == 6.0
    assert harness.figures.refused("another") == 0.0


def test_cpu_is_a_share_of_a_core_and_not_known_of_a_new_slot(harness: Harness) -> None:
    harness.take()
    assert harness.figures.cpu(0) is None
    harness.cpu = {0: 1.25, 1: 0.5}
    harness.second()
    assert (harness.figures.cpu(0), harness.figures.cpu(1)) == (0.25, None)


def test_what_is_served_in_an_overload_proves_nothing(harness: Harness) -> None:
    harness.take()
    for _ in range(10):
        harness.second(a=10)
    most = harness.figures.most_served(("pool", A))
    harness.overloaded = True
    for _ in range(20):
        harness.second(a=50)
    assert harness.figures.most_served(("pool", A)) == most == 10.0


def test_errors_are_not_served(harness: Harness) -> None:
    harness.take()
    for _ in range(10):
        harness.second(b=10, code=500)
    assert harness.figures.most_served(("pool", B)) == 0.0


def test_an_upstream_that_is_slower_than_the_others_stands_out_since_then(harness: Harness) -> None:
    harness.take()
    for _ in range(20):
        harness.second(a=LEAST, b=LEAST, ms=800.0)
    since, why = harness.figures.odd(("pool", B)) or (0.0, "")
    assert 0 <= harness.clock.wall() - since <= 20
    assert why.startswith("its p95 is 9")
    assert harness.figures.odd(("pool", A)) is None
    harness.states[B] = "ejected"
    for _ in range(10):
        harness.second(a=LEAST)
    assert harness.figures.odd(("pool", B)) is None
