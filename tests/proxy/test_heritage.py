"""What a worker takes over from its predecessor: limits that were found, and when an upstream closes idle
connections."""

import pytest

from balancer.telemetry.columns import (
    UPSTREAM_IDLE_TIMEOUT_NS,
    UPSTREAM_INFLIGHT_LIMIT,
    UPSTREAM_SERVICE_NS,
)
from tests.proxy.conftest import MakeHarness
from tests.proxy.harness import Harness

ROW = 4  # of app1
SECOND = 1_000_000_000
ADAPTIVE = {"enabled": True}


def resume(harness: Harness, part: float = 1.0, **cells: int) -> None:
    """The cells of app1 in the page of a predecessor: its limit, service time, and idle time learned."""
    row = harness.segment.page(2).row(ROW)
    row[UPSTREAM_INFLIGHT_LIMIT] = cells.get("limit", 0)
    row[UPSTREAM_SERVICE_NS] = cells.get("service", 0)
    row[UPSTREAM_IDLE_TIMEOUT_NS] = cells.get("idle", 0)
    harness.proxy.membership.resume(harness.segment.page(2).row, part)


@pytest.mark.parametrize(
    ("part", "limit"),
    [
        pytest.param(1.0, 12, id="as many workers"),
        pytest.param(0.5, 6, id="twice as many"),
        pytest.param(3.0, 36, id="a third"),
    ],
)
def test_a_limit_in_force_is_in_force_from_the_start(
    make_harness: MakeHarness, part: float, limit: int
) -> None:
    """For this worker's part of the traffic: no reload under overload opens the gates."""
    harness = make_harness(2, adaptive=ADAPTIVE)
    resume(harness, part, limit=12, service=SECOND // 10)
    assert [one.concurrency_limit for one in harness.upstreams] == [limit, 0]


def test_without_a_limit_there_is_none(make_harness: MakeHarness) -> None:
    harness = make_harness(1, adaptive=ADAPTIVE)
    resume(harness, limit=0, service=SECOND // 10)
    assert harness.upstreams[0].concurrency_limit == 0


def test_a_limit_is_not_taken_over_where_limits_are_off(make_harness: MakeHarness) -> None:
    harness = make_harness(1)
    resume(harness, limit=12, service=SECOND // 10)
    assert harness.upstreams[0].concurrency_limit == 0


@pytest.mark.parametrize(("learned", "dials"), [(2 * SECOND, 2), (0, 1)], ids=["learned", "not learned"])
def test_a_post_gets_a_fresh_connection_near_the_idle_time_that_the_predecessor_has_learned(
    make_harness: MakeHarness, learned: int, dials: int
) -> None:
    harness = make_harness(1, keepalive={"idle_timeout": 60.0})
    resume(harness, idle=learned)
    assert harness.upstreams[0].cells[UPSTREAM_IDLE_TIMEOUT_NS] == learned
    client, _ = harness.warm()
    harness.advance(1.9, sweep=False)
    harness.ask(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", client)
    assert len(harness.dialled) == dials
    harness.answer()
    assert harness.told == []  # it has been said
