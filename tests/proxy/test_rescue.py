"""Upstreams that are known to answer nobody: requests that wait there go elsewhere, or fail, at once."""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

from typing import Any

import pytest

from balancer.errors import Outcome
from balancer.messages import AttemptRecord
from balancer.telemetry.columns import POOL_RETRY_BUDGET_EXHAUSTED
from tests.fakes.transport import FakeTransport
from tests.fakes.wire import upstream_message
from tests.proxy.conftest import MakeStage
from tests.proxy.harness import GET, OK, Stage, body_of, head_of, status_of
from tests.proxy.test_tunnel import SWITCH, UPGRADE

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab"
PUT = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabcd"
UPLOAD = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab"
WAITS_FOR_100 = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
BUSY = b"HTTP/1.1 503 Busy\r\nDate: x\r\nContent-Length: 4\r\n\r\nbusy"
EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\n\r\n"
PART = b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 4\r\n\r\nab"
EJECTED = {"causes": ["active_check"]}
OUTLIER = {"causes": ["outlier"]}
BEFORE, AFTER = True, False  # whether requests were there before the check that was the first to fail


@pytest.fixture
def stage(make_stage: MakeStage) -> Stage:
    return make_stage(2)


def silent(since_ns: int = 1) -> dict[str, Any]:
    """The state of an upstream that has answered nobody since then."""
    return {**EJECTED, "silent_since_ns": since_ns}


def tell(stage: Stage, *states: dict[str, Any]) -> None:
    """The supervisor says that the upstreams are in these states, and that is done."""
    stage.tell(*(upstream_message(number, **state) for number, state in enumerate(states, 1)))
    stage.settle()


def asked(stage: Stage, request: bytes, was_before: bool = AFTER) -> tuple[FakeTransport, int]:
    """A client that waits at the first upstream, and since when that one is silent."""
    since = stage.clock.monotonic_ns()
    stage.clock.advance(1.0)
    client = stage.ask(request)
    assert stage.inflight[0] == 1
    stage.clock.advance(1.0)
    return client, stage.clock.monotonic_ns() if was_before else since


@pytest.mark.parametrize("was_before", [BEFORE, AFTER], ids=["before", "after"])
@pytest.mark.parametrize("request_", [GET, PUT, UPGRADE], ids=["GET", "PUT", "upgrade"])
def test_what_may_be_sent_twice_goes_elsewhere_at_once(
    stage: Stage, request_: bytes, was_before: bool
) -> None:
    client, since = asked(stage, request_, was_before)
    first = stage.upstream
    sent = first.take()
    tell(stage, silent(since), {})
    assert first.aborted
    assert stage.dialled == ["10.0.0.1", "10.0.0.2"]
    assert stage.upstream.take().replace(b"10.0.0.2", b"10.0.0.1") == sent
    assert stage.inflight == [0, 1]
    stage.answer()
    assert client.take() == OK
    assert stage.retries() == {"upstream_unresponsive": 1}
    record = stage.logged()
    assert (record["status"], record["reason"], record["attempts"]) == (200, None, 2)
    assert (record["tried"], record["upstream"]) == (["app1:8000", "app2:8000"], "app2:8000")


# What cannot go elsewhere, by its settings.
BOUND: dict[str, tuple[bytes, dict[str, Any]]] = {
    "a POST": (POST, {}),
    "a body that is not kept": (PUT, {"replay_bytes": 3}),
    "no retries": (GET, {"max_attempts": 1}),
    "a POST that waits for 100": (WAITS_FOR_100, {}),
}


@pytest.mark.parametrize("case", BOUND)
def test_what_may_not_fails_at_once_with_the_reason(make_stage: MakeStage, case: str) -> None:
    request, retry = BOUND[case]
    stage = make_stage(2, retry=retry)
    client, since = asked(stage, request)
    tell(stage, silent(since), {})
    answer = client.take()
    assert status_of(answer) == 504
    assert b"it failed its checks while this request waited. (it has answered nobody for 2.0 s)" in answer
    assert stage.inflight == [0, 0]
    assert stage.dialled == ["10.0.0.1"]
    assert stage.local_counted("upstream_unresponsive") == 1
    record = stage.logged()
    assert (record["reason"], record["upstream"]) == ("upstream_unresponsive", "app1:8000")
    (failure,) = stage.proxy.take_failures()
    assert (failure.reason, failure.source) == ("upstream_unresponsive", "upstream")
    assert failure.attempts == (
        AttemptRecord(
            upstream="app1:8000",
            failure="upstream_unresponsive",
            detail="it has answered nobody for 2.0 s",
        ),
    )


@pytest.mark.parametrize("case", BOUND)
def test_what_may_not_and_was_there_before_keeps_its_time(make_stage: MakeStage, case: str) -> None:
    """It may be what the app is working on: with one worker it answers no check meanwhile."""
    request, retry = BOUND[case]
    stage = make_stage(2, retry=retry)
    client, since = asked(stage, request, BEFORE)
    tell(stage, silent(since), {})
    stage.advance(5.0)
    assert stage.inflight == [1, 0]
    stage.answer()
    assert head_of(client.take())[0] == b"HTTP/1.1 200 OK"


BEGUN = {
    "a response": (GET, PART, b"cd"),
    "a tunnel": (UPGRADE, SWITCH, b"words"),
    "an informational response": (GET, EARLY_HINTS, OK),
}


@pytest.mark.parametrize("case", BEGUN)
def test_what_has_begun_is_left_alone(stage: Stage, case: str) -> None:
    request, response, more = BEGUN[case]
    client, since = asked(stage, request, BEFORE)
    stage.answer(response)
    client.take()
    tell(stage, silent(since), {})
    stage.advance(0.25)
    stage.answer(more)
    assert client.take() == more
    assert stage.dialled == ["10.0.0.1"]


def test_after_an_informational_response_nothing_is_sent_again(stage: Stage) -> None:
    client, since = asked(stage, GET)
    stage.answer(EARLY_HINTS)
    client.take()
    tell(stage, silent(since), {})
    assert status_of(client.take()) == 504
    assert stage.dialled == ["10.0.0.1"]


# --- nowhere to go

NOBODY: dict[str, dict[str, Any] | None] = {
    "it is the only one": None,
    "the other is ejected as well": EJECTED,
    "the other is silent as well": silent(),
    "the other is an outlier": OUTLIER,
    "the other is on probation": {"on_probation": True},
    "the other drains": {"admin_state": "draining"},
    "the other is in maintenance": {"admin_state": "maintenance"},
    "the other has no address": {"host": ""},
}


@pytest.mark.parametrize("panic", [True, False], ids=["panic", "no panic"])
@pytest.mark.parametrize("request_", [GET, POST], ids=["GET", "POST"])
@pytest.mark.parametrize("case", NOBODY)
def test_where_no_other_is_eligible_they_go_on_waiting(
    make_stage: MakeStage, case: str, request_: bytes, panic: bool
) -> None:
    other = NOBODY[case]
    stage = make_stage(2, panic=panic)
    client, since = asked(stage, request_)
    first = stage.upstream
    tell(stage, silent(since), *([] if other is None else [other]))
    stage.advance(5.0)
    assert stage.dialled == ["10.0.0.1"]
    first.receive(OK)
    stage.settle()
    assert client.take() == OK


@pytest.mark.parametrize("case", NOBODY)
def test_when_another_comes_they_go_there(make_stage: MakeStage, case: str) -> None:
    other = NOBODY[case]
    stage = make_stage(2)
    client, since = asked(stage, GET)
    tell(stage, silent(since), *([] if other is None else [other]))
    tell(stage, silent(since), {})
    stage.answer()
    assert client.take() == OK
    assert stage.logged()["upstream"] == "app2:8000"


def test_one_that_came_in_panic_goes_as_well(stage: Stage) -> None:
    since = stage.clock.monotonic_ns()
    tell(stage, silent(since), {"admin_state": "maintenance"})
    client = stage.ask()
    assert stage.dialled == ["10.0.0.1"]
    tell(stage, silent(since), {})
    stage.answer()
    assert client.take() == OK
    assert stage.logged()["tried"] == ["app1:8000", "app2:8000"]


def test_in_panic_one_that_is_ejected_otherwise_is_used_rather(stage: Stage) -> None:
    tell(stage, silent(), EJECTED)
    for _ in range(4):
        stage.ask()
        stage.answer()
    assert set(stage.dialled) == {"10.0.0.2"}


def test_a_backup_will_do(stage: Stage) -> None:
    tell(stage, {}, {"backup": True})
    client, since = asked(stage, GET)
    tell(stage, silent(since), {"backup": True})
    stage.answer()
    assert client.take() == OK
    assert stage.logged()["upstream"] == "app2:8000"


@pytest.mark.parametrize("state", [EJECTED, OUTLIER, {"admin_state": "draining"}], ids=str)
def test_who_is_ejected_or_drains_without_being_silent_keeps_its_requests(
    stage: Stage, state: dict[str, Any]
) -> None:
    client, _ = asked(stage, GET)
    tell(stage, state, {})
    stage.advance(5.0)
    stage.answer()
    assert client.take() == OK
    assert stage.dialled == ["10.0.0.1"]


# --- how many, and how often


def test_not_a_second_time(make_stage: MakeStage) -> None:
    """It may be this request that silences them: a slow page, and apps with one worker each."""
    stage = make_stage(3)
    client, since = asked(stage, GET)
    tell(stage, silent(since), {}, {})
    second = stage.inflight.index(1)
    states: list[dict[str, Any]] = [silent(since), {}, {}]
    states[second] = silent(since)
    tell(stage, *states)
    stage.advance(5.0)
    assert stage.inflight[second] == 1
    assert len(stage.dialled) == 2
    stage.answer()
    assert client.take() == OK


def test_it_has_as_much_time_there_as_it_had_before(stage: Stage) -> None:
    client, since = asked(stage, GET)
    stage.clock.advance(20.0)
    tell(stage, silent(since), {})
    stage.advance(29.0)
    assert client.take() == b""
    stage.answer()
    assert client.take() == OK


def test_who_finds_no_budget_fails_at_once_and_the_first_to_come_have_it(make_stage: MakeStage) -> None:
    stage = make_stage(2, retry={"budget_ratio": 0.0, "budget_min_per_second": 3.0})
    tell(stage, {}, EJECTED)
    since = stage.clock.monotonic_ns()
    clients = []
    for _ in range(8):
        clients.append(stage.ask())
        stage.clock.advance(0.001)
    tell(stage, {}, {})
    tell(stage, silent(since), {})
    assert stage.inflight == [0, 3]
    assert [client.take() for client in clients[:3]] == [b""] * 3
    assert {status_of(client.take()) for client in clients[3:]} == {504}
    assert stage.pool.cells[POOL_RETRY_BUDGET_EXHAUSTED] == 5
    assert stage.local_counted("upstream_unresponsive") == 5


def test_many_are_taken_away_in_some_turns_of_the_loop(make_stage: MakeStage) -> None:
    stage = make_stage(2, retry={"budget_min_per_second": 1000.0})
    tell(stage, {}, EJECTED)
    since = stage.clock.monotonic_ns()
    clients = [stage.ask(POST if number % 5 == 0 else GET) for number in range(500)]
    stage.tell(upstream_message(1, **silent(since)), upstream_message(2))
    assert stage.inflight[0] == 400
    clients[499].lose()
    clients.append(stage.ask())
    stage.settle()
    assert stage.inflight == [0, 400]
    assert [status_of(client.take()) for client in clients[:500:5]] == [504] * 100


def test_nobody_is_taken_away_from_one_that_is_heard_again_meanwhile(make_stage: MakeStage) -> None:
    stage = make_stage(2, retry={"budget_min_per_second": 1000.0})
    tell(stage, {}, EJECTED)
    since = stage.clock.monotonic_ns()
    for _ in range(150):
        stage.ask()
    stage.tell(upstream_message(1, **silent(since)), upstream_message(2))
    stage.tell(upstream_message(1), upstream_message(2))
    stage.settle()
    assert stage.inflight == [50, 100]


def test_where_all_others_are_full_they_wait_in_the_queue(make_stage: MakeStage) -> None:
    stage = make_stage(2, queue={"size": 1})
    since = stage.clock.monotonic_ns()
    stage.limit(2)
    clients = [stage.ask() for _ in range(4)]
    tell(stage, {**silent(since), "max_inflight": 2}, {"max_inflight": 2})
    assert (stage.inflight, stage.waiting) == ([0, 2], 1)
    assert stage.local_counted("upstream_unresponsive") == 1  # for the other one there is no room to wait
    (busy,) = [one for one in stage.loop.transports if one.protocol.reader is not None][:1]  # type: ignore[attr-defined]
    busy.receive(OK)
    stage.settle()
    assert (stage.inflight, stage.waiting) == ([0, 2], 0)
    assert sum(client.take() == OK for client in clients) == 1


def test_where_another_has_failed_it_already_its_own_word_is_passed_on(stage: Stage) -> None:
    client = stage.ask()
    stage.answer(BUSY)
    assert stage.inflight == [0, 1]
    tell(stage, {}, silent())
    assert body_of(client.take()) == b"busy"
    assert stage.logged()["tried"] == ["app1:8000", "app2:8000"]


def test_it_is_not_held_against_the_upstream_once_more(make_stage: MakeStage, told: list[Outcome]) -> None:
    stage = make_stage(2, policy="telling", outlier={"enabled": True, "consecutive_failures": 1})
    asked(stage, GET)
    tell(stage, silent(), {})
    stage.answer()
    assert told == [Outcome.CANCELLED, Outcome.SUCCESS]
    assert stage.told == []


# --- uploads


def test_an_upload_that_the_client_is_slow_with_goes_on_until_it_is_the_upstreams_turn(stage: Stage) -> None:
    client, since = asked(stage, UPLOAD)
    tell(stage, silent(since), {})
    stage.advance(5.0)
    assert client.take() == b""
    client.receive(b"cd")
    stage.advance(0.25)
    assert status_of(client.take()) == 504
    assert not client.eof_written  # the request is whole, so the connection can be used again


def test_one_that_the_upstream_does_not_take_fails(stage: Stage) -> None:
    client, since = asked(stage, UPLOAD)
    stage.upstream.pause_writing()
    tell(stage, silent(since), {})
    assert status_of(client.take()) == 504
    assert client.eof_written


def test_one_that_is_kept_goes_on_elsewhere(stage: Stage) -> None:
    client, since = asked(stage, PUT[:-2])
    stage.upstream.pause_writing()
    tell(stage, silent(since), {})
    client.receive(b"cd")
    assert body_of(stage.upstream.take()) == b"abcd"
    stage.answer()
    assert client.take() == OK


# --- beside


def test_a_dial_is_left_to_its_own_deadline(stage: Stage) -> None:
    stage.hold(1)
    since = stage.clock.monotonic_ns()
    client = stage.ask(POST)
    tell(stage, silent(since), {})
    assert client.take() == b""
    stage.advance(0.26)  # it is joined by one to another upstream
    stage.answer()
    assert client.take() == OK


def test_a_bug_in_one_request_does_not_keep_the_others(
    make_stage: MakeStage, told: list[Outcome], bugs: set[str]
) -> None:
    stage = make_stage(2, policy="telling")
    stage.expects_bug = True
    tell(stage, {}, EJECTED)
    since = stage.clock.monotonic_ns()
    clients = [stage.ask(GET), stage.ask(POST)]
    bugs.add("pick")
    tell(stage, silent(since), {})
    assert [status_of(client.take()) for client in clients] == [500, 504]
    assert any("a bug planted in pick" in str(line[2]) for line in stage.logs)
