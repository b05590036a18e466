"""A failed request goes to another upstream where that is safe, and its client never learns of it."""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

import pytest

from balancer.errors import Outcome
from balancer.telemetry.columns import POOL_RETRY_BUDGET_EXHAUSTED
from tests.fakes.transport import FakeTransport
from tests.proxy.conftest import MakeStage
from tests.proxy.harness import GET, OK, Stage, body_of, status_of

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab"
PUT = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabcd"
BUSY = b"HTTP/1.1 503 Busy\r\nDate: x\r\nContent-Length: 4\r\n\r\nbusy"
ERROR = b"HTTP/1.1 500 No\r\nDate: x\r\nContent-Length: 2\r\n\r\nno"


@pytest.fixture
def stage(make_stage: MakeStage) -> Stage:
    return make_stage(3)


def fail(stage: Stage, upstream: FakeTransport, how: str) -> None:
    """The attempt at the newest upstream connection fails."""
    if how == "busy":
        upstream.receive(BUSY)
    elif how == "closed":
        upstream.receive_eof()
    elif how == "reset":
        upstream.lose(ConnectionResetError())
    elif how == "malformed":
        upstream.receive(b"HTTP/9 what\r\n\r\n")
    else:
        stage.advance(31)
    stage.settle()


def say(stage: Stage, response: bytes) -> None:
    """Whichever upstream connection is in use gives `response`."""
    (used,) = [one for one in stage.loop.transports if one.protocol.reader is not None]  # type: ignore[attr-defined]
    used.receive(response)
    stage.settle()


REASONS = {
    "busy": "status",
    "closed": "upstream_closed",
    "reset": "upstream_closed",
    "malformed": "malformed_response",
    "hangs": "first_byte_timeout",
}


@pytest.mark.parametrize("how", REASONS)
@pytest.mark.parametrize("request_", [GET, PUT], ids=["GET", "PUT"])
def test_an_idempotent_request_goes_to_another_upstream(stage: Stage, request_: bytes, how: str) -> None:
    client = stage.ask(request_)
    first = stage.upstream
    sent = first.take()
    fail(stage, first, how)
    assert stage.dialled == ["10.0.0.1", "10.0.0.2"]
    again = stage.upstream.take()
    assert again.replace(b"10.0.0.2", b"10.0.0.1") == sent
    stage.answer()
    assert client.take() == OK
    assert stage.retries() == {REASONS[how]: 1}
    assert stage.inflight == [0, 0, 0]
    assert stage.logged()["attempts"] == 2
    assert stage.logged()["upstream"] == "app2:8000"


@pytest.mark.parametrize("how", REASONS)
def test_another_request_does_not(stage: Stage, how: str) -> None:
    client = stage.ask(POST)
    fail(stage, stage.upstream, how)
    assert stage.dialled == ["10.0.0.1"]
    assert status_of(client.take()) == (503 if how == "busy" else 504 if how == "hangs" else 502)


def test_an_answer_that_is_not_listed_is_passed_on(stage: Stage) -> None:
    client = stage.ask()
    stage.answer(ERROR)
    assert client.take() == ERROR


def test_statuses_and_methods_are_settings(make_stage: MakeStage) -> None:
    retry = {"statuses": [500], "methods": ["POST"]}
    stage = make_stage(3, retry=retry)
    client = stage.ask(POST)
    stage.answer(ERROR)
    assert len(stage.dialled) == 2
    stage.answer()
    assert client.take() == OK
    client = stage.ask(GET)
    stage.answer(ERROR)
    assert client.take() == ERROR


def test_the_last_upstreams_own_answer_is_passed_on(stage: Stage) -> None:
    client = stage.ask()
    for number in (1, 2, 3):
        assert client.take() == b""
        stage.answer(BUSY.replace(b"busy", b"%4d" % number))
    assert body_of(client.take()) == b"   3"
    assert stage.retries() == {"status": 2}


def test_an_answer_is_better_than_none(stage: Stage) -> None:
    """The first said 503, and nobody else could be reached: its own answer is passed on, not ours."""
    client = stage.ask()
    stage.refuse(2, 3)
    stage.answer(BUSY)
    assert client.take() == BUSY
    assert stage.logged()["reason"] is None
    assert stage.local_counted("connect_refused") == 0


def test_where_there_is_no_other_upstream_the_answer_is_passed_on(make_stage: MakeStage) -> None:
    stage = make_stage(1)
    client = stage.ask()
    stage.answer(BUSY)
    assert client.take() == BUSY
    assert stage.retries() == {}


def test_never_more_than_max_attempts(make_stage: MakeStage) -> None:
    stage = make_stage(3, retry={"max_attempts": 2})
    client = stage.ask()
    stage.answer(BUSY)
    stage.answer(BUSY)
    assert client.take() == BUSY
    assert len(stage.dialled) == 2


def test_nothing_goes_again_once_a_response_has_begun(stage: Stage) -> None:
    client = stage.ask()
    stage.answer(b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 9\r\n\r\nhalf")
    stage.upstream.receive_eof()
    stage.settle()
    assert len(stage.dialled) == 1
    assert client.is_closing()


def test_nothing_goes_again_once_the_client_was_told_anything(stage: Stage) -> None:
    client = stage.ask(PUT.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")[:-4])
    stage.upstream.receive(b"HTTP/1.1 100 Continue\r\n\r\n")
    client.receive(b"abcd")
    stage.answer(BUSY)
    assert client.take() == b"HTTP/1.1 100 Continue\r\n\r\n" + BUSY
    assert len(stage.dialled) == 1


def test_an_upload_goes_on_at_the_next_upstream(stage: Stage) -> None:
    client = stage.ask(PUT[:-2])
    fail(stage, stage.upstream, "closed")
    client.receive(b"cd")
    stage.settle()
    assert stage.upstream.take().endswith(b"\r\n\r\nabcd")
    stage.answer()
    assert client.take() == OK


@pytest.mark.parametrize("how", ["stale", "reset", "busy"])
def test_an_upload_that_was_paused_goes_on_by_the_next_connection(make_stage: MakeStage, how: str) -> None:
    """The one that failed had not taken all that was written to it."""
    stage = make_stage(1 if how == "stale" else 2)
    client = stage.warm()[0] if how == "stale" else stage.client()
    stage.ask(PUT[:-2], client)
    stage.upstream.pause_writing()
    assert not client.reading
    fail(stage, stage.upstream, "reset" if how == "stale" else how)
    assert client.reading
    client.receive(b"cd")
    stage.settle()
    assert stage.upstream.take().endswith(b"\r\n\r\nabcd")
    stage.answer()
    assert client.take() == OK


def test_a_chunked_upload_is_replayed_as_it_was_sent(stage: Stage) -> None:
    client = stage.ask(b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n")
    client.receive(b"1\r\nc\r\n0\r\nX: y\r\n\r\n")
    stage.settle()
    sent = stage.upstream.take().partition(b"\r\n\r\n")[2]
    fail(stage, stage.upstream, "closed")
    assert stage.upstream.take().partition(b"\r\n\r\n")[2] == sent
    stage.answer()
    assert client.take() == OK


@pytest.mark.parametrize(("kept", "again"), [(4, True), (3, False), (0, False)])
def test_a_body_goes_again_only_if_it_was_kept(make_stage: MakeStage, kept: int, again: bool) -> None:
    stage = make_stage(2, retry={"replay_bytes": kept})
    client = stage.ask(PUT)
    assert stage.proxy.context.replay_memory.bytes == (4 if again else 0)
    fail(stage, stage.upstream, "closed")
    assert len(stage.dialled) == 1 + again
    if again:
        stage.answer()
        assert client.take() == OK
    assert stage.proxy.context.replay_memory.bytes == 0


def test_what_all_bodies_keep_is_bounded(stage: Stage) -> None:
    stage.proxy.context.replay_memory.bytes = (64 << 20) - 3
    client = stage.ask(PUT)
    fail(stage, stage.upstream, "closed")
    assert status_of(client.take()) == 502
    assert stage.proxy.context.replay_memory.bytes == (64 << 20) - 3
    stage.proxy.context.replay_memory.bytes = 0


@pytest.mark.parametrize("waits_for", ["a connection", "a place"])
def test_what_is_kept_counts_also_while_it_waits(make_stage: MakeStage, waits_for: str) -> None:
    stage = make_stage(2, queue={"size": 1})
    client = stage.ask(PUT)
    first = stage.upstream
    if waits_for == "a connection":
        stage.hold(2)
    else:
        stage.limit(1)
        stage.ask()
        other = stage.upstream
    fail(stage, first, "closed")
    assert stage.proxy.context.replay_memory.bytes == 4
    if waits_for == "a connection":
        stage.loop.dials[-1].accept()
    else:
        other.receive(OK)
    stage.settle()
    assert stage.proxy.context.replay_memory.bytes == 4
    say(stage, OK)
    assert client.take() == OK
    assert stage.proxy.context.replay_memory.bytes == 0


def test_a_body_is_kept_until_the_response_begins(stage: Stage) -> None:
    stage.ask(PUT)
    assert stage.proxy.context.replay_memory.bytes == 4
    stage.answer(b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 2\r\n\r\n")
    assert stage.proxy.context.replay_memory.bytes == 0
    stage.answer(b"ok")


def test_a_client_that_leaves_frees_what_was_kept(stage: Stage) -> None:
    client = stage.ask(PUT)
    client.receive_eof()
    stage.settle()
    assert stage.proxy.context.replay_memory.bytes == 0


def test_a_retry_has_as_much_time_as_the_first(stage: Stage) -> None:
    client = stage.ask()
    fail(stage, stage.upstream, "hangs")
    stage.advance(25)
    assert client.take() == b""
    assert len(stage.dialled) == 2
    stage.answer()
    assert client.take() == OK


def test_the_budget_bounds_retries(make_stage: MakeStage) -> None:
    stage = make_stage(2, retry={"budget_ratio": 0.0, "budget_min_per_second": 2.0})
    for number in range(4):
        client = stage.ask()
        say(stage, BUSY)
        if number < 2:  # one second's worth to begin with
            say(stage, OK)
            assert client.take() == OK
        else:
            assert client.take() == BUSY
    assert stage.pool.cells[POOL_RETRY_BUDGET_EXHAUSTED] == 2
    assert stage.inflight == [0, 0]


def test_what_could_not_be_connected_does_not_count(make_stage: MakeStage) -> None:
    stage = make_stage(2, retry={"budget_ratio": 0.0, "budget_min_per_second": 0.0})
    stage.refuse(1)
    client = stage.ask()
    stage.answer()
    assert client.take() == OK


def test_policies_are_told_of_each_attempt(make_stage: MakeStage, told: list[Outcome]) -> None:
    stage = make_stage(2, policy="telling")
    stage.ask()
    stage.answer(BUSY)
    stage.answer()
    assert told == [Outcome.SERVER_ERROR, Outcome.SUCCESS]


def test_a_connection_that_answered_whole_is_used_again(stage: Stage) -> None:
    client = stage.ask()
    busy = stage.upstream
    stage.answer(BUSY)
    stage.answer()
    assert client.take() == OK
    assert not busy.is_closing()


def test_one_whose_answer_was_cut_short_is_not(stage: Stage) -> None:
    client = stage.ask()
    busy = stage.upstream
    stage.answer(BUSY[:-2])
    assert busy.is_closing()
    stage.answer()
    assert client.take() == OK


def test_one_that_answered_before_it_had_read_the_request_is_not(stage: Stage) -> None:
    client = stage.ask(PUT[:-2])
    busy = stage.upstream
    stage.answer(BUSY)
    assert busy.is_closing()
    client.receive(b"cd")
    stage.settle()
    stage.answer()
    assert client.take() == OK


def test_an_answer_that_was_cut_short_is_not_passed_on(stage: Stage) -> None:
    client = stage.ask()
    stage.refuse(2, 3)
    stage.answer(BUSY[:-2])
    assert status_of(client.take()) == 502


# What the kernel knows when an idle connection, taken for a POST, turns out to be closed -> is it sent again
UNREAD = {
    "closed, and nothing of it acknowledged": (0, 7, True),
    "closed, but it had arrived": (99, 7, False),
    "half closed: it may still be read": (0, 8, False),
}


@pytest.mark.parametrize("case", UNREAD)
def test_a_post_goes_again_only_with_proof_that_nobody_has_read_it(make_stage: MakeStage, case: str) -> None:
    acked, state, again = UNREAD[case]
    stage = make_stage(1)
    client, idle = stage.warm()
    idle.socket.acked = 500
    client.receive(POST)
    idle.socket.acked += acked
    idle.socket.state = state
    idle.receive_eof()
    stage.settle()
    assert len(stage.dialled) == 1 + again
    if again:
        assert stage.upstream.take().endswith(b"\r\n\r\nab")
        stage.answer()
        assert client.take() == OK
        assert stage.retries() == {"stale_connection": 1}
    else:
        assert status_of(client.take()) == 502


def test_a_reset_is_no_proof(make_stage: MakeStage) -> None:
    """An app may have read the request and crashed, before its kernel acknowledged any of it."""
    stage = make_stage(1)
    client, idle = stage.warm()
    client.receive(POST)
    idle.socket.state = 7
    idle.lose(ConnectionResetError())
    stage.settle()
    assert status_of(client.take()) == 502
    assert len(stage.dialled) == 1


def test_what_is_proven_of_one_connection_says_nothing_of_the_next(make_stage: MakeStage) -> None:
    stage = make_stage(2)
    client, idle = stage.warm()
    stage.ask(GET, client)
    stage.answer(OK.replace(b"Date: x", b"Connection: close"))
    client.take()
    stage.ask(POST, client)  # the first one's turn again
    for connection in (idle, None):
        now = connection or stage.upstream
        now.socket.state = 7
        now.receive_eof()
        stage.settle()
    assert len(stage.dialled) == 3
    assert status_of(client.take()) == 502


def test_a_post_on_a_fresh_connection_never_goes_again(make_stage: MakeStage) -> None:
    stage = make_stage(2)
    client = stage.ask(POST)
    stage.upstream.socket.state = 7
    fail(stage, stage.upstream, "closed")
    assert status_of(client.take()) == 502
    assert len(stage.dialled) == 1


def test_pipelined_requests_are_each_retried(stage: Stage) -> None:
    client = stage.ask(GET + GET)
    for _ in range(2):
        say(stage, BUSY)
        say(stage, OK)
    assert client.take() == OK + OK
    assert stage.retries()["status"] == 2
