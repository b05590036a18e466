"""A deadline is held against the one who was waited for, whatever the policies are told of."""

import pytest

from balancer.errors import Outcome
from tests.proxy.conftest import MakeStage
from tests.proxy.harness import status_of

TOTAL = {"timeouts": {"total": 20.0, "idle": 60.0, "first_byte": 60.0}}
UPLOAD = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n"
PART = b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 4\r\n\r\nab"


def test_the_total_timeout_of_an_upload_that_trickles(make_stage: MakeStage, told: list[Outcome]) -> None:
    stage = make_stage(1, policy="telling", **TOTAL)
    client = stage.ask(UPLOAD + b"x")
    stage.advance(20.5)
    assert status_of(client.take()) == 504
    assert stage.logged()["reason"] == "total_timeout"
    assert told == [Outcome.CLIENT_GONE]


def test_the_total_timeout_of_a_response_that_is_not_read(make_stage: MakeStage, told: list[Outcome]) -> None:
    stage = make_stage(1, policy="telling", **TOTAL)
    client = stage.ask()
    stage.answer(PART)
    client.pause_writing(buffered=10_000)
    stage.advance(20.5)
    assert client.is_closing()
    assert told == [Outcome.CLIENT_GONE]


@pytest.mark.parametrize("method", [b"GET", b"POST"], ids=["sent again", "not sent again"])
def test_an_idle_connection_that_ends_as_it_is_taken(
    make_stage: MakeStage, told: list[Outcome], method: bytes
) -> None:
    stage = make_stage(1, policy="telling")
    client, idle = stage.warm()
    told.clear()
    client.receive(method + b" / HTTP/1.1\r\nHost: a\r\n\r\n")
    idle.receive_eof()
    stage.settle()
    if method == b"GET":
        stage.answer()
        assert status_of(client.take()) == 200
        assert told == [Outcome.CANCELLED, Outcome.SUCCESS]
    else:
        assert status_of(client.take()) == 502
        assert told == [Outcome.CANCELLED]


def test_the_total_timeout_of_a_slow_upstream(make_stage: MakeStage, told: list[Outcome]) -> None:
    stage = make_stage(1, policy="telling", **TOTAL)
    client = stage.ask()
    stage.advance(20.5)
    assert status_of(client.take()) == 504
    assert told == [Outcome.TIMED_OUT]


def test_an_upload_goes_on_under_a_response_that_has_begun(
    make_stage: MakeStage, told: list[Outcome]
) -> None:
    stage = make_stage(1, policy="telling", timeouts={"idle": 10.0})
    client = stage.ask(UPLOAD)
    stage.answer(PART)
    for _ in range(5):
        stage.advance(7)
        client.receive(b"x")
    assert not client.is_closing()
    stage.answer(b"cd")
    assert client.take().endswith(b"abcd")
    assert told == [Outcome.SUCCESS]


@pytest.mark.parametrize("attempts", [1, 2])
def test_a_stale_connection_is_retried_within_the_allowed_attempts(
    make_stage: MakeStage, attempts: int
) -> None:
    stage = make_stage(1, retry={"max_attempts": attempts})
    client, upstream = stage.warm()
    client.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    stage.settle()
    upstream.receive_eof()
    stage.settle()
    assert len(stage.loop.dials) == attempts
    if attempts == 1:
        assert status_of(client.take()) == 502
    else:
        stage.answer()
        assert client.take().endswith(b"ok")


def test_nothing_is_sent_again_once_the_client_has_read_an_informational_response(
    make_stage: MakeStage,
) -> None:
    stage = make_stage(1)
    client, upstream = stage.warm()
    client.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    stage.settle()
    upstream.receive(b"HTTP/1.1 103 Early Hints\r\n\r\n")
    upstream.receive_eof()
    stage.settle()
    sent = client.take()
    assert sent.startswith(b"HTTP/1.1 103 ")
    assert b"HTTP/1.1 502 " in sent
    assert len(stage.loop.dials) == 1


def test_a_client_that_was_told_100_and_sends_nothing(make_stage: MakeStage, told: list[Outcome]) -> None:
    stage = make_stage(1, policy="telling", timeouts={"idle": 10.0})
    client = stage.ask(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    stage.advance(9)
    stage.answer(b"HTTP/1.1 100 Continue\r\n\r\n")
    stage.advance(9)  # it has its time from the 100 on
    assert client.take() == b"HTTP/1.1 100 Continue\r\n\r\n"
    stage.advance(1.3)
    assert status_of(client.take()) == 408
    assert told == [Outcome.CLIENT_GONE]


def test_an_upload_that_was_held_up_gets_its_time_anew(make_stage: MakeStage) -> None:
    stage = make_stage(1, timeouts={"idle": 10.0})
    client = stage.ask(UPLOAD + b"x")
    stage.upstream.pause_writing()
    stage.advance(9.9)
    stage.upstream.resume_writing()
    stage.advance(9)
    assert client.take() == b""
    stage.advance(1.3)
    assert status_of(client.take()) == 408


def test_an_upstream_that_takes_an_upload_slowly(make_stage: MakeStage, told: list[Outcome]) -> None:
    stage = make_stage(1, policy="telling", timeouts={"idle": 10.0})
    client = stage.ask(UPLOAD + b"x")
    stage.upstream.pause_writing(buffered=50_000)
    for left in range(40_000, 0, -10_000):
        stage.upstream.buffered = left
        stage.advance(10.3)
    assert client.take() == b""
    stage.advance(10.3)
    assert status_of(client.take()) == 504
    assert told == [Outcome.TIMED_OUT]


def test_an_upload_while_its_upstream_is_being_dialled(make_stage: MakeStage) -> None:
    stage = make_stage(1, timeouts={"idle": 0.8, "connect": 0.0})
    stage.hold(1)
    client = stage.ask(UPLOAD + b"x")
    stage.advance(1.1)
    assert status_of(client.take()) == 504
    stage.accept(1)


def test_a_client_that_takes_nothing_is_not_waited_for_after_a_tunnel(make_stage: MakeStage) -> None:
    stage = make_stage(1, timeouts={"tunnel_idle": 0.0})
    client = stage.ask(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    stage.answer(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    client.pause_writing(buffered=70_000)
    stage.upstream.lose()
    stage.settle()
    assert not client.lost
    stage.advance(61)
    assert client.lost
