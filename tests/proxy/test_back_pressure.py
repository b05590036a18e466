"""Back-pressure: a side that does not keep up slows the other down, and no connection stays paused."""

import pytest

from tests.proxy.conftest import MakeHarness
from tests.proxy.harness import GET, OK, Harness, body_of, status_of

PART = b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 6\r\n\r\nab"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n01"


def test_a_slow_client_pauses_the_upstream(harness: Harness) -> None:
    client = harness.ask()
    harness.answer(PART)
    client.pause_writing()
    assert not harness.upstream.reading
    harness.answer(b"cd")
    assert body_of(client.take()) == b"ab"
    client.resume_writing()
    assert harness.upstream.reading
    harness.settle()
    assert client.take() == b"cd"
    harness.answer(b"ef")
    assert harness.idle == 1


def test_a_slow_upstream_pauses_the_client(harness: Harness) -> None:
    client = harness.ask(POST)
    harness.upstream.pause_writing()
    assert not client.reading
    client.receive(b"2345")
    assert body_of(harness.upstream.take()) == b"01"
    harness.upstream.resume_writing()
    assert client.reading
    harness.settle()
    assert harness.upstream.take() == b"2345"
    client.receive(b"6789")
    harness.answer()
    assert client.take() == OK


def test_several_rounds_both_ways(harness: Harness) -> None:
    client = harness.ask(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(5):
        harness.upstream.pause_writing()
        client.receive(b"1\r\nx\r\n")
        assert not client.reading
        harness.upstream.resume_writing()
        harness.settle()
    client.receive(b"0\r\n\r\n")
    assert body_of(harness.upstream.take()) == b"1\r\nx\r\n" * 5 + b"0\r\n\r\n"
    harness.answer(b"HTTP/1.1 200 OK\r\nDate: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    client.take()
    for _ in range(5):
        client.pause_writing()
        harness.upstream.receive(b"1\r\nx\r\n")
        assert not harness.upstream.reading
        client.resume_writing()
        harness.settle()
    harness.answer(b"0\r\n\r\n")
    assert client.take() == b"1\r\nx\r\n" * 5 + b"0\r\n\r\n"
    assert harness.idle == 1


def test_a_paused_upstream_connection_returns_unpaused_to_the_pool(harness: Harness) -> None:
    """The last piece fills the client's buffer: the exchange has ended, the connection reads again."""
    client = harness.ask()
    harness.upstream.receive(PART)
    harness.upstream.receive(b"cd")
    client.pause_writing()
    harness.upstream.resume_reading()  # bytes in transit still arrive
    harness.upstream.receive(b"ef")
    assert harness.idle == 1
    assert harness.upstream.reading
    other = harness.ask()
    harness.answer()
    assert other.take() == OK
    assert body_of(client.take()) == b"abcdef"


def test_a_connection_whose_upstream_has_not_taken_the_request_is_not_kept(harness: Harness) -> None:
    """The upstream answered early; our write buffer still holds the old request."""
    client = harness.ask(POST + b"23456789")
    harness.upstream.pause_writing()
    harness.answer()
    assert client.take() == OK
    assert harness.upstream.aborted
    assert harness.idle == 0


def test_a_client_still_paused_when_its_next_response_begins(harness: Harness) -> None:
    """The first response is still in our buffer; the pipelined second request waits until the client
    reads."""
    client, upstream = harness.warm()
    client.receive(GET + GET)
    upstream.take()
    client.pause_writing()
    upstream.resume_reading()
    upstream.receive(OK)
    assert upstream.take() == b""
    client.resume_writing()
    harness.settle()
    assert upstream.take().startswith(b"GET ")
    upstream.receive(OK)
    assert client.take() == OK + OK


def test_a_pause_that_begins_before_there_is_a_connection(harness: Harness) -> None:
    """The client has stopped reading when the dial ends: its upstream is paused from the start."""
    harness.hold(1)
    client = harness.ask()
    client.pause_writing()
    harness.loop.dials[0].accept()
    harness.settle()
    harness.answer(PART)
    client.resume_writing()
    harness.settle()
    assert body_of(client.take()) == b"ab"
    harness.answer(b"cdef")
    assert client.take() == b"cdef"
    assert harness.idle == 1


def test_both_sides_may_be_paused_at_once(harness: Harness) -> None:
    client = harness.ask(POST)
    harness.answer(PART)
    client.pause_writing()
    harness.upstream.pause_writing()
    assert not client.reading
    assert not harness.upstream.reading
    client.resume_writing()
    harness.upstream.resume_writing()
    assert client.reading
    assert harness.upstream.reading
    client.receive(b"23456789")
    harness.answer(b"cdef")
    assert client.take().endswith(b"abcdef")
    assert harness.idle == 1


@pytest.mark.parametrize("ended_by", ["response", "failure"])
def test_a_client_paused_by_its_upload_is_read_again_at_the_end(harness: Harness, ended_by: str) -> None:
    client = harness.ask(POST)
    harness.upstream.pause_writing()
    assert not client.reading
    if ended_by == "response":
        harness.answer(b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n")
    else:
        harness.upstream.lose(ConnectionResetError())
    assert client.reading  # lingering: received bytes are discarded
    assert client.eof_written
    assert status_of(client.take()) == (413 if ended_by == "response" else 502)
    client.receive(b"23456789")
    assert harness.idle == 0


def test_the_next_upload_is_not_slowed_by_the_last(make_harness: MakeHarness) -> None:
    harness = make_harness()
    client = harness.ask(POST)
    harness.upstream.pause_writing()
    harness.upstream.resume_writing()
    client.receive(b"23456789")
    harness.answer()
    client.take()
    client.receive(POST)
    assert client.reading
    client.receive(b"23456789")
    harness.answer()
    assert client.take() == OK
