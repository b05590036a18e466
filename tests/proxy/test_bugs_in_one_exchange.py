"""A bug in one exchange: 500 (or a visible break), a logged traceback, and the worker lives on."""

import pytest

from balancer.errors import Outcome
from balancer.telemetry.columns import ROUTE_INFLIGHT
from tests.proxy.conftest import MakeHarness
from tests.proxy.harness import GET, OK, Harness, body_of, head_of, status_of

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
PART = b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 4\r\n\r\nab"


@pytest.fixture
def harness(make_harness: MakeHarness, told: list[Outcome]) -> Harness:
    harness = make_harness(2, policy="telling")
    harness.expects_bug = True
    return harness


# A compiled pool refuses what is not an upstream as soon as it is picked, and uses its fallback.
plants_garbage = pytest.mark.plain


def assert_logged(harness: Harness, where: str) -> None:
    level, message, text = harness.logs[0]
    assert level == "error"
    assert "ZeroDivisionError" in message
    assert text is not None
    assert text.startswith("Traceback")
    assert f"a bug planted in {where}" in text


def assert_lives_on(harness: Harness, bugs: set[str]) -> None:
    bugs.clear()
    client = harness.ask()
    harness.answer()
    assert client.take() == OK
    assert harness.inflight == [0, 0]
    assert harness.route.side.counters.value(ROUTE_INFLIGHT) == 0


@plants_garbage
@pytest.mark.parametrize("pipelined", [False, True], ids=["alone", "pipelined"])
def test_a_bug_before_anything_was_sent(harness: Harness, bugs: set[str], pipelined: bool) -> None:
    bugs.add("pick")
    client = harness.ask(GET + GET if pipelined else GET)
    sent = client.take()
    assert status_of(sent) == 500
    assert sent.count(b"HTTP/1.1 ") == 1
    assert b"Connection: close" in head_of(sent)
    assert client.is_closing() or client.eof_written
    assert harness.local_counted("internal_error") == 1
    assert harness.logged()["status"] == 500
    assert harness.inflight == [0, 0]
    assert_logged(harness, "pick")
    assert_lives_on(harness, bugs)


@plants_garbage
def test_a_bug_in_the_second_of_two_pipelined_requests(harness: Harness, bugs: set[str]) -> None:
    client = harness.ask(GET + GET)
    bugs.add("pick")
    harness.answer()
    sent = client.take()
    assert sent.startswith(OK)
    assert status_of(sent[len(OK) :]) == 500
    assert_logged(harness, "pick")
    assert_lives_on(harness, bugs)


@plants_garbage
def test_a_bug_when_a_dial_fails(harness: Harness, bugs: set[str]) -> None:
    """The policy fails when it picks the next upstream, in the callback of the dial."""
    harness.hold(1)
    client = harness.ask()
    bugs.add("pick")
    harness.loop.dials[0].fail(ConnectionRefusedError())
    harness.settle()
    assert status_of(client.take()) == 500
    assert_logged(harness, "pick")
    harness.accept(1)
    assert_lives_on(harness, bugs)


@plants_garbage
def test_a_bug_when_a_race_would_begin(harness: Harness, bugs: set[str]) -> None:
    """In the callback of a timer."""
    harness.hold(1)
    client = harness.ask()
    bugs.add("pick")
    harness.advance(0.26)
    assert status_of(client.take()) == 500
    assert harness.inflight == [0, 0]
    assert not harness.loop.dials[0].pending
    assert_logged(harness, "pick")
    harness.accept(1)
    assert_lives_on(harness, bugs)


@plants_garbage
def test_a_bug_when_a_stale_connection_is_replaced(harness: Harness, bugs: set[str]) -> None:
    client = harness.client()
    for _ in range(2):  # one warm connection to each
        harness.ask(client=client)
        harness.answer()
    client.take()
    client.receive(GET)
    bugs.add("pick")
    harness.loop.transports[0].lose()
    harness.settle()
    assert status_of(client.take()) == 500
    assert harness.inflight == [0, 0]
    assert_logged(harness, "pick")
    assert_lives_on(harness, bugs)


@pytest.mark.parametrize("response", [OK, PART], ids=["at its end", "in its body"])
def test_a_bug_when_the_upstream_is_released(harness: Harness, bugs: set[str], response: bytes) -> None:
    """`finished` fails: after a whole response, or when the client leaves in the middle."""
    client = harness.ask()
    bugs.add("finished")
    harness.answer(response)
    if response is PART:
        client.receive_eof()
    harness.settle()
    sent = client.take()
    assert sent.startswith(response)
    assert harness.inflight == [0, 0]
    assert harness.route.side.counters.value(ROUTE_INFLIGHT) == 0
    assert_logged(harness, "finished")
    assert_lives_on(harness, bugs)


@pytest.mark.parametrize("how", ["truncated", "timeout"])
def test_a_bug_when_an_attempt_fails(harness: Harness, bugs: set[str], how: str) -> None:
    client = harness.ask(POST)
    bugs.add("finished")
    if how == "truncated":
        harness.upstream.receive_eof()
        harness.settle()
    else:
        harness.advance(31)
    assert status_of(client.take()) == (502 if how == "truncated" else 504)  # called as if there were no bug
    assert harness.inflight == [0, 0]
    assert harness.route.side.counters.value(ROUTE_INFLIGHT) == 0
    assert_logged(harness, "finished")
    assert_lives_on(harness, bugs)


def test_a_bug_when_a_race_is_won(harness: Harness, bugs: set[str]) -> None:
    """The loser's `finished` fails: the winner must not fail or hang."""
    harness.hold(1)
    client = harness.ask()
    bugs.add("finished")
    harness.advance(0.26)
    bugs.clear()
    harness.answer()
    assert client.take() == OK
    assert harness.inflight == [0, 0]
    assert_logged(harness, "finished")
    harness.accept(1)
    assert_lives_on(harness, bugs)


@plants_garbage
def test_other_exchanges_are_not_affected(harness: Harness, bugs: set[str]) -> None:
    other = harness.ask()
    harness.answer(PART)
    bugs.add("pick")
    client = harness.ask()
    assert status_of(client.take()) == 500
    bugs.clear()
    harness.answer(b"cd")
    assert body_of(other.take()) == b"abcd"
    assert not other.is_closing()
