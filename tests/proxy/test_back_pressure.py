"""Back-pressure: who does not keep up slows the other side down, and nothing is left paused behind."""

import pytest

from tests.proxy.conftest import MakeStage
from tests.proxy.harness import GET, OK, Stage, body_of, status_of

PART = b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 6\r\n\r\nab"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n01"


def test_a_slow_client_pauses_the_upstream(stage: Stage) -> None:
    client = stage.ask()
    stage.answer(PART)
    client.pause_writing()
    assert not stage.upstream.reading
    stage.answer(b"cd")
    assert body_of(client.take()) == b"ab"
    client.resume_writing()
    assert stage.upstream.reading
    stage.settle()
    assert client.take() == b"cd"
    stage.answer(b"ef")
    assert stage.idle == 1


def test_a_slow_upstream_pauses_the_client(stage: Stage) -> None:
    client = stage.ask(POST)
    stage.upstream.pause_writing()
    assert not client.reading
    client.receive(b"2345")
    assert body_of(stage.upstream.take()) == b"01"
    stage.upstream.resume_writing()
    assert client.reading
    stage.settle()
    assert stage.upstream.take() == b"2345"
    client.receive(b"6789")
    stage.answer()
    assert client.take() == OK


def test_several_rounds_both_ways(stage: Stage) -> None:
    client = stage.ask(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(5):
        stage.upstream.pause_writing()
        client.receive(b"1\r\nx\r\n")
        assert not client.reading
        stage.upstream.resume_writing()
        stage.settle()
    client.receive(b"0\r\n\r\n")
    assert body_of(stage.upstream.take()) == b"1\r\nx\r\n" * 5 + b"0\r\n\r\n"
    stage.answer(b"HTTP/1.1 200 OK\r\nDate: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    client.take()
    for _ in range(5):
        client.pause_writing()
        stage.upstream.receive(b"1\r\nx\r\n")
        assert not stage.upstream.reading
        client.resume_writing()
        stage.settle()
    stage.answer(b"0\r\n\r\n")
    assert client.take() == b"1\r\nx\r\n" * 5 + b"0\r\n\r\n"
    assert stage.idle == 1


def test_a_paused_upstream_connection_goes_back_unpaused(stage: Stage) -> None:
    """The last piece fills the client's buffer: the exchange is over, the connection reads again."""
    client = stage.ask()
    stage.upstream.receive(PART)
    stage.upstream.receive(b"cd")
    client.pause_writing()
    stage.upstream.resume_reading()  # what was on its way arrives all the same
    stage.upstream.receive(b"ef")
    assert stage.idle == 1
    assert stage.upstream.reading
    other = stage.ask()
    stage.answer()
    assert other.take() == OK
    assert body_of(client.take()) == b"abcdef"


def test_an_upstream_that_has_not_taken_the_request_is_not_kept(stage: Stage) -> None:
    """It answered early; our write buffer still holds the old request."""
    client = stage.ask(POST + b"23456789")
    stage.upstream.pause_writing()
    stage.answer()
    assert client.take() == OK
    assert stage.upstream.aborted
    assert stage.idle == 0


def test_a_client_still_paused_when_its_next_response_comes(stage: Stage) -> None:
    """Its first response is still in our buffer; the pipelined second request waits until it reads."""
    client, upstream = stage.warm()
    client.receive(GET + GET)
    upstream.take()
    client.pause_writing()
    upstream.resume_reading()
    upstream.receive(OK)
    assert upstream.take() == b""
    client.resume_writing()
    stage.settle()
    assert upstream.take().startswith(b"GET ")
    upstream.receive(OK)
    assert client.take() == OK + OK


def test_a_pause_that_begins_before_there_is_a_connection(stage: Stage) -> None:
    """The client has stopped reading when the dial is done: its upstream is paused from the start."""
    stage.hold(1)
    client = stage.ask()
    client.pause_writing()
    stage.loop.dials[0].accept()
    stage.settle()
    stage.answer(PART)
    client.resume_writing()
    stage.settle()
    assert body_of(client.take()) == b"ab"
    stage.answer(b"cdef")
    assert client.take() == b"cdef"
    assert stage.idle == 1


def test_paused_both_ways_at_once(stage: Stage) -> None:
    client = stage.ask(POST)
    stage.answer(PART)
    client.pause_writing()
    stage.upstream.pause_writing()
    assert not client.reading
    assert not stage.upstream.reading
    client.resume_writing()
    stage.upstream.resume_writing()
    assert client.reading
    assert stage.upstream.reading
    client.receive(b"23456789")
    stage.answer(b"cdef")
    assert client.take().endswith(b"abcdef")
    assert stage.idle == 1


@pytest.mark.parametrize("ended_by", ["response", "failure"])
def test_a_client_paused_by_its_upload_is_read_again_at_the_end(stage: Stage, ended_by: str) -> None:
    client = stage.ask(POST)
    stage.upstream.pause_writing()
    assert not client.reading
    if ended_by == "response":
        stage.answer(b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n")
    else:
        stage.upstream.lose(ConnectionResetError())
    assert client.reading  # lingering: what comes is thrown away
    assert client.eof_written
    assert status_of(client.take()) == (413 if ended_by == "response" else 502)
    client.receive(b"23456789")
    assert stage.idle == 0


def test_the_next_upload_is_not_slowed_by_the_last(make_stage: MakeStage) -> None:
    stage = make_stage()
    client = stage.ask(POST)
    stage.upstream.pause_writing()
    stage.upstream.resume_writing()
    client.receive(b"23456789")
    stage.answer()
    client.take()
    client.receive(POST)
    assert client.reading
    client.receive(b"23456789")
    stage.answer()
    assert client.take() == OK
