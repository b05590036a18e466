"""Deadlines, enforced by the sweep: every wait has one, and each is blamed on the right side."""

import socket
import struct

import pytest

from tests.fakes.wire import FakeTransport
from tests.proxy.conftest import MakeHarness
from tests.proxy.harness import GET, OK, Harness, body_of, head_of, status_of

RESET = (socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n"
PART = b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 6\r\n\r\nab"

# Short and all different, so that the firing one is known.
SHORT = {
    "connect": 0.0,
    "first_byte": 3.0,
    "idle": 5.0,
    "request_head": 7.0,
    "client_idle": 11.0,
    "tunnel_idle": 13.0,
}


@pytest.fixture
def harness(make_harness: MakeHarness) -> Harness:
    return make_harness(timeouts=SHORT)


def still_after(harness: Harness, seconds: float, client: FakeTransport) -> None:
    """Nothing happens to `client` for `seconds`; it does in the second after."""
    harness.advance(seconds)
    assert client.take() == b""
    assert not client.is_closing()
    harness.advance(0.02)


def test_first_byte_timeout(harness: Harness) -> None:
    client = harness.ask()
    still_after(harness, 2.99, client)
    assert status_of(client.take()) == 504
    assert harness.local_counted("first_byte_timeout") == 1
    assert harness.upstream.aborted
    assert not client.is_closing()
    assert harness.inflight == [0]


def test_first_byte_timeout_counts_from_the_end_of_the_request(harness: Harness) -> None:
    client = harness.ask(POST)
    for _ in range(10):
        harness.advance(2)
        client.receive(b"x")
    still_after(harness, 2.99, client)
    assert status_of(client.take()) == 504


def test_first_byte_timeout_while_dialling(harness: Harness) -> None:
    harness.hold(1)
    client = harness.ask()
    still_after(harness, 2.99, client)
    assert status_of(client.take()) == 504
    assert not harness.loop.dials[0].pending


def test_idle_within_a_response_breaks_it_off(harness: Harness) -> None:
    client = harness.ask()
    harness.answer(PART)
    assert body_of(client.take()) == b"ab"
    harness.advance(4)
    harness.answer(b"c")
    assert client.take() == b"c"
    still_after(harness, 4.99, client)
    assert client.socket.options == [RESET]
    assert harness.upstream.aborted
    assert harness.logged()["reason"] == "idle_timeout"


def test_a_body_that_does_not_arrive_times_out(harness: Harness) -> None:
    client = harness.ask(POST + b"01")
    harness.advance(4)
    client.receive(b"2")
    still_after(harness, 4.99, client)
    sent = client.take()
    assert status_of(sent) == 408
    assert b"Connection: close" in head_of(sent)
    assert client.eof_written
    assert harness.upstream.aborted
    assert harness.local_counted("body_timeout") == 1
    assert harness.closes() == {"client_gone": 1}  # not the upstream's fault


def test_an_upstream_that_does_not_read_the_body_times_out(harness: Harness) -> None:
    """The client would continue, but we do not read it: the upstream's fault."""
    client = harness.ask(POST + b"01")
    harness.upstream.pause_writing()
    harness.advance(5.01)
    assert status_of(client.take()) == 504
    assert harness.closes() == {"failed": 1}


def test_a_head_that_trickles_in_times_out(harness: Harness) -> None:
    client = harness.ask(GET[:3])
    for place in range(3, 9):
        harness.advance(1)
        client.receive(GET[place : place + 1])
    assert client.take() == b""
    harness.advance(1.02)
    sent = client.take()
    assert status_of(sent) == 408
    assert client.eof_written
    assert harness.local_counted("head_timeout") == 1
    assert harness.logged()["status"] == 408


def test_a_second_head_that_trickles_in_times_out(harness: Harness) -> None:
    client, _ = harness.warm()
    harness.advance(2)
    client.receive(GET[:3])
    still_after(harness, 6.99, client)
    assert status_of(client.take()) == 408


def test_a_client_that_sends_nothing_at_first_is_closed(harness: Harness) -> None:
    client = harness.client()
    harness.advance(6.99)
    assert not client.is_closing()
    harness.advance(0.02)
    assert client.is_closing()
    assert client.take() == b""
    assert harness.records.records == []


def test_a_client_that_sends_nothing_more_is_closed(harness: Harness) -> None:
    client, _ = harness.warm()
    still_after(harness, 10.99, client)
    assert client.is_closing()
    assert client.take() == b""


def test_each_request_restarts_the_idle_time_of_its_client(harness: Harness) -> None:
    client = harness.client()
    for _ in range(5):
        harness.advance(6)
        harness.ask(client=client)
        harness.answer()
        assert client.take() == OK


def test_a_slow_reader_is_not_timed_out_while_it_reads(harness: Harness) -> None:
    client = harness.ask()
    harness.answer(PART)
    client.take()
    client.pause_writing(buffered=10_000)
    for left in range(9, 1, -1):
        harness.advance(4.9)
        client.buffered = left * 1000
    assert not client.is_closing()
    client.resume_writing()
    harness.answer(b"cdef")
    assert client.take() == b"cdef"


def test_a_reader_that_stopped_counts_as_gone(harness: Harness) -> None:
    client = harness.ask()
    harness.answer(PART)
    client.take()
    client.pause_writing(buffered=10_000)
    harness.advance(5.01)  # it may have read some before: checked again one idle timeout later
    harness.advance(5.01)
    assert client.socket.options == [RESET]
    assert client.aborted
    assert harness.logged()["status"] == 499
    assert harness.closes() == {"client_gone": 1}


def test_a_reader_that_stopped_after_its_whole_response_is_closed(harness: Harness) -> None:
    client = harness.ask()
    client.pause_writing(buffered=10_000)
    harness.upstream.resume_reading()
    harness.answer()
    assert harness.idle == 1
    for _ in range(2):
        harness.advance(11.01)
    assert client.aborted


def test_a_client_that_has_left_may_take_what_was_written_before(harness: Harness) -> None:
    """The time for that begins when it leaves, however long ago its connection and its request began."""
    client = harness.ask()
    harness.answer(PART)
    for piece in (b"c", b"d"):
        harness.advance(4)
        harness.answer(piece)
    client.pause_writing()
    client.receive_eof()
    harness.advance(4.9)
    assert client.closed
    assert not client.aborted
    harness.advance(0.2)
    assert client.aborted


def test_lingering_ends_when_the_client_sends_no_more(harness: Harness) -> None:
    client = harness.ask(b"BAD\r\n\r\n")
    assert status_of(client.take()) == 400
    assert client.eof_written
    for _ in range(5):
        harness.advance(4)
        client.receive(b"more")
    assert not client.is_closing()
    harness.advance(5.01)
    assert client.is_closing()


def test_lingering_ends_although_the_client_goes_on_sending(harness: Harness) -> None:
    client = harness.ask(b"BAD\r\n\r\n")
    for _ in range(32):
        harness.advance(1)
        client.receive(b"more")
    assert client.is_closing()


def test_total_timeout_within_a_response(make_harness: MakeHarness) -> None:
    harness = make_harness(timeouts={**SHORT, "total": 8.0})
    client = harness.ask()
    for _ in range(3):
        harness.advance(2.5)
        harness.answer(b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 9\r\n\r\n" if _ == 0 else b"x")
    assert client.take().endswith(b"xx")
    harness.advance(0.51)
    assert client.socket.options == [RESET]
    assert harness.logged()["reason"] == "total_timeout"


def test_total_timeout_before_a_response(make_harness: MakeHarness) -> None:
    harness = make_harness(timeouts={**SHORT, "first_byte": 60.0, "total": 8.0})
    client = harness.ask()
    still_after(harness, 7.99, client)
    assert status_of(client.take()) == 504
    assert harness.local_counted("total_timeout") == 1


def test_total_timeout_does_not_apply_to_idle_clients(make_harness: MakeHarness) -> None:
    harness = make_harness(timeouts={**SHORT, "total": 2.0})
    client, _ = harness.warm()
    harness.advance(10)
    assert not client.is_closing()


@pytest.mark.parametrize("timeout", ["first_byte", "idle", "request_head", "client_idle"])
def test_a_timeout_of_zero_never_fires(make_harness: MakeHarness, timeout: str) -> None:
    """0 means never."""
    harness = make_harness(timeouts={**SHORT, timeout: 0.0})
    client = harness.client()
    if timeout == "client_idle":
        harness.ask(client=client)
        harness.answer()
    elif timeout != "request_head":
        harness.ask(client=client)
    if timeout == "idle":
        harness.answer(PART)
    client.take()
    for _ in range(10):
        harness.advance(100_000)
    assert client.take() == b""
    assert not client.is_closing()


def test_one_sweep_ends_many_requests(harness: Harness) -> None:
    clients = [harness.ask() for _ in range(50)]
    harness.advance(3.01)
    assert [status_of(client.take()) for client in clients] == [504] * 50
    assert harness.inflight == [0]
