"""A failed request goes to another upstream if that is safe, unnoticed by its client."""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

import pytest

from balancer.errors import Outcome
from balancer.telemetry.columns import POOL_RETRY_BUDGET_EXHAUSTED
from tests.fakes.transport import FakeTransport
from tests.proxy.conftest import MakeHarness
from tests.proxy.harness import GET, OK, Harness, body_of, status_of

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab"
PUT = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabcd"
BUSY = b"HTTP/1.1 503 Busy\r\nDate: x\r\nContent-Length: 4\r\n\r\nbusy"
ERROR = b"HTTP/1.1 500 No\r\nDate: x\r\nContent-Length: 2\r\n\r\nno"


@pytest.fixture
def harness(make_harness: MakeHarness) -> Harness:
    return make_harness(3)


def fail(harness: Harness, upstream: FakeTransport, how: str) -> None:
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
        harness.advance(31)
    harness.settle()


def say(harness: Harness, response: bytes) -> None:
    """The upstream connection in use sends `response`."""
    (used,) = [one for one in harness.loop.transports if one.protocol.reader is not None]  # type: ignore[attr-defined]
    used.receive(response)
    harness.settle()


REASONS = {
    "busy": "status",
    "closed": "upstream_closed",
    "reset": "upstream_closed",
    "malformed": "malformed_response",
    "hangs": "first_byte_timeout",
}


@pytest.mark.parametrize("how", REASONS)
@pytest.mark.parametrize("request_", [GET, PUT], ids=["GET", "PUT"])
def test_an_idempotent_request_goes_to_another_upstream(harness: Harness, request_: bytes, how: str) -> None:
    client = harness.ask(request_)
    first = harness.upstream
    sent = first.take()
    fail(harness, first, how)
    assert harness.dialled == ["10.0.0.1", "10.0.0.2"]
    again = harness.upstream.take()
    assert again.replace(b"10.0.0.2", b"10.0.0.1") == sent
    harness.answer()
    assert client.take() == OK
    assert harness.retries() == {REASONS[how]: 1}
    assert harness.inflight == [0, 0, 0]
    assert harness.logged()["attempts"] == 2
    assert harness.logged()["upstream"] == "app2:8000"


@pytest.mark.parametrize("how", REASONS)
def test_a_request_that_is_not_idempotent_is_not_retried(harness: Harness, how: str) -> None:
    client = harness.ask(POST)
    fail(harness, harness.upstream, how)
    assert harness.dialled == ["10.0.0.1"]
    assert status_of(client.take()) == (503 if how == "busy" else 504 if how == "hangs" else 502)


def test_a_status_that_is_not_listed_is_passed_on(harness: Harness) -> None:
    client = harness.ask()
    harness.answer(ERROR)
    assert client.take() == ERROR


def test_retried_statuses_and_methods_are_settings(make_harness: MakeHarness) -> None:
    retry = {"statuses": [500], "methods": ["POST"]}
    harness = make_harness(3, retry=retry)
    client = harness.ask(POST)
    harness.answer(ERROR)
    assert len(harness.dialled) == 2
    harness.answer()
    assert client.take() == OK
    client = harness.ask(GET)
    harness.answer(ERROR)
    assert client.take() == ERROR


def test_the_last_upstreams_own_response_is_passed_on(harness: Harness) -> None:
    client = harness.ask()
    for number in (1, 2, 3):
        assert client.take() == b""
        harness.answer(BUSY.replace(b"busy", b"%4d" % number))
    assert body_of(client.take()) == b"   3"
    assert harness.retries() == {"status": 2}


def test_a_response_is_preferred_to_a_failure(harness: Harness) -> None:
    """The first answered 503 and no other could be reached: its own response is passed on, not ours."""
    client = harness.ask()
    harness.refuse(2, 3)
    harness.answer(BUSY)
    assert client.take() == BUSY
    assert harness.logged()["reason"] is None
    assert harness.local_counted("connect_refused") == 0


def test_without_another_upstream_the_response_is_passed_on(make_harness: MakeHarness) -> None:
    harness = make_harness(1)
    client = harness.ask()
    harness.answer(BUSY)
    assert client.take() == BUSY
    assert harness.retries() == {}


def test_attempts_never_exceed_max_attempts(make_harness: MakeHarness) -> None:
    harness = make_harness(3, retry={"max_attempts": 2})
    client = harness.ask()
    harness.answer(BUSY)
    harness.answer(BUSY)
    assert client.take() == BUSY
    assert len(harness.dialled) == 2


def test_no_retry_after_a_response_has_begun(harness: Harness) -> None:
    client = harness.ask()
    harness.answer(b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 9\r\n\r\nhalf")
    harness.upstream.receive_eof()
    harness.settle()
    assert len(harness.dialled) == 1
    assert client.is_closing()


def test_no_retry_after_any_byte_to_the_client(harness: Harness) -> None:
    client = harness.ask(PUT.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")[:-4])
    harness.upstream.receive(b"HTTP/1.1 100 Continue\r\n\r\n")
    client.receive(b"abcd")
    harness.answer(BUSY)
    assert client.take() == b"HTTP/1.1 100 Continue\r\n\r\n" + BUSY
    assert len(harness.dialled) == 1


def test_an_upload_continues_at_the_next_upstream(harness: Harness) -> None:
    client = harness.ask(PUT[:-2])
    fail(harness, harness.upstream, "closed")
    client.receive(b"cd")
    harness.settle()
    assert harness.upstream.take().endswith(b"\r\n\r\nabcd")
    harness.answer()
    assert client.take() == OK


@pytest.mark.parametrize("how", ["stale", "reset", "busy"])
def test_a_paused_upload_continues_on_the_next_connection(make_harness: MakeHarness, how: str) -> None:
    """The failed connection had not sent everything that was written to it."""
    harness = make_harness(1 if how == "stale" else 2)
    client = harness.warm()[0] if how == "stale" else harness.client()
    harness.ask(PUT[:-2], client)
    harness.upstream.pause_writing()
    assert not client.reading
    fail(harness, harness.upstream, "reset" if how == "stale" else how)
    assert client.reading
    client.receive(b"cd")
    harness.settle()
    assert harness.upstream.take().endswith(b"\r\n\r\nabcd")
    harness.answer()
    assert client.take() == OK


def test_a_chunked_upload_is_replayed_as_it_was_sent(harness: Harness) -> None:
    client = harness.ask(b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n")
    client.receive(b"1\r\nc\r\n0\r\nX: y\r\n\r\n")
    harness.settle()
    sent = harness.upstream.take().partition(b"\r\n\r\n")[2]
    fail(harness, harness.upstream, "closed")
    assert harness.upstream.take().partition(b"\r\n\r\n")[2] == sent
    harness.answer()
    assert client.take() == OK


@pytest.mark.parametrize(("kept", "again"), [(4, True), (3, False), (0, False)])
def test_a_body_is_sent_again_only_if_it_was_buffered(
    make_harness: MakeHarness, kept: int, again: bool
) -> None:
    harness = make_harness(2, retry={"replay_bytes": kept})
    client = harness.ask(PUT)
    assert harness.proxy.context.replay_memory.bytes == (4 if again else 0)
    fail(harness, harness.upstream, "closed")
    assert len(harness.dialled) == 1 + again
    if again:
        harness.answer()
        assert client.take() == OK
    assert harness.proxy.context.replay_memory.bytes == 0


def test_the_total_of_buffered_bodies_is_bounded(harness: Harness) -> None:
    harness.proxy.context.replay_memory.bytes = (64 << 20) - 3
    client = harness.ask(PUT)
    fail(harness, harness.upstream, "closed")
    assert status_of(client.take()) == 502
    assert harness.proxy.context.replay_memory.bytes == (64 << 20) - 3
    harness.proxy.context.replay_memory.bytes = 0


@pytest.mark.parametrize("waits_for", ["a connection", "a slot"])
def test_buffered_bodies_count_also_while_they_wait(make_harness: MakeHarness, waits_for: str) -> None:
    harness = make_harness(2, queue={"size": 1})
    client = harness.ask(PUT)
    first = harness.upstream
    if waits_for == "a connection":
        harness.hold(2)
    else:
        harness.limit(1)
        harness.ask()
        other = harness.upstream
    fail(harness, first, "closed")
    assert harness.proxy.context.replay_memory.bytes == 4
    if waits_for == "a connection":
        harness.loop.dials[-1].accept()
    else:
        other.receive(OK)
    harness.settle()
    assert harness.proxy.context.replay_memory.bytes == 4
    say(harness, OK)
    assert client.take() == OK
    assert harness.proxy.context.replay_memory.bytes == 0


def test_a_body_is_buffered_until_the_response_begins(harness: Harness) -> None:
    harness.ask(PUT)
    assert harness.proxy.context.replay_memory.bytes == 4
    harness.answer(b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 2\r\n\r\n")
    assert harness.proxy.context.replay_memory.bytes == 0
    harness.answer(b"ok")


def test_a_client_that_leaves_frees_its_buffered_body(harness: Harness) -> None:
    client = harness.ask(PUT)
    client.receive_eof()
    harness.settle()
    assert harness.proxy.context.replay_memory.bytes == 0


def test_a_retry_has_the_full_timeout_again(harness: Harness) -> None:
    client = harness.ask()
    fail(harness, harness.upstream, "hangs")
    harness.advance(25)
    assert client.take() == b""
    assert len(harness.dialled) == 2
    harness.answer()
    assert client.take() == OK


def test_the_budget_bounds_retries(make_harness: MakeHarness) -> None:
    harness = make_harness(2, retry={"budget_ratio": 0.0, "budget_min_per_second": 2.0})
    for number in range(4):
        client = harness.ask()
        say(harness, BUSY)
        if number < 2:  # one second's worth to begin with
            say(harness, OK)
            assert client.take() == OK
        else:
            assert client.take() == BUSY
    assert harness.pool.cells[POOL_RETRY_BUDGET_EXHAUSTED] == 2
    assert harness.inflight == [0, 0]


def test_failed_connects_do_not_use_the_budget(make_harness: MakeHarness) -> None:
    harness = make_harness(2, retry={"budget_ratio": 0.0, "budget_min_per_second": 0.0})
    harness.refuse(1)
    client = harness.ask()
    harness.answer()
    assert client.take() == OK


def test_policies_are_told_of_each_attempt(make_harness: MakeHarness, told: list[Outcome]) -> None:
    harness = make_harness(2, policy="telling")
    harness.ask()
    harness.answer(BUSY)
    harness.answer()
    assert told == [Outcome.SERVER_ERROR, Outcome.SUCCESS]


def test_a_connection_with_a_whole_response_is_reused(harness: Harness) -> None:
    client = harness.ask()
    busy = harness.upstream
    harness.answer(BUSY)
    harness.answer()
    assert client.take() == OK
    assert not busy.is_closing()


def test_a_connection_with_a_truncated_response_is_not_reused(harness: Harness) -> None:
    client = harness.ask()
    busy = harness.upstream
    harness.answer(BUSY[:-2])
    assert busy.is_closing()
    harness.answer()
    assert client.take() == OK


def test_a_connection_answered_before_the_request_was_read_is_not_reused(harness: Harness) -> None:
    client = harness.ask(PUT[:-2])
    busy = harness.upstream
    harness.answer(BUSY)
    assert busy.is_closing()
    client.receive(b"cd")
    harness.settle()
    harness.answer()
    assert client.take() == OK


def test_a_truncated_response_is_not_passed_on(harness: Harness) -> None:
    client = harness.ask()
    harness.refuse(2, 3)
    harness.answer(BUSY[:-2])
    assert status_of(client.take()) == 502


# The kernel's state when an idle connection, taken for a POST, turns out to be closed -> is it sent again
UNREAD = {
    "closed, and nothing of it acknowledged": (0, 7, True),
    "closed, but it had arrived": (99, 7, False),
    "half closed: it may still be read": (0, 8, False),
}


@pytest.mark.parametrize("case", UNREAD)
def test_a_post_is_sent_again_only_with_proof_that_it_was_not_read(
    make_harness: MakeHarness, case: str
) -> None:
    acked, state, again = UNREAD[case]
    harness = make_harness(1)
    client, idle = harness.warm()
    idle.socket.acked = 500
    client.receive(POST)
    idle.socket.acked += acked
    idle.socket.state = state
    idle.receive_eof()
    harness.settle()
    assert len(harness.dialled) == 1 + again
    if again:
        assert harness.upstream.take().endswith(b"\r\n\r\nab")
        harness.answer()
        assert client.take() == OK
        assert harness.retries() == {"stale_connection": 1}
    else:
        assert status_of(client.take()) == 502


def test_a_reset_is_not_proof(make_harness: MakeHarness) -> None:
    """An app may have read the request and crashed, before its kernel acknowledged any of it."""
    harness = make_harness(1)
    client, idle = harness.warm()
    client.receive(POST)
    idle.socket.state = 7
    idle.lose(ConnectionResetError())
    harness.settle()
    assert status_of(client.take()) == 502
    assert len(harness.dialled) == 1


def test_proof_of_one_connection_does_not_apply_to_the_next(make_harness: MakeHarness) -> None:
    harness = make_harness(2)
    client, idle = harness.warm()
    harness.ask(GET, client)
    harness.answer(OK.replace(b"Date: x", b"Connection: close"))
    client.take()
    harness.ask(POST, client)  # the first one's turn again
    for connection in (idle, None):
        now = connection or harness.upstream
        now.socket.state = 7
        now.receive_eof()
        harness.settle()
    assert len(harness.dialled) == 3
    assert status_of(client.take()) == 502


def test_a_post_on_a_fresh_connection_is_never_sent_again(make_harness: MakeHarness) -> None:
    harness = make_harness(2)
    client = harness.ask(POST)
    harness.upstream.socket.state = 7
    fail(harness, harness.upstream, "closed")
    assert status_of(client.take()) == 502
    assert len(harness.dialled) == 1


def test_each_pipelined_request_is_retried(harness: Harness) -> None:
    client = harness.ask(GET + GET)
    for _ in range(2):
        say(harness, BUSY)
        say(harness, OK)
    assert client.take() == OK + OK
    assert harness.retries()["status"] == 2
