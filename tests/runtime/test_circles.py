"""Upstreams that lead back to this instance, found by discovery, API or worker, are not used, and
reported."""

import pytest

from balancer.admin.view import RefusedError
from balancer.config.address import Address
from balancer.config.ourselves import Ourselves, OwnListener
from balancer.discovery.member import Member
from balancer.proxy.loops import TOLD_EVERY
from balancer.telemetry.segment import Segment
from tests.fakes.splits import operator
from tests.runtime.fleet_harness import DNS, Harness, member

OURS = "10.0.0.5"  # a member there is at port 8000, as all are
OWN = Ourselves(
    (OwnListener("LISTEN", Address("0.0.0.0", 8000)), OwnListener("ADMIN_LISTEN", Address(OURS, 9901))),
    lambda: [OURS],
)


@pytest.fixture
def harness(segment: Segment) -> Harness:
    return Harness(segment, own=OWN)


def ourselves() -> Member:
    return Member(f"{OURS}:8000", OURS, 8000, 1, OURS)


def at_start(harness: Harness) -> list[str]:
    return harness.fleet.circles.at_start(harness.fleet.pools.values())


def test_a_name_that_leads_back_at_the_start_is_an_error(harness: Harness) -> None:
    assert at_start(harness) == []
    harness.fleet.set_address(harness.upstream(1), OURS)
    (problem,) = at_start(harness)
    assert problem.startswith(
        f"BALANCER_UPSTREAMS: app1:8000 is at {OURS}:8000, which is where this balancer itself listens "
        "(LISTEN 0.0.0.0:8000)"
    )
    assert harness.kinds() == []  # the error reports it


def test_an_address_of_the_settings_may_turn_out_to_lead_back(harness: Harness) -> None:
    harness.upstream(1).address = OURS  # LISTEN had port 0, and got this one
    assert at_start(harness)[0].startswith("BALANCER_UPSTREAMS: app1:8000 is where this balancer itself")


def test_a_name_that_leads_back_later_gets_no_requests_until_it_moves(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    harness.fleet.established()
    upstream = harness.upstream(1)
    for _ in range(3):  # every lookup reports it
        harness.fleet.set_address(upstream, OURS)
    assert (upstream.address, upstream.is_eligible()) == ("", False)
    assert [one.host for one in harness.told() or []] == ["", "10.0.0.2"]
    assert harness.watcher.seen == [("moved", "app1:8000")]
    assert harness.kinds() == [("loop", "app1:8000", None)]
    (record,) = caplog.records
    text = f"is not used: it is at {OURS}:8000, which is where this balancer itself listens"
    assert record.message.startswith(f"upstream app1:8000 of pool default {text}")
    harness.fleet.set_address(upstream, "10.0.0.9")
    harness.fleet.passed_first(upstream, "200 on /")
    assert upstream.is_eligible()
    assert [one.host for one in harness.told() or []] == ["10.0.0.9", "10.0.0.2"]
    harness.fleet.set_address(upstream, OURS)
    assert [kind for kind, *_ in harness.kinds()] == ["loop", "address", "checked", "loop"]


def test_a_member_that_is_this_balancer_is_left_out_and_the_others_serve(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        harness.fleet.set_members("default", DNS, [member(1), ourselves()])
    assert "10.1.0.1:8000" in harness.pool.upstreams
    assert f"{OURS}:8000" not in harness.pool.upstreams
    assert at_start(harness) == []
    assert [kind for kind, upstream, _ in harness.kinds() if upstream == f"{OURS}:8000"] == ["loop"]
    said = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert len(said) == 1
    assert f"{OURS}:8000, found by {DNS}, is not used: it is where this balancer itself listens" in said[0]
    harness.fleet.set_members("default", DNS, [member(1)])
    harness.fleet.set_members("default", DNS, [member(1), ourselves()])
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 2


def test_a_name_that_lists_only_this_balancer_at_the_start_is_an_error(harness: Harness) -> None:
    harness.pool.upstreams.clear()
    harness.fleet.set_members("default", DNS, [ourselves()])
    (problem,) = at_start(harness)
    assert problem.startswith(f"BALANCER_UPSTREAMS: {DNS} lists only {OURS}:8000, which is where")


@pytest.mark.parametrize("text", [f"{OURS}:8000?weight=2", "127.0.0.1:8000", "0.0.0.0:8000", f"{OURS}:9901"])
def test_the_api_refuses_to_add_this_balancer(harness: Harness, text: str) -> None:
    with pytest.raises(RefusedError, match=r"is where .* listens \((ADMIN_)?LISTEN "):
        operator(harness.fleet).add("default", text, "alice")
    assert len(harness.pool.upstreams) == 2
    assert operator(harness.fleet).add("default", f"{OURS}:8001", "alice") == f"{OURS}:8001"


def test_loops_are_logged_once_a_minute_for_all_workers(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    came_back = harness.fleet.circles.came_back
    for _ in range(4):
        came_back("default", None, "a request came back")
        came_back("default", "app1:8000", "app1:8000 leads back")
    loops = [("loop", None, None), ("loop", "app1:8000", None)]
    assert harness.kinds() == loops
    assert [record.message for record in caplog.records] == [
        "pool default: a request came back",
        "pool default: app1:8000 leads back",
    ]
    harness.clock.advance(TOLD_EVERY)
    came_back("default", None, "a request came back")
    assert harness.kinds() == [*loops, loops[0]]
