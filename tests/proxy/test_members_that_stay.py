"""Upstreams that stay while others come and go: what is known of them, and what runs at them, stays too."""

from typing import Any

import pytest

from balancer.errors import Outcome
from balancer.telemetry.columns import UPSTREAM_INFLIGHT
from tests.fakes.wire import upstream_message
from tests.proxy.conftest import MakeStage
from tests.proxy.stage import OK, Stage

# What is told of the first of two upstreams: itself again, or as another message of the whole pool has it
STILL_THERE: dict[str, dict[str, Any]] = {
    "the same again": {},
    "ejected meanwhile": {"causes": ["active_check"]},
    "draining meanwhile": {"admin_state": "draining"},
    "with another weight and limit": {"weight": 3, "max_inflight": 50},
}


@pytest.mark.parametrize("case", STILL_THERE)
def test_one_that_keeps_its_address_keeps_all_that_is_known_of_it(make_stage: MakeStage, case: str) -> None:
    """Each message tells of the whole pool, so most upstreams in it have not changed at all."""
    stage = make_stage(1, outlier={"enabled": True}, slow_start=6.0)
    ramp = stage.clock.monotonic_ns()
    stage.tell(upstream_message(1, ramp_since_ns=ramp))
    running, _ = stage.ask(), stage.ask()
    busy, idle = stage.loop.transports
    idle.receive(OK)
    stage.settle()
    (upstream,) = stage.upstreams
    stage.pool.choose(0, (), ramp)
    stage.pool.finished(upstream, 0, Outcome.FAILED)
    stage.advance(3.0)
    conduct = upstream.conduct
    stage.tell(upstream_message(2), upstream_message(1, ramp_since_ns=ramp, **STILL_THERE[case]))
    assert stage.upstreams[1] is upstream
    assert (upstream.inflight, upstream.cells[UPSTREAM_INFLIGHT], stage.idle) == (1, 1, 1)
    assert upstream.effective_weight == upstream.weight * 0.5
    assert upstream.conduct is conduct
    busy.receive(OK)
    stage.settle()
    assert running.take() == OK
    assert (stage.inflight, stage.idle, stage.closes(2)) == ([0, 0], 2, {})


def test_an_ejected_one_stays_so_where_others_come_and_go(stage: Stage) -> None:
    out = upstream_message(1, causes=["outlier"])
    stage.tell(out, upstream_message(2))
    before = stage.upstreams[0]
    for others in ([3], [2, 3], [2]):
        stage.tell(*(upstream_message(number) for number in others), out)
        assert stage.upstreams[-1] is before
        for _ in range(4):
            stage.ask()
            stage.answer()
    assert "10.0.0.1" not in stage.dialled
