"""A bug in one exchange: 500 (or a visible break), a logged traceback, and the worker lives on."""

import pytest

from balancer.errors import Outcome
from tests.proxy.conftest import MakeStage
from tests.proxy.harness import GET, OK, Stage, body_of, head_of, status_of

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
PART = b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 4\r\n\r\nab"


@pytest.fixture
def stage(make_stage: MakeStage, told: list[Outcome]) -> Stage:
    stage = make_stage(2, policy="telling")
    stage.expects_bug = True
    return stage


def assert_logged(stage: Stage, where: str) -> None:
    level, message, text = stage.logs[0]
    assert level == "error"
    assert "ZeroDivisionError" in message
    assert text is not None
    assert text.startswith("Traceback")
    assert f"a bug planted in {where}" in text


def assert_lives_on(stage: Stage, bugs: set[str]) -> None:
    bugs.clear()
    client = stage.ask()
    stage.answer()
    assert client.take() == OK
    assert stage.inflight == [0, 0]
    assert stage.route.inflight == 0


@pytest.mark.parametrize("pipelined", [False, True], ids=["alone", "pipelined"])
def test_before_anything_was_sent(stage: Stage, bugs: set[str], pipelined: bool) -> None:
    bugs.add("pick")
    client = stage.ask(GET + GET if pipelined else GET)
    sent = client.take()
    assert status_of(sent) == 500
    assert sent.count(b"HTTP/1.1 ") == 1
    assert b"Connection: close" in head_of(sent)
    assert client.is_closing() or client.eof_written
    assert stage.local_counted("internal_error") == 1
    assert stage.logged()["status"] == 500
    assert stage.inflight == [0, 0]
    assert_logged(stage, "pick")
    assert_lives_on(stage, bugs)


def test_in_the_second_of_two_pipelined(stage: Stage, bugs: set[str]) -> None:
    client = stage.ask(GET + GET)
    bugs.add("pick")
    stage.answer()
    sent = client.take()
    assert sent.startswith(OK)
    assert status_of(sent[len(OK) :]) == 500
    assert_logged(stage, "pick")
    assert_lives_on(stage, bugs)


def test_when_a_dial_fails(stage: Stage, bugs: set[str]) -> None:
    """The policy fails in choosing the next one, in the callback of the dial."""
    stage.hold(1)
    client = stage.ask()
    bugs.add("pick")
    stage.loop.dials[0].fail(ConnectionRefusedError())
    stage.settle()
    assert status_of(client.take()) == 500
    assert_logged(stage, "pick")
    stage.accept(1)
    assert_lives_on(stage, bugs)


def test_when_a_race_would_begin(stage: Stage, bugs: set[str]) -> None:
    """In the callback of a timer."""
    stage.hold(1)
    client = stage.ask()
    bugs.add("pick")
    stage.advance(0.26)
    assert status_of(client.take()) == 500
    assert stage.inflight == [0, 0]
    assert not stage.loop.dials[0].pending
    assert_logged(stage, "pick")
    stage.accept(1)
    assert_lives_on(stage, bugs)


def test_when_a_stale_connection_is_replaced(stage: Stage, bugs: set[str]) -> None:
    client = stage.client()
    for _ in range(2):  # one warm connection to each
        stage.ask(client=client)
        stage.answer()
    client.take()
    client.receive(GET)
    bugs.add("pick")
    stage.loop.transports[0].lose()
    stage.settle()
    assert status_of(client.take()) == 500
    assert stage.inflight == [0, 0]
    assert_logged(stage, "pick")
    assert_lives_on(stage, bugs)


@pytest.mark.parametrize("response", [OK, PART], ids=["at its end", "in its body"])
def test_when_the_upstream_is_let_go(stage: Stage, bugs: set[str], response: bytes) -> None:
    """`finished` fails: after a whole response, or when the client leaves in the middle."""
    client = stage.ask()
    bugs.add("finished")
    stage.answer(response)
    if response is PART:
        client.receive_eof()
    stage.settle()
    sent = client.take()
    assert sent.startswith(response)
    assert stage.inflight == [0, 0]
    assert stage.route.inflight == 0
    assert_logged(stage, "finished")
    assert_lives_on(stage, bugs)


@pytest.mark.parametrize("how", ["truncated", "timeout"])
def test_when_an_attempt_fails(stage: Stage, bugs: set[str], how: str) -> None:
    client = stage.ask(POST)
    bugs.add("finished")
    if how == "truncated":
        stage.upstream.receive_eof()
        stage.settle()
    else:
        stage.advance(31)
    assert status_of(client.take()) == (502 if how == "truncated" else 504)  # told as if there were no bug
    assert stage.inflight == [0, 0]
    assert stage.route.inflight == 0
    assert_logged(stage, "finished")
    assert_lives_on(stage, bugs)


def test_when_a_race_is_won(stage: Stage, bugs: set[str]) -> None:
    """The loser's `finished` fails: the winner must not suffer, or be left hanging."""
    stage.hold(1)
    client = stage.ask()
    bugs.add("finished")
    stage.advance(0.26)
    bugs.clear()
    stage.answer()
    assert client.take() == OK
    assert stage.inflight == [0, 0]
    assert_logged(stage, "finished")
    stage.accept(1)
    assert_lives_on(stage, bugs)


def test_others_are_not_touched(stage: Stage, bugs: set[str]) -> None:
    other = stage.ask()
    stage.answer(PART)
    bugs.add("pick")
    client = stage.ask()
    assert status_of(client.take()) == 500
    bugs.clear()
    stage.answer(b"cd")
    assert body_of(other.take()) == b"abcd"
    assert not other.is_closing()
