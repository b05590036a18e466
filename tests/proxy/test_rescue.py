"""Silent upstreams: requests waiting there move to another upstream, or fail, at once."""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

from typing import Any

import pytest

from balancer.errors import Outcome
from balancer.messages import AttemptRecord
from balancer.telemetry.columns import POOL_RETRY_BUDGET_EXHAUSTED
from tests.fakes.transport import FakeTransport
from tests.fakes.wire import upstream_message
from tests.proxy.conftest import MakeHarness
from tests.proxy.harness import GET, OK, Harness, body_of, head_of, status_of
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
BEFORE, AFTER = True, False  # whether the request was sent before the first check that failed


@pytest.fixture
def harness(make_harness: MakeHarness) -> Harness:
    return make_harness(2)


def silent(since_ns: int = 1) -> dict[str, Any]:
    """The state of an upstream that has been silent since then."""
    return {**EJECTED, "silent_since_ns": since_ns}


def tell(harness: Harness, *states: dict[str, Any]) -> None:
    """The supervisor sends these states of the upstreams, and they are applied."""
    harness.tell(*(upstream_message(number, **state) for number, state in enumerate(states, 1)))
    harness.settle()


def asked(harness: Harness, request: bytes, was_before: bool = AFTER) -> tuple[FakeTransport, int]:
    """A client waiting at the first upstream, and since when that upstream is silent."""
    since = harness.clock.monotonic_ns()
    harness.clock.advance(1.0)
    client = harness.ask(request)
    assert harness.inflight[0] == 1
    harness.clock.advance(1.0)
    return client, harness.clock.monotonic_ns() if was_before else since


@pytest.mark.parametrize("was_before", [BEFORE, AFTER], ids=["before", "after"])
@pytest.mark.parametrize("request_", [GET, PUT, UPGRADE], ids=["GET", "PUT", "upgrade"])
def test_an_idempotent_request_goes_elsewhere_at_once(
    harness: Harness, request_: bytes, was_before: bool
) -> None:
    client, since = asked(harness, request_, was_before)
    first = harness.upstream
    sent = first.take()
    tell(harness, silent(since), {})
    assert first.aborted
    assert harness.dialled == ["10.0.0.1", "10.0.0.2"]
    assert harness.upstream.take().replace(b"10.0.0.2", b"10.0.0.1") == sent
    assert harness.inflight == [0, 1]
    harness.answer()
    assert client.take() == OK
    assert harness.retries() == {"upstream_unresponsive": 1}
    record = harness.logged()
    assert (record["status"], record["reason"], record["attempts"]) == (200, None, 2)
    assert (record["tried"], record["upstream"]) == (["app1:8000", "app2:8000"], "app2:8000")


# Requests that cannot move, and the settings.
BOUND: dict[str, tuple[bytes, dict[str, Any]]] = {
    "a POST": (POST, {}),
    "a body that is not kept": (PUT, {"replay_bytes": 3}),
    "no retries": (GET, {"max_attempts": 1}),
    "a POST that waits for 100": (WAITS_FOR_100, {}),
}


@pytest.mark.parametrize("case", BOUND)
def test_a_request_that_may_not_be_sent_again_fails_at_once_with_the_reason(
    make_harness: MakeHarness, case: str
) -> None:
    request, retry = BOUND[case]
    harness = make_harness(2, retry=retry)
    client, since = asked(harness, request)
    tell(harness, silent(since), {})
    answer = client.take()
    assert status_of(answer) == 504
    assert b"it failed its checks while this request waited. (it has answered no request for 2.0 s)" in answer
    assert harness.inflight == [0, 0]
    assert harness.dialled == ["10.0.0.1"]
    assert harness.local_counted("upstream_unresponsive") == 1
    record = harness.logged()
    assert (record["reason"], record["upstream"]) == ("upstream_unresponsive", "app1:8000")
    (failure,) = harness.proxy.take_failures()
    assert (failure.reason, failure.source) == ("upstream_unresponsive", "upstream")
    assert failure.attempts == (
        AttemptRecord(
            upstream="app1:8000",
            failure="upstream_unresponsive",
            detail="it has answered no request for 2.0 s",
        ),
    )


@pytest.mark.parametrize("case", BOUND)
def test_a_request_sent_before_the_failed_check_keeps_its_time(make_harness: MakeHarness, case: str) -> None:
    """It may be the request that the app is working on: with one worker it answers no check meanwhile."""
    request, retry = BOUND[case]
    harness = make_harness(2, retry=retry)
    client, since = asked(harness, request, BEFORE)
    tell(harness, silent(since), {})
    harness.advance(5.0)
    assert harness.inflight == [1, 0]
    harness.answer()
    assert head_of(client.take())[0] == b"HTTP/1.1 200 OK"


BEGUN = {
    "a response": (GET, PART, b"cd"),
    "a tunnel": (UPGRADE, SWITCH, b"words"),
    "an informational response": (GET, EARLY_HINTS, OK),
}


@pytest.mark.parametrize("case", BEGUN)
def test_a_response_that_has_begun_is_left_alone(harness: Harness, case: str) -> None:
    request, response, more = BEGUN[case]
    client, since = asked(harness, request, BEFORE)
    harness.answer(response)
    client.take()
    tell(harness, silent(since), {})
    harness.advance(0.25)
    harness.answer(more)
    assert client.take() == more
    assert harness.dialled == ["10.0.0.1"]


def test_after_an_informational_response_a_request_is_not_sent_again(harness: Harness) -> None:
    client, since = asked(harness, GET)
    harness.answer(EARLY_HINTS)
    client.take()
    tell(harness, silent(since), {})
    assert status_of(client.take()) == 504
    assert harness.dialled == ["10.0.0.1"]


# --- no other upstream

NOBODY: dict[str, dict[str, Any] | None] = {
    "it is the only upstream": None,
    "the other is ejected too": EJECTED,
    "the other is silent too": silent(),
    "the other is an outlier": OUTLIER,
    "the other is on probation": {"on_probation": True},
    "the other drains": {"admin_state": "draining"},
    "the other is in maintenance": {"admin_state": "maintenance"},
    "the other has no address": {"host": ""},
}


@pytest.mark.parametrize("panic", [True, False], ids=["panic", "no panic"])
@pytest.mark.parametrize("request_", [GET, POST], ids=["GET", "POST"])
@pytest.mark.parametrize("case", NOBODY)
def test_if_no_other_upstream_is_eligible_requests_keep_waiting(
    make_harness: MakeHarness, case: str, request_: bytes, panic: bool
) -> None:
    other = NOBODY[case]
    harness = make_harness(2, panic=panic)
    client, since = asked(harness, request_)
    first = harness.upstream
    tell(harness, silent(since), *([] if other is None else [other]))
    harness.advance(5.0)
    assert harness.dialled == ["10.0.0.1"]
    first.receive(OK)
    harness.settle()
    assert client.take() == OK


@pytest.mark.parametrize("case", NOBODY)
def test_waiting_requests_move_as_soon_as_another_upstream_is_eligible(
    make_harness: MakeHarness, case: str
) -> None:
    other = NOBODY[case]
    harness = make_harness(2)
    client, since = asked(harness, GET)
    tell(harness, silent(since), *([] if other is None else [other]))
    tell(harness, silent(since), {})
    harness.answer()
    assert client.take() == OK
    assert harness.logged()["upstream"] == "app2:8000"


def test_a_request_sent_there_in_panic_moves_too(harness: Harness) -> None:
    since = harness.clock.monotonic_ns()
    tell(harness, silent(since), {"admin_state": "maintenance"})
    client = harness.ask()
    assert harness.dialled == ["10.0.0.1"]
    tell(harness, silent(since), {})
    harness.answer()
    assert client.take() == OK
    assert harness.logged()["tried"] == ["app1:8000", "app2:8000"]


def test_panic_prefers_upstreams_ejected_for_other_causes(harness: Harness) -> None:
    tell(harness, silent(), EJECTED)
    for _ in range(4):
        harness.ask()
        harness.answer()
    assert set(harness.dialled) == {"10.0.0.2"}


def test_a_request_may_move_to_a_backup(harness: Harness) -> None:
    tell(harness, {}, {"backup": True})
    client, since = asked(harness, GET)
    tell(harness, silent(since), {"backup": True})
    harness.answer()
    assert client.take() == OK
    assert harness.logged()["upstream"] == "app2:8000"


@pytest.mark.parametrize("state", [EJECTED, OUTLIER, {"admin_state": "draining"}], ids=str)
def test_requests_stay_at_an_ejected_or_draining_upstream_that_is_not_silent(
    harness: Harness, state: dict[str, Any]
) -> None:
    client, _ = asked(harness, GET)
    tell(harness, state, {})
    harness.advance(5.0)
    harness.answer()
    assert client.take() == OK
    assert harness.dialled == ["10.0.0.1"]


# --- bounds


def test_a_request_moves_only_once(make_harness: MakeHarness) -> None:
    """This request may be what silences them: a slow page, and apps with one worker each."""
    harness = make_harness(3)
    client, since = asked(harness, GET)
    tell(harness, silent(since), {}, {})
    second = harness.inflight.index(1)
    states: list[dict[str, Any]] = [silent(since), {}, {}]
    states[second] = silent(since)
    tell(harness, *states)
    harness.advance(5.0)
    assert harness.inflight[second] == 1
    assert len(harness.dialled) == 2
    harness.answer()
    assert client.take() == OK


def test_a_moved_request_has_its_full_timeout_again(harness: Harness) -> None:
    client, since = asked(harness, GET)
    harness.clock.advance(20.0)
    tell(harness, silent(since), {})
    harness.advance(29.0)
    assert client.take() == b""
    harness.answer()
    assert client.take() == OK


def test_without_budget_requests_fail_at_once_and_the_oldest_use_it_first(make_harness: MakeHarness) -> None:
    harness = make_harness(2, retry={"budget_ratio": 0.0, "budget_min_per_second": 3.0})
    tell(harness, {}, EJECTED)
    since = harness.clock.monotonic_ns()
    clients = []
    for _ in range(8):
        clients.append(harness.ask())
        harness.clock.advance(0.001)
    tell(harness, {}, {})
    tell(harness, silent(since), {})
    assert harness.inflight == [0, 3]
    assert [client.take() for client in clients[:3]] == [b""] * 3
    assert {status_of(client.take()) for client in clients[3:]} == {504}
    assert harness.pool.cells[POOL_RETRY_BUDGET_EXHAUSTED] == 5
    assert harness.local_counted("upstream_unresponsive") == 5


def test_many_requests_are_moved_over_several_turns_of_the_loop(make_harness: MakeHarness) -> None:
    harness = make_harness(2, retry={"budget_min_per_second": 1000.0})
    tell(harness, {}, EJECTED)
    since = harness.clock.monotonic_ns()
    clients = [harness.ask(POST if number % 5 == 0 else GET) for number in range(500)]
    harness.tell(upstream_message(1, **silent(since)), upstream_message(2))
    assert harness.inflight[0] == 400
    clients[499].lose()
    clients.append(harness.ask())
    harness.settle()
    assert harness.inflight == [0, 400]
    assert [status_of(client.take()) for client in clients[:500:5]] == [504] * 100


def test_moving_stops_when_the_upstream_answers_again(make_harness: MakeHarness) -> None:
    harness = make_harness(2, retry={"budget_min_per_second": 1000.0})
    tell(harness, {}, EJECTED)
    since = harness.clock.monotonic_ns()
    for _ in range(150):
        harness.ask()
    harness.tell(upstream_message(1, **silent(since)), upstream_message(2))
    harness.tell(upstream_message(1), upstream_message(2))
    harness.settle()
    assert harness.inflight == [50, 100]


def test_if_all_others_are_full_moved_requests_wait_in_the_queue(make_harness: MakeHarness) -> None:
    harness = make_harness(2, queue={"size": 1})
    since = harness.clock.monotonic_ns()
    harness.limit(2)
    clients = [harness.ask() for _ in range(4)]
    tell(harness, {**silent(since), "max_inflight": 2}, {"max_inflight": 2})
    assert (harness.inflight, harness.waiting) == ([0, 2], 1)
    assert harness.local_counted("upstream_unresponsive") == 1  # for the other request the queue is full
    (busy,) = [one for one in harness.loop.transports if one.protocol.reader is not None][:1]  # type: ignore[attr-defined]
    busy.receive(OK)
    harness.settle()
    assert (harness.inflight, harness.waiting) == ([0, 2], 0)
    assert sum(client.take() == OK for client in clients) == 1


def test_after_a_failure_elsewhere_that_upstreams_own_response_is_passed_on(harness: Harness) -> None:
    client = harness.ask()
    harness.answer(BUSY)
    assert harness.inflight == [0, 1]
    tell(harness, {}, silent())
    assert body_of(client.take()) == b"busy"
    assert harness.logged()["tried"] == ["app1:8000", "app2:8000"]


def test_a_moved_request_does_not_count_against_the_upstream(
    make_harness: MakeHarness, told: list[Outcome]
) -> None:
    harness = make_harness(2, policy="telling", outlier={"enabled": True, "consecutive_failures": 1})
    asked(harness, GET)
    tell(harness, silent(), {})
    harness.answer()
    assert told == [Outcome.CANCELLED, Outcome.SUCCESS]
    assert harness.told == []


# --- uploads


def test_a_slow_upload_continues_until_the_upstream_has_to_answer(
    harness: Harness,
) -> None:
    client, since = asked(harness, UPLOAD)
    tell(harness, silent(since), {})
    harness.advance(5.0)
    assert client.take() == b""
    client.receive(b"cd")
    harness.advance(0.25)
    assert status_of(client.take()) == 504
    assert not client.eof_written  # the request is complete, so the connection can be reused


def test_an_upload_that_the_upstream_does_not_read_fails(harness: Harness) -> None:
    client, since = asked(harness, UPLOAD)
    harness.upstream.pause_writing()
    tell(harness, silent(since), {})
    assert status_of(client.take()) == 504
    assert client.eof_written


def test_a_buffered_upload_continues_elsewhere(harness: Harness) -> None:
    client, since = asked(harness, PUT[:-2])
    harness.upstream.pause_writing()
    tell(harness, silent(since), {})
    client.receive(b"cd")
    assert body_of(harness.upstream.take()) == b"abcd"
    harness.answer()
    assert client.take() == OK


# --- other cases


def test_a_dial_keeps_its_own_deadline(harness: Harness) -> None:
    harness.hold(1)
    since = harness.clock.monotonic_ns()
    client = harness.ask(POST)
    tell(harness, silent(since), {})
    assert client.take() == b""
    harness.advance(0.26)  # a dial to another upstream joins it
    harness.answer()
    assert client.take() == OK


@pytest.mark.plain  # a compiled pool refuses the garbage at once, and uses its fallback
def test_a_bug_in_one_request_does_not_stop_the_others(
    make_harness: MakeHarness, told: list[Outcome], bugs: set[str]
) -> None:
    harness = make_harness(2, policy="telling")
    harness.expects_bug = True
    tell(harness, {}, EJECTED)
    since = harness.clock.monotonic_ns()
    clients = [harness.ask(GET), harness.ask(POST)]
    bugs.add("pick")
    tell(harness, silent(since), {})
    assert [status_of(client.take()) for client in clients] == [500, 504]
    assert any("a bug planted in pick" in str(line[2]) for line in harness.logs)
