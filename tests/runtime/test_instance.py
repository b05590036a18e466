"""The reports of a running instance: states, counts, checks and failures combined."""

import asyncio
import logging
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from types import FrameType

import pytest

from balancer.admin.view import Change, OutlierView, OverloadView
from balancer.config.export import export
from balancer.config.loader import load_with_origins
from balancer.health.durations import Durations
from balancer.health.result import CheckResult, Result
from balancer.runtime.fleet import Fleet
from balancer.runtime.instance import FAILURES_KEPT, Instance
from balancer.runtime.states import Overloaded, PoolState, UpstreamState
from balancer.spec.part import encode_plain
from balancer.telemetry import columns as c
from balancer.telemetry.columns import Kind
from balancer.telemetry.events import EventLog
from balancer.telemetry.ledger import Ledger
from balancer.telemetry.samples import WorkerSample
from balancer.telemetry.segment import Segment
from balancer.upstreams.state import Cause
from balancer.upstreams.traffic_history import SkipReason
from tests.fakes.loop import FakeClock
from tests.fakes.messages import failure_record
from tests.fakes.specs import pool_spec
from tests.fakes.splits import route_counts

CHECK = CheckResult(784111777.0, False, Result.STATUS, 404, 0.002, "404 on /", "404 on /: set another path")


class FakeWorkers:
    def __init__(self) -> None:
        self.reasons: list[str] = []
        self.sampled_in: list[threading.Thread] = []

    def unready(self) -> list[str]:
        return self.reasons

    def sampling(self) -> Callable[[], list[WorkerSample]]:
        assert threading.current_thread() is threading.main_thread()

        def samples() -> list[WorkerSample]:
            self.sampled_in.append(threading.current_thread())
            return [WorkerSample(0, True, 0, 1.5, 4096, 7)]

        return samples


class FakeChecks:
    def __init__(self) -> None:
        self.first_round_done = True
        self.durations: dict[str, Durations] = {}
        self.results: dict[str, CheckResult] = {}

    def last(self, upstream: UpstreamState) -> CheckResult | None:
        return self.results.get(upstream.id)

    def counts(self, upstream: UpstreamState) -> Mapping[str, int]:
        return Counter(passed=3)


class FakeOutliers:
    """app2 is an outlier, until an hour and ten seconds after the epoch."""

    def ejection_term(self, upstream: UpstreamState) -> tuple[float, int] | None:
        return (3610.0, 2) if upstream.id == "app2:8000" else None


class Harness:
    """An instance with one pool of app1 and app2, and one live page."""

    def __init__(self, segment: Segment, upstreams: int = 2) -> None:
        self.ledger = Ledger(segment)
        self.pool = PoolState(
            pool_spec(policy="random"), self.ledger.row(Kind.POOL, "default"), is_checked=True
        )
        for number in range(1, upstreams + 1):
            name = f"app{number}:8000"
            row = self.ledger.row(Kind.UPSTREAM, "default", name)
            host = f"10.0.{number // 256}.{number % 256}"
            self.pool.upstreams[name] = UpstreamState("default", name, "app", 8000, 1, row, host)
        events = EventLog()
        self.fleet = Fleet(
            [self.pool],
            ledger=self.ledger,
            events=events,
            clock=FakeClock(),
            log=logging.getLogger("balancer.test.instance"),
            call_later=lambda delay, callback: None,
            broadcast=lambda message: None,
        )
        self.workers, self.checks = FakeWorkers(), FakeChecks()
        self.instance = Instance(
            fleet=self.fleet,
            routes=route_counts(self.fleet, self.ledger),
            ledger=self.ledger,
            workers=self.workers,
            checks=self.checks,
            outliers=FakeOutliers(),
            events=events,
            config=export(load_with_origins({"BALANCER_UPSTREAMS": "app1:8000"})),
            log_dropped=lambda: 0,
            clock=FakeClock(),
        )
        self.page = segment.page(self.ledger.take_page())

    def upstream(self, number: int) -> UpstreamState:
        return self.pool.upstreams[f"app{number}:8000"]


@pytest.fixture
def harness() -> Iterator[Harness]:
    segment = Segment.create(workers=1)
    yield Harness(segment)
    segment.close()


def test_a_healthy_instance_is_ready(harness: Harness) -> None:
    assert harness.instance.unready(strict=True) == []


def test_every_reason_against_readiness_is_listed(harness: Harness) -> None:
    harness.workers.reasons = ["worker 0 is starting"]
    harness.checks.first_round_done = False
    harness.instance.stopping = True
    for number in (1, 2):
        harness.fleet.eject(harness.upstream(number), Cause.ACTIVE_CHECK, "It answered 500.")
    plain = ["draining", "worker 0 is starting", "the first active checks are not done"]
    assert harness.instance.unready() == plain
    assert harness.instance.unready(strict=True) == [*plain, "pool default has no eligible upstream"]


async def test_pools_combine_states_counts_and_checks(harness: Harness) -> None:
    harness.fleet.eject(harness.upstream(2), Cause.ACTIVE_CHECK, "It answered 404.")
    harness.checks.results["app2:8000"] = CHECK
    cells = harness.page.row(harness.upstream(2).row)
    cells[c.CODE_COLUMN[200]], cells[c.CODE_COLUMN[503]] = 4, 1
    cells[c.UPSTREAM_INFLIGHT], cells[c.UPSTREAM_IDLE] = 2, 1
    cells[c.UPSTREAM_FIRST_BYTE + 2] = 5
    cells[c.UPSTREAM_FIRST_BYTE_SUM] = 250_000_000
    cells[c.UPSTREAM_CONNECT_FAILURES] = 6
    cells[c.UPSTREAM_INFLIGHT_LIMIT] = 12
    line = harness.page.row(harness.pool.row)
    line[c.POOL_QUEUE_LENGTH] = 7
    line[c.POOL_QUEUE_REJECTED + c.QUEUE_REJECTIONS.index("timeout")] = 3
    line[c.POOL_QUEUE_ABANDONED] = 4
    harness.pool.overload = Overloaded(784111770.0, 402.123, 798.0, 1.25)
    harness.upstream(2).max_inflight = 20
    (pool,) = await harness.instance.pools()
    assert (pool.name, pool.policy, pool.panic, pool.eligible) == ("default", "random", False, 1)
    assert pool.queue_length == 7
    assert pool.queue_rejected == {**dict.fromkeys(c.QUEUE_REJECTIONS, 0), "timeout": 3}
    assert pool.queue_abandoned == 4
    assert pool.overload == OverloadView("1994-11-06T08:49:30.000Z", 402.1, 798.0, 1.2)
    assert [one.inflight_limit for one in pool.upstreams] == [0, 12]
    assert [one.max_inflight for one in pool.upstreams] == [0, 20]
    first, second = pool.upstreams
    assert (first.id, first.address, first.eligible, first.causes) == (
        "app1:8000",
        "10.0.0.1:8000",
        True,
        [],
    )
    assert (first.requests, first.codes, first.last_check) == (0, {}, None)
    assert (second.eligible, second.causes) == (False, ["active_check"])
    assert (second.requests, second.codes) == (5, {"200": 4, "503": 1})
    assert (second.inflight, second.idle_connections) == (2, 1)
    assert (second.first_byte_buckets[:3], second.first_byte_sum) == ([0, 5, 0], 0.25)
    assert second.connect_failures == {"refused": 6}
    assert second.last_check is not None
    assert second.last_check.time == "1994-11-06T08:49:37.000Z"
    assert (second.last_check.status, second.last_check.hint) == (404, "404 on /: set another path")


async def test_an_upstream_without_an_address_shows_none(harness: Harness) -> None:
    harness.fleet.set_address(harness.upstream(1), "")
    (pool,) = await harness.instance.pools()
    assert (pool.upstreams[0].address, pool.upstreams[0].eligible) == ("", False)


async def test_metrics_show_the_fleet_and_are_rendered_in_a_thread(harness: Harness) -> None:
    harness.fleet.eject(harness.upstream(2), Cause.ACTIVE_CHECK, "It answered 500.")
    durations = harness.checks.durations["default"] = Durations()
    durations.record(0.002)
    lines = (await harness.instance.scrape()).decode().splitlines()
    for line in (
        'balancer_upstream_up{pool="default",upstream="app1:8000"} 1.0',
        'balancer_upstream_state{pool="default",state="ejected",upstream="app2:8000"} 1.0',
        'balancer_pool_eligible_upstreams{pool="default"} 1.0',
        'balancer_ejections_total{cause="active_check",pool="default"} 1.0',
        'balancer_active_checks_total{pool="default",result="passed",upstream="app1:8000"} 3.0',
        'balancer_active_check_duration_seconds_count{pool="default"} 1.0',
    ):
        assert line in lines
    assert threading.main_thread() not in harness.workers.sampled_in


async def test_the_series_of_a_removed_upstream_disappear(harness: Harness) -> None:
    harness.upstream(2).source = "dns://app:8000"
    assert b"app2:8000" in await harness.instance.scrape()
    harness.fleet.set_members("default", "dns://app:8000", [])
    assert b"app2:8000" not in await harness.instance.scrape()


async def test_a_scrape_of_1000_upstreams_does_not_block_the_event_loop() -> None:
    segment = Segment.create(workers=1)
    instance = Harness(segment, upstreams=1000).instance
    scrape = asyncio.create_task(instance.scrape())
    turns = 0
    while not scrape.done():
        await asyncio.sleep(0)
        turns += 1
    assert (await scrape).count(b'balancer_upstream_up{pool="default"') == 1000
    assert turns > 20  # a handful if it were rendered on the loop
    segment.close()


def test_failures_are_the_latest_newest_first(harness: Harness) -> None:
    harness.instance.failed([failure_record(float(number)) for number in range(FAILURES_KEPT)])
    harness.instance.failed([failure_record(1000.0, "/login?token=s3cret")])
    failures = harness.instance.failures()
    assert len(failures) == FAILURES_KEPT
    assert failures[0] == encode_plain(failure_record(1000.0, "/login?..."))
    assert [failures[1]["time"], failures[-1]["time"]] == [FAILURES_KEPT - 1.0, 1.0]


async def test_outliers_are_shown_with_the_end_of_their_ejection(harness: Harness) -> None:
    upstream = harness.upstream(2)
    harness.fleet.eject(upstream, Cause.OUTLIER, "It answered 500.")
    (pool,) = await harness.instance.pools()
    first, second = pool.upstreams
    assert (first.outlier, second.on_probation) == (None, False)
    assert second.outlier == OutlierView("1970-01-01T01:00:10.000Z", 2)
    harness.fleet.put_on_probation(upstream, "10 s are over")
    harness.fleet.skip_ejection(
        harness.upstream(1), SkipReason.LAST_ELIGIBLE, "nobody else is left", say=False
    )
    (pool,) = await harness.instance.pools()
    assert (pool.upstreams[1].causes, pool.upstreams[1].on_probation) == ([], True)
    lines = (await harness.instance.scrape()).decode().splitlines()
    for line in (
        'balancer_upstream_state{pool="default",state="probation",upstream="app2:8000"} 1.0',
        'balancer_ejections_total{cause="outlier",pool="default"} 1.0',
        'balancer_ejections_skipped_total{pool="default",reason="last_eligible"} 1.0',
        'balancer_ejections_skipped_total{pool="default",reason="pool_wide"} 0.0',
    ):
        assert line in lines


def calls_of_a_change(upstreams: int) -> int:
    """The number of function calls to add, change, show and remove an upstream."""
    segment = Segment.create(workers=1)
    try:
        harness = Harness(segment, upstreams)
        instance = harness.instance
        calls = 0

        def count(frame: FrameType, event: str, argument: object) -> None:
            nonlocal calls
            calls += event in ("call", "c_call")

        instance.add("default", "10.9.9.8:8000", "alice")  # one-time work
        sys.setprofile(count)
        try:
            added = instance.add("default", "10.9.9.9:8000", "alice")
            instance.upstream("default", added)
            instance.change("default", added, Change(weight=3), "alice")
            harness.pool.upstreams[added].told = True  # the workers hear of it together with other changes
            instance.remove("default", added, "alice")
        finally:
            sys.setprofile(None)
        return calls
    finally:
        segment.close()


def test_a_change_costs_the_same_among_a_thousand() -> None:
    assert calls_of_a_change(1000) <= 1.1 * calls_of_a_change(2)
