"""Upstreams that stay while others are added and removed keep their state and their requests."""

from collections import Counter
from typing import Any

import pytest

from balancer.errors import Outcome
from balancer.telemetry.columns import UPSTREAM_INFLIGHT
from tests.fakes.wire import upstream_message
from tests.proxy.conftest import MakeHarness
from tests.proxy.harness import OK, Harness

# The first of two upstreams in the message: itself again, or an equal copy
STILL_THERE: dict[str, dict[str, Any]] = {
    "the same again": {},
    "ejected meanwhile": {"causes": ["active_check"]},
    "draining meanwhile": {"admin_state": "draining"},
    "with another weight and limit": {"weight": 3, "max_inflight": 50},
}


@pytest.mark.parametrize("case", STILL_THERE)
def test_an_upstream_that_keeps_its_address_keeps_its_state(make_harness: MakeHarness, case: str) -> None:
    """Each message has the whole pool, so most upstreams in it have not changed."""
    harness = make_harness(1, outlier={"enabled": True}, slow_start=6.0)
    ramp = harness.clock.monotonic_ns()
    harness.tell(upstream_message(1, ramp_since_ns=ramp))
    running, _ = harness.ask(), harness.ask()
    busy, idle = harness.loop.transports
    idle.receive(OK)
    harness.settle()
    (upstream,) = harness.upstreams
    harness.pool.choose(0, (), ramp)
    harness.pool.finished(upstream, 0, Outcome.FAILED)
    harness.advance(3.0)
    history = upstream.history
    harness.tell(upstream_message(2), upstream_message(1, ramp_since_ns=ramp, **STILL_THERE[case]))
    assert harness.upstreams[1] is upstream
    assert (upstream.inflight, upstream.cells[UPSTREAM_INFLIGHT], harness.idle) == (1, 1, 1)
    assert upstream.effective_weight == upstream.weight * 0.5
    assert upstream.history is history
    busy.receive(OK)
    harness.settle()
    assert running.take() == OK
    assert (harness.inflight, harness.idle, harness.closes(2)) == ([0, 0], 2, {})


def test_an_ejected_upstream_stays_ejected_while_others_come_and_go(harness: Harness) -> None:
    out = upstream_message(1, causes=["outlier"])
    harness.tell(out, upstream_message(2))
    before = harness.upstreams[0]
    for others in ([3], [2, 3], [2]):
        harness.tell(*(upstream_message(number) for number in others), out)
        assert harness.upstreams[-1] is before
        for _ in range(4):
            harness.ask()
            harness.answer()
    assert "10.0.0.1" not in harness.dialled


ALL = {"app1:8000": 5, "app2:8000": 10, "app3:8000": 15}
BUT_ONE = {"app2:8000": 12, "app3:8000": 18}


def test_weights_follow_their_upstreams_not_their_positions(harness: Harness) -> None:
    one, two, three = (upstream_message(number, weight=number) for number in (1, 2, 3))
    out = upstream_message(1, weight=1, causes=["active_check"])
    for members, shares in (
        ([one, two, three], ALL),
        ([out, two, three], BUT_ONE),
        ([three, two, out], BUT_ONE),
        ([three, two], BUT_ONE),
        ([three, one, two], ALL),
    ):
        harness.tell(*members)
        chosen = [harness.pool.choose(0, (), 0) for _ in range(30)]
        for upstream in filter(None, chosen):
            harness.pool.finished(upstream, 0, Outcome.SUCCESS)
        assert Counter(upstream.id for upstream in chosen if upstream is not None) == shares
