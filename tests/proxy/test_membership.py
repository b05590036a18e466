"""Upstreams that come, go and change state while requests run; and what is told of failed attempts."""

from typing import Any

import pytest

from balancer.connections.connector import Connector
from balancer.proxy.membership import Membership
from balancer.telemetry.columns import UPSTREAM_CONNECT_FAILURES, UPSTREAM_INFLIGHT
from tests.fakes.wire import CLIENT_ADDRESS, upstream_message
from tests.proxy.stage import OK, Stage


def test_a_new_upstream_is_used(stage: Stage) -> None:
    stage.tell(upstream_message(2))
    stage.ask()
    assert stage.dialled == ["10.0.0.2"]
    stage.answer()


def test_one_that_left_ends_what_it_runs_and_gets_nothing_new(stage: Stage) -> None:
    busy = stage.ask()
    first = stage.upstream
    stage.tell(upstream_message(2))
    stage.ask()
    stage.answer()
    assert stage.dialled == ["10.0.0.1", "10.0.0.2"]
    first.receive(OK)
    stage.settle()
    assert busy.take() == OK
    assert first.is_closing()


def test_its_idle_connections_are_closed(stage: Stage) -> None:
    _, idle = stage.warm()
    stage.tell(upstream_message(2))
    assert idle.is_closing()


def test_its_row_is_let_go_when_nothing_runs_at_it_any_more(stage: Stage) -> None:
    stage.ask()
    running = stage.upstream
    stage.tell(upstream_message(2))
    for _ in range(3):
        stage.proxy.sweep()
    assert stage.proxy.take_released() == []
    running.receive(OK)
    stage.settle()
    stage.proxy.sweep()
    assert stage.proxy.take_released() == []  # a cancelled dial may count a turn later
    stage.proxy.sweep()
    assert stage.proxy.take_released() == [4]
    assert stage.proxy.take_released() == []
    assert stage.page.row(4)[UPSTREAM_INFLIGHT] == 0


def test_one_that_comes_back_is_another_one(stage: Stage) -> None:
    stage.ask()
    old = stage.upstreams[0]
    running = stage.upstream
    stage.tell()
    stage.tell(upstream_message(1, row=9))
    new = stage.upstreams[0]
    assert new is not old
    assert (old.inflight, new.inflight, new.row) == (1, 0, 9)
    running.receive(OK)
    stage.settle()
    assert (old.inflight, new.inflight) == (0, 0)


def test_the_same_one_keeps_what_runs(stage: Stage) -> None:
    stage.ask()
    before = stage.upstreams[0]
    stage.tell(upstream_message(1, weight=3), upstream_message(2))
    assert stage.upstreams[0] is before
    assert (before.inflight, before.effective_weight) == (1, 3.0)
    stage.answer()


STATES: dict[str, dict[str, Any]] = {
    "ejected": {"causes": ["active_check"]},
    "draining": {"admin_state": "draining"},
    "in maintenance": {"admin_state": "maintenance"},
    "without an address": {"host": ""},
}


@pytest.mark.parametrize("case", STATES)
def test_one_that_is_not_eligible_gets_nothing(stage: Stage, case: str) -> None:
    stage.tell(upstream_message(1, **STATES[case]), upstream_message(2))
    for _ in range(3):
        stage.ask()
        stage.answer()
    assert set(stage.dialled) == {"10.0.0.2"}


def test_in_panic_the_ejected_ones_are_used(stage: Stage) -> None:
    stage.tell(upstream_message(1, causes=["active_check"]))
    client = stage.ask()
    stage.answer()
    assert client.take() == OK


def test_without_any_it_is_503(stage: Stage) -> None:
    stage.tell()
    assert stage.ask().take().startswith(b"HTTP/1.1 503 ")


def test_an_unknown_pool_is_a_key_error(stage: Stage) -> None:
    with pytest.raises(KeyError):
        Membership(Connector(stage.loop, stage.clock, None, 1, 1, print), stage.page.row).apply("default", [])


def test_a_failure_is_told_with_its_attempts(stage: Stage) -> None:
    stage.tell(upstream_message(1), upstream_message(2))
    stage.refuse(1, 2)
    stage.ask(b"GET /a?b HTTP/1.1\r\nHost: example\r\nX-Request-ID: r1\r\n\r\n")
    (failure,) = stage.proxy.take_failures()
    assert failure == {
        "time": stage.clock.wall(),
        "status": 502,
        "reason": "connect_refused",
        "source": "upstream",
        "detail": "connection refused",
        "client": CLIENT_ADDRESS,
        "method": "GET",
        "target": "/a?b",
        "host": "example",
        "route": "default",
        "pool": "default",
        "request_id": "r1",
        "attempts": [
            {"upstream": "app1:8000", "failure": "connect_refused", "detail": "connection refused"},
            {"upstream": "app2:8000", "failure": "connect_refused", "detail": "connection refused"},
        ],
    }
    assert stage.proxy.take_failures() == []


def test_a_refusal_is_told_too(stage: Stage) -> None:
    client = stage.client()
    client.receive(b"GET / HTTP/1.1\r\n\r\n")
    stage.settle()
    (failure,) = stage.proxy.take_failures()
    assert (failure["reason"], failure["method"], failure["attempts"]) == ("malformed_request", None, [])


def test_an_attempt_that_broke_off_is_told(stage: Stage) -> None:
    stage.ask(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
    stage.upstream.receive_eof()
    stage.settle()
    (failure,) = stage.proxy.take_failures()
    assert [each["failure"] for each in failure["attempts"]] == ["upstream_closed"]


def test_what_is_told_is_bounded(stage: Stage) -> None:
    stage.tell()
    for number in range(250):
        stage.ask(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number)
    failures = stage.proxy.take_failures()
    assert [failures[0]["target"], failures[-1]["target"], len(failures)] == ["/50", "/249", 200]


REFUSED, TIMEOUT, UNREACHABLE = range(3)


@pytest.mark.parametrize(
    ("error", "column"),
    [
        pytest.param(ConnectionRefusedError(), REFUSED, id="refused"),
        pytest.param(OSError(113, "no route"), UNREACHABLE, id="unreachable"),
    ],
)
def test_failed_connects_are_counted_per_upstream(stage: Stage, error: Exception, column: int) -> None:
    stage.refuse(1, error=error)
    stage.ask()
    cells = stage.upstreams[0].cells
    counted = [cells[UPSTREAM_CONNECT_FAILURES + each] for each in range(3)]
    assert counted == [int(each == column) for each in range(3)]
