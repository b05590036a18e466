"""A deadline is blamed on the side that was waited for, whatever the policies are told."""

import pytest

from balancer.errors import Outcome
from tests.proxy.conftest import MakeHarness
from tests.proxy.harness import status_of

TOTAL = {"timeouts": {"total": 20.0, "idle": 60.0, "first_byte": 60.0}}
UPLOAD = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n"
PART = b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 4\r\n\r\nab"


def test_total_timeout_of_an_upload_that_trickles_in(make_harness: MakeHarness, told: list[Outcome]) -> None:
    harness = make_harness(1, policy="telling", **TOTAL)
    client = harness.ask(UPLOAD + b"x")
    harness.advance(20.5)
    assert status_of(client.take()) == 504
    assert harness.logged()["reason"] == "total_timeout"
    assert told == [Outcome.CLIENT_GONE]


def test_total_timeout_of_a_response_that_is_not_read(make_harness: MakeHarness, told: list[Outcome]) -> None:
    harness = make_harness(1, policy="telling", **TOTAL)
    client = harness.ask()
    harness.answer(PART)
    client.pause_writing(buffered=10_000)
    harness.advance(20.5)
    assert client.is_closing()
    assert told == [Outcome.CLIENT_GONE]


@pytest.mark.parametrize("method", [b"GET", b"POST"], ids=["sent again", "not sent again"])
def test_an_idle_connection_that_ends_as_it_is_taken(
    make_harness: MakeHarness, told: list[Outcome], method: bytes
) -> None:
    harness = make_harness(1, policy="telling")
    client, idle = harness.warm()
    told.clear()
    client.receive(method + b" / HTTP/1.1\r\nHost: a\r\n\r\n")
    idle.receive_eof()
    harness.settle()
    if method == b"GET":
        harness.answer()
        assert status_of(client.take()) == 200
        assert told == [Outcome.CANCELLED, Outcome.SUCCESS]
    else:
        assert status_of(client.take()) == 502
        assert told == [Outcome.CANCELLED]


def test_total_timeout_of_a_slow_upstream(make_harness: MakeHarness, told: list[Outcome]) -> None:
    harness = make_harness(1, policy="telling", **TOTAL)
    client = harness.ask()
    harness.advance(20.5)
    assert status_of(client.take()) == 504
    assert told == [Outcome.TIMED_OUT]


def test_an_upload_goes_on_during_the_response(make_harness: MakeHarness, told: list[Outcome]) -> None:
    harness = make_harness(1, policy="telling", timeouts={"idle": 10.0})
    client = harness.ask(UPLOAD)
    harness.answer(PART)
    for _ in range(5):
        harness.advance(7)
        client.receive(b"x")
    assert not client.is_closing()
    harness.answer(b"cd")
    assert client.take().endswith(b"abcd")
    assert told == [Outcome.SUCCESS]


@pytest.mark.parametrize("attempts", [1, 2])
def test_a_stale_connection_is_retried_within_max_attempts(make_harness: MakeHarness, attempts: int) -> None:
    harness = make_harness(1, retry={"max_attempts": attempts})
    client, upstream = harness.warm()
    client.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    harness.settle()
    upstream.receive_eof()
    harness.settle()
    assert len(harness.loop.dials) == attempts
    if attempts == 1:
        assert status_of(client.take()) == 502
    else:
        harness.answer()
        assert client.take().endswith(b"ok")


def test_nothing_is_sent_again_after_the_client_got_an_informational_response(
    make_harness: MakeHarness,
) -> None:
    harness = make_harness(1)
    client, upstream = harness.warm()
    client.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    harness.settle()
    upstream.receive(b"HTTP/1.1 103 Early Hints\r\n\r\n")
    upstream.receive_eof()
    harness.settle()
    sent = client.take()
    assert sent.startswith(b"HTTP/1.1 103 ")
    assert b"HTTP/1.1 502 " in sent
    assert len(harness.loop.dials) == 1


def test_a_client_that_got_100_and_sends_nothing(make_harness: MakeHarness, told: list[Outcome]) -> None:
    harness = make_harness(1, policy="telling", timeouts={"idle": 10.0})
    client = harness.ask(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    harness.advance(9)
    harness.answer(b"HTTP/1.1 100 Continue\r\n\r\n")
    harness.advance(9)  # its time starts with the 100
    assert client.take() == b"HTTP/1.1 100 Continue\r\n\r\n"
    harness.advance(1.3)
    assert status_of(client.take()) == 408
    assert told == [Outcome.CLIENT_GONE]


def test_a_delayed_upload_gets_its_full_time(make_harness: MakeHarness) -> None:
    harness = make_harness(1, timeouts={"idle": 10.0})
    client = harness.ask(UPLOAD + b"x")
    harness.upstream.pause_writing()
    harness.advance(9.9)
    harness.upstream.resume_writing()
    harness.advance(9)
    assert client.take() == b""
    harness.advance(1.3)
    assert status_of(client.take()) == 408


def test_an_upstream_that_reads_an_upload_slowly(make_harness: MakeHarness, told: list[Outcome]) -> None:
    harness = make_harness(1, policy="telling", timeouts={"idle": 10.0})
    client = harness.ask(UPLOAD + b"x")
    harness.upstream.pause_writing(buffered=50_000)
    for left in range(40_000, 0, -10_000):
        harness.upstream.buffered = left
        harness.advance(10.3)
    assert client.take() == b""
    harness.advance(10.3)
    assert status_of(client.take()) == 504
    assert told == [Outcome.TIMED_OUT]


def test_an_upload_while_its_upstream_is_being_dialled(make_harness: MakeHarness) -> None:
    harness = make_harness(1, timeouts={"idle": 0.8, "connect": 0.0})
    harness.hold(1)
    client = harness.ask(UPLOAD + b"x")
    harness.advance(1.1)
    assert status_of(client.take()) == 504
    harness.accept(1)


def test_after_a_tunnel_a_client_that_reads_nothing_is_not_waited_for(make_harness: MakeHarness) -> None:
    harness = make_harness(1, timeouts={"tunnel_idle": 0.0})
    client = harness.ask(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    harness.answer(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    client.pause_writing(buffered=70_000)
    harness.upstream.lose()
    harness.settle()
    assert not client.lost
    harness.advance(61)
    assert client.lost
