"""A worker's share of a cap is its share less what its predecessors still hold."""

import pytest

from balancer.messages import Others
from balancer.telemetry.columns import UPSTREAM_INFLIGHT, UPSTREAM_INFLIGHT_LIMIT
from tests.proxy.conftest import MakeHarness
from tests.proxy.harness import OK, Harness, status_of

ROW = 4  # of app1
OLDER, OLD, OWN, OTHER = 3, 2, 1, 4  # pages


def holds(harness: Harness, page: int, requests: int) -> None:
    """So many requests of another incarnation are in flight at app1."""
    harness.segment.page(page).row(ROW)[UPSTREAM_INFLIGHT] = requests


def told(harness: Harness, *predecessors: int) -> None:
    pages = (OLDER, OLD, OWN, OTHER)
    harness.proxy.membership.take_others(Others(pages=pages, predecessors=predecessors))


@pytest.fixture
def capped(make_harness: MakeHarness) -> Harness:
    """One upstream that may have four requests; as many may wait."""
    harness = make_harness(1, queue={"size": 4})
    harness.limit(4)
    return harness


SHARES = [
    pytest.param(0, 0, 4, id="they hold nothing"),
    pytest.param(0, 1, 3, id="one request"),
    pytest.param(1, 2, 1, id="requests in two of them"),
    pytest.param(0, 4, 0, id="all of it"),
    pytest.param(3, 4, 0, id="more than it: the cap was larger"),
]


@pytest.mark.parametrize(("older", "old", "left"), SHARES)
def test_what_predecessors_hold_is_not_given_again(capped: Harness, older: int, old: int, left: int) -> None:
    holds(capped, OLDER, older)
    holds(capped, OLD, old)
    holds(capped, OTHER, 3)  # of another slot
    told(capped, OLDER, OLD)
    for _ in range(6):
        capped.ask()
    assert (capped.inflight, capped.waiting) == ([left], min(6 - left, 4))
    assert capped.upstreams[0].is_full()
    assert capped.upstreams[0].cells[UPSTREAM_INFLIGHT_LIMIT] == left


def test_slots_that_a_predecessor_leaves_are_taken_at_the_next_sweep(capped: Harness) -> None:
    holds(capped, OLD, 4)
    told(capped, OLD)
    clients = [capped.ask(), capped.ask()]
    assert (capped.inflight, capped.waiting) == ([0], 2)
    holds(capped, OLD, 3)
    capped.advance(0.25)
    assert (capped.inflight, capped.waiting) == ([1], 1)
    capped.answer()
    capped.answer()
    assert [client.take() for client in clients] == [OK, OK]


def test_a_predecessor_that_has_ended_leaves_all_of_them(capped: Harness) -> None:
    holds(capped, OLD, 4)
    told(capped, OLD)
    capped.ask()
    told(capped)
    capped.settle()
    assert (capped.inflight, capped.waiting) == ([1], 0)
    capped.answer()


def test_a_request_that_runs_goes_on_when_the_share_shrinks(capped: Harness) -> None:
    """A predecessor may get more: the last requests on connections that clients keep."""
    running = capped.ask()
    holds(capped, OLD, 4)
    told(capped, OLD)
    waiting = capped.ask()
    assert (capped.inflight, capped.waiting) == ([1], 1)
    capped.answer()
    assert running.take() == OK
    capped.advance(0.25)
    assert (capped.inflight, capped.waiting) == ([0], 1)
    capped.advance(10)
    assert status_of(waiting.take()) == 503


def test_another_cap_is_shared_out_with_what_predecessors_hold(capped: Harness) -> None:
    holds(capped, OLD, 4)
    told(capped, OLD)
    capped.limit(6)
    for _ in range(3):
        capped.ask()
    assert (capped.inflight, capped.waiting) == ([2], 1)
    capped.limit(0)
    capped.settle()
    assert (capped.inflight, capped.waiting) == ([3], 0)
    for transport in list(capped.loop.transports):
        transport.receive(OK)
    capped.settle()


def test_without_a_cap_predecessors_take_nothing(harness: Harness) -> None:
    holds(harness, OLD, 4)
    told(harness, OLD)
    client = harness.ask()
    assert not harness.upstreams[0].is_full()
    harness.answer()
    assert client.take() == OK
