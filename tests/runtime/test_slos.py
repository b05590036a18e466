"""The promises in force, and their counts for the metrics."""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

from collections.abc import Iterator, Mapping

import pytest

from balancer.config.loader import load
from balancer.edges import DEFAULT, Edges
from balancer.runtime.blueprint import instance_spec
from balancer.runtime.slos import Slos
from balancer.spec.instance import InstanceSpec
from balancer.telemetry import columns as c
from balancer.telemetry.columns import Kind
from balancer.telemetry.ledger import Ledger
from balancer.telemetry.segment import Segment

MS = 1_000_000


def spec(environ: Mapping[str, str], counted: tuple[float, ...] = DEFAULT) -> InstanceSpec:
    given = {f"BALANCER_{name}": value for name, value in environ.items()}
    settings = load({"BALANCER_UPSTREAMS": "a:1", **given})
    return instance_spec(settings, via="", max_connections=10, counted=counted)


class Harness:
    """An instance with one route, to one pool, and one worker."""

    def __init__(self, segment: Segment, **environ: str) -> None:
        self.ledger = Ledger(segment)
        self.spec = spec(environ)
        self.row = self.ledger.row(Kind.ROUTE, "default", "default")
        self.slos = Slos(self.spec, self.ledger)
        self.edges = self.ledger.edges
        self._segment = segment
        self.starts()

    def starts(self) -> None:
        """A new worker counts from now on, over the bounds in force."""
        self.edges = Edges(self.spec.worker.edges)
        self.page = self.ledger.take_page()
        self.cells = self._segment.page(self.page).row(self.row)

    def serves(self, *milliseconds: float, code: int = 200) -> None:
        for each in milliseconds:
            self.cells[c.CODE_COLUMN[code]] += 1
            self.cells[c.ROUTE_DURATION + self.edges.cell(round(each * MS))] += 1

    def streams(self, began: float, ended: float) -> None:
        self.serves(ended)
        self.cells[c.ROUTE_BEGAN + self.edges.cell(round(began * MS))] += 1
        self.cells[c.ROUTE_BEGAN + self.edges.cell(round(ended * MS))] -= 1

    def loses(self, after: float) -> None:
        """A client leaves before its response has begun."""
        self.serves(after, code=499)
        self.cells[c.ROUTE_BEGAN + self.edges.cell(round(after * MS))] -= 1

    def reload(self, **environ: str) -> None:
        self.spec = spec(environ, self.spec.worker.edges)
        self.slos.settle(self.spec)

    def counts(self) -> tuple[int, int, int]:
        (sample,) = self.slos.samples()
        return sample.requests, sample.slow, sample.failed


@pytest.fixture
def segment() -> Iterator[Segment]:
    segment = Segment.create(1)
    yield segment
    segment.close()


@pytest.fixture
def harness(segment: Segment) -> Harness:
    return Harness(segment, SLO__LATENCY="300ms")


def test_a_promise_is_there_before_the_first_request(harness: Harness) -> None:
    (sample,) = harness.slos.samples()
    assert sample == ("default", "default", 0.3, 0.95, 0.01, 2_592_000.0, 0, 0, 0)


def test_slower_requests_are_counted_exactly(harness: Harness) -> None:
    harness.serves(1, 260, 299.9, 300, 300.1, 450, 5000, 100_000)
    assert harness.counts() == (8, 4, 0)


def test_failed_requests_are_5xx_and_responses_broken_off(harness: Harness) -> None:
    harness.serves(1, code=404)
    harness.serves(1, 2, code=503)
    harness.serves(1)
    harness.cells[c.ROUTE_BROKEN_OFF] += 1
    assert harness.counts() == (4, 0, 3)


def test_a_stream_that_begins_in_time_is_not_slow(harness: Harness) -> None:
    harness.streams(began=20, ended=60_000)
    assert harness.counts() == (1, 0, 0)


def test_clients_that_left_before_their_response_do_not_count(harness: Harness) -> None:
    harness.loses(after=2000)
    assert harness.counts() == (0, 0, 0)


def test_counts_go_on_over_a_change_of_the_latency(harness: Harness) -> None:
    harness.serves(200, 400)
    harness.reload(SLO__LATENCY="100ms")
    assert harness.counts() == (2, 1, 0)
    harness.serves(50, 200, 400)
    assert harness.counts() == (5, 3, 0)
    harness.reload(SLO__LATENCY="1s")
    harness.serves(200, 400, 2000)
    assert harness.counts() == (8, 4, 0)


def test_a_latency_that_is_no_bound_yet_becomes_one_with_new_workers(harness: Harness) -> None:
    harness.serves(260, 400)
    harness.reload(SLO__LATENCY="275ms")
    assert harness.slos.of("default", "default") == harness.spec.slos[0]
    harness.starts()  # the old worker drains
    harness.serves(260, 280, 400)
    assert harness.counts() == (5, 3, 0)


def test_a_promise_that_is_new_counts_from_then_on(segment: Segment) -> None:
    harness = Harness(segment)
    harness.serves(400, code=500)
    assert harness.slos.samples() == []
    harness.reload(SLO__LATENCY="250ms")
    assert harness.counts() == (0, 0, 0)
    harness.serves(400)
    assert harness.counts() == (1, 1, 0)


def test_a_promise_that_is_withdrawn_has_no_series(harness: Harness) -> None:
    harness.reload()
    assert harness.slos.samples() == []
    assert harness.slos.of("default", "default") is None


def test_counts_never_decrease_while_a_worker_stores_its_row(harness: Harness) -> None:
    harness.serves(400, 400)
    assert harness.counts() == (2, 2, 0)
    harness.cells[c.ROUTE_BEGAN + harness.edges.cell(400 * MS)] -= 1  # the rest of a stream is yet to come
    assert harness.counts() == (2, 2, 0)
    harness.cells[c.ROUTE_BEGAN + harness.edges.cell(10 * MS)] += 1
    harness.serves(400)
    assert harness.counts() == (3, 2, 0)


def test_counts_of_workers_that_have_ended_stay(harness: Harness) -> None:
    harness.serves(100, 400)
    harness.ledger.fold(harness.page)
    harness.starts()
    harness.serves(400)
    assert harness.counts() == (3, 2, 0)


def test_the_metrics_show_the_chosen_bounds_and_the_latencies(segment: Segment) -> None:
    harness = Harness(segment, METRICS__BUCKETS="100ms,1s", SLO__LATENCY="300ms")
    shown = harness.slos.buckets().cumulated([0] * c.HISTOGRAM_CELLS)
    assert [bound for bound, _ in shown] == ["0.1", "0.3", "1.0", "+Inf"]
    harness.reload(METRICS__BUCKETS="100ms,1s,2s", SLO__LATENCY="250ms")
    shown = harness.slos.buckets().cumulated([0] * c.HISTOGRAM_CELLS)
    assert [bound for bound, _ in shown] == ["0.1", "0.25", "1.0", "2.0", "+Inf"]


def test_what_is_promised_is_found_by_route_and_by_pool(segment: Segment) -> None:
    ledger = Ledger(segment)
    environ = {
        "POOLS__STABLE__UPSTREAMS": "s:80",
        "POOLS__CANARY__UPSTREAMS": "c:80",
        "SLO__LATENCY": "1s",
        "POOLS__CANARY__SLO__LATENCY": "0",
        "ROUTES": "/api/=default, /a/=stable:90|canary:10, /=stable",
    }
    promised = spec(environ)
    slos = Slos(promised, ledger)
    assert [one.pool for one in slos.of_route("stable-canary")] == ["stable"]
    assert [one.route for one in slos.of_pool("stable")] == ["stable-canary", "stable"]
    assert slos.of("stable-canary", "canary") is None
