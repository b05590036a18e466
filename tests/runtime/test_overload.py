"""Reports on an overloaded pool: the log line, the event, the present figures."""

import logging
from collections.abc import Iterator, Sequence

import pytest

from balancer.health.overload import ENTERS, LEAVES, LOOK
from balancer.runtime.fleet import Fleet
from balancer.runtime.overload import OverloadWatch
from balancer.runtime.states import Overloaded, PoolState, UpstreamState
from balancer.telemetry import columns as c
from balancer.telemetry.columns import Kind
from balancer.telemetry.events import EventLog
from balancer.telemetry.ledger import Ledger
from balancer.telemetry.segment import Segment
from balancer.upstreams.state import Cause
from tests.fakes.loop import FakeClock
from tests.fakes.specs import pool_spec

LOGGER = "balancer.test.overload"


class Harness:
    """Two pools, `busy` of which has upstreams, and two workers."""

    def __init__(self, segment: Segment, limits: Sequence[tuple[int, int]]) -> None:
        """`limits` are those of each upstream, by worker."""
        self.clock = FakeClock()
        ledger = Ledger(segment)
        self.events = EventLog()
        self.pools = [
            PoolState(pool_spec(name), ledger.row(Kind.POOL, name), is_checked=False)
            for name in ("busy", "idle")
        ]
        self.busy = self.pools[0]
        for number in range(1, len(limits) + 1):
            name = f"app{number}:8000"
            row = ledger.row(Kind.UPSTREAM, "busy", name)
            self.busy.upstreams[name] = UpstreamState("busy", name, "app", 8000, 1, row, f"10.0.0.{number}")
        self.fleet = Fleet(
            self.pools,
            ledger=ledger,
            events=self.events,
            clock=self.clock,
            log=logging.getLogger(LOGGER),
            call_later=lambda delay, callback: None,
            broadcast=lambda message: None,
        )
        self.watch = OverloadWatch(self.fleet, ledger, self.clock)
        self.pages = [segment.page(ledger.take_page()) for _ in range(2)]
        for upstream, pair in zip(self.busy.upstreams.values(), limits, strict=True):
            for page, limit in zip(self.pages, pair, strict=True):
                page.row(upstream.row)[c.UPSTREAM_INFLIGHT_LIMIT] = limit
        self.first = self.busy.upstreams["app1:8000"]
        self.watch.look()

    def look(self, times: int, served: int = 0, refused: int = 0, waiting: int = 0, left: int = 0) -> None:
        """Look `times` times; before each, all upstreams and workers have served, refused and lost more."""
        for _ in range(times):
            self.clock.advance(LOOK)
            for page in self.pages:
                for upstream in self.busy.upstreams.values():
                    page.row(upstream.row)[c.UPSTREAM_FIRST_BYTE + 3] += served
                line = page.row(self.busy.row)
                line[c.POOL_QUEUE_REJECTED] += refused
                line[c.POOL_QUEUE_ABANDONED] += left - left // 3
                page.row(self.first.row)[c.UPSTREAM_LEFT] += left // 3
                line[c.POOL_QUEUE_LENGTH] = waiting
            self.watch.look()

    def told(self) -> list[tuple[str, str, str | None, str]]:
        return [(one.kind, one.pool, one.upstream, one.text) for one in self.events.after(0)]


@pytest.fixture
def segment() -> Iterator[Segment]:
    made = Segment.create(workers=2)
    yield made
    made.close()


def test_an_overload_is_logged_with_figures_when_it_begins_and_ends(
    segment: Segment, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, LOGGER)
    harness = Harness(segment, limits=[(1, 1), (2, 1), (1, 1), (1, 1)])
    begun = harness.clock.wall() + LOOK
    harness.look(ENTERS, served=25, refused=200, waiting=6)
    assert harness.told() == [
        (
            "overload",
            "busy",
            None,
            "overloaded: 4 upstreams, limit 2 to 3 each, 400/s served, 800/s refused, 12 waiting",
        )
    ]
    assert harness.busy.overload == Overloaded(begun, 400.0, 800.0, 0.0)
    harness.look(20, served=25, refused=100, waiting=6, left=3)
    assert harness.busy.overload == Overloaded(begun, 400.0, 400.0, 12.0)
    harness.look(LEAVES, served=5)
    assert harness.told()[1:] == [
        (
            "overload_over",
            "busy",
            None,
            "no longer overloaded, after 11 s: 4,400 served, 4,800 refused, 120 abandoned by clients",
        )
    ]
    assert [pool.overload for pool in harness.pools] == [None, None]
    assert [(one.levelname, one.getMessage()) for one in caplog.records] == [
        ("WARNING", f"pool busy {harness.told()[0][3]}"),
        ("INFO", f"pool busy {harness.told()[1][3]}"),
    ]


# The limits of the upstreams by worker, how many are ejected, and the description.
DESCRIBED: dict[str, tuple[list[tuple[int, int]], int, str]] = {
    "one upstream": ([(4, 4)], 0, "1 upstream, limit 8, "),
    "equal limits": ([(4, 4)] * 3, 0, "3 upstreams, limit 8 each, "),
    "unequal": ([(4, 4), (500, 600)], 0, "2 upstreams, limit 8 to 1,100 each, "),
    "none has one any more": ([(0, 0)] * 2, 0, "2 upstreams, "),
    "one has none": ([(0, 0), (2, 2)], 0, "2 upstreams, limit 4 at 1 of them, "),
    "one is ejected": ([(2, 2), (9, 9), (9, 9)], 1, "2 upstreams, limit 18 each, "),
    "all are ejected": ([(2, 2), (2, 2)], 2, "2 upstreams, limit 4 each, "),
}


@pytest.mark.parametrize("case", DESCRIBED)
def test_the_overloaded_upstreams_are_described(segment: Segment, case: str) -> None:
    limits, ejected, described = DESCRIBED[case]
    harness = Harness(segment, limits)
    for upstream in list(harness.busy.upstreams.values())[:ejected]:
        harness.fleet.eject(upstream, Cause.ACTIVE_CHECK, "it hangs")
    harness.look(ENTERS, served=1, refused=1)
    assert harness.told()[-1][3].startswith(f"overloaded: {described}")


def test_departures_are_reported_besides_refusals(segment: Segment) -> None:
    harness = Harness(segment, [(1, 1)])
    harness.look(ENTERS, served=25, refused=1, left=100)
    assert harness.told()[-1][3] == (
        "overloaded: 1 upstream, limit 2, 100/s served, 4.0/s refused, 400/s abandoned by clients"
    )


@pytest.mark.parametrize(
    ("served", "shown"),
    [
        (0, "0/s served"),
        (1, "4.0/s served"),
        (2, "8.0/s served"),
        (3, "12/s served"),
        (1000, "4,000/s served"),
    ],
)
def test_rates_are_short(segment: Segment, served: int, shown: str) -> None:
    harness = Harness(segment, [(1, 1)])
    harness.look(ENTERS, served=served, refused=1)
    assert f", {shown}, " in harness.told()[-1][3]
