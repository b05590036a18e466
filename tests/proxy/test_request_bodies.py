"""Request bodies relayed: as they come, in every framing, and what an early answer does to them."""

import pytest

from tests.proxy.conftest import MakeStage
from tests.proxy.harness import OK, Stage, body_of, head_of, status_of

POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
LENGTH_10 = POST + b"Content-Length: 10\r\n\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"

# name: (what comes after the head, in pieces; the body as the upstream gets it)
BODIES: dict[str, tuple[bytes, list[bytes], bytes]] = {
    "length, with the head": (LENGTH_10, [b"0123456789"], b"0123456789"),
    "length, in pieces": (LENGTH_10, [b"012", b"345", b"6789"], b"0123456789"),
    "length, all later": (LENGTH_10, [b"", b"0123456789"], b"0123456789"),
    "chunked, with the head": (CHUNKED, [b"3\r\nabc\r\n0\r\n\r\n"], b"3\r\nabc\r\n0\r\n\r\n"),
    "chunked, in pieces": (
        CHUNKED,
        [b"3\r\na", b"bc\r\n2;ext\r\nde\r", b"\n0\r\n", b"\r\n"],
        b"1\r\na\r\n4\r\nbcde\r\n0\r\n\r\n",
    ),
    "chunked, empty": (CHUNKED, [b"0\r\n\r\n"], b"0\r\n\r\n"),
    "chunked, with trailers": (
        CHUNKED,
        [b"3\r\nabc\r\n0\r\nX-Sum: 9\r\n\r\n"],
        b"3\r\nabc\r\n0\r\n\r\n",
    ),
    "chunked, with trailers later": (
        CHUNKED,
        [b"3\r\nabc\r\n", b"0\r\nX-Su", b"m: 9\r\n\r\n"],
        b"3\r\nabc\r\n0\r\n\r\n",
    ),
}


@pytest.mark.parametrize("case", BODIES)
@pytest.mark.parametrize("connected", [True, False], ids=["connected", "while dialling"])
def test_body(stage: Stage, case: str, connected: bool) -> None:
    head, pieces, expected = BODIES[case]
    if not connected:
        stage.hold(1)
    client = stage.ask(head + pieces[0])
    for piece in pieces[1:]:
        client.receive(piece)
    if not connected:
        stage.loop.dials[-1].accept()
    stage.settle()
    sent = stage.upstream.take()
    assert body_of(sent) == expected
    stage.answer()
    assert client.take() == OK
    assert stage.idle == 1
    assert stage.logged()["request_bytes"] in (3, 5, 10, 0)


@pytest.mark.parametrize("case", BODIES)
def test_body_on_a_warm_connection(stage: Stage, case: str) -> None:
    head, pieces, expected = BODIES[case]
    client, upstream = stage.warm()
    client.receive(head + pieces[0])
    for piece in pieces[1:]:
        client.receive(piece)
    assert body_of(upstream.take()) == expected
    stage.answer()
    assert client.take() == OK
    assert stage.idle == 1


def test_body_is_relayed_as_it_comes(stage: Stage) -> None:
    client = stage.ask(LENGTH_10 + b"01")
    assert body_of(stage.upstream.take()) == b"01"
    client.receive(b"234")
    assert stage.upstream.take() == b"234"
    client.receive(b"56789")
    assert stage.upstream.take() == b"56789"
    stage.answer()


def test_body_does_not_pile_up_while_dialling(stage: Stage) -> None:
    """One read is kept; then the client is not read until there is a connection."""
    stage.hold(1)
    client = stage.ask(LENGTH_10)
    assert client.reading
    client.receive(b"0123")
    assert not client.reading
    client.receive(b"456789")
    stage.loop.dials[-1].accept()
    stage.settle()
    assert client.reading
    assert body_of(stage.upstream.take()) == b"0123456789"
    stage.answer()
    assert client.take() == OK


def test_bytes_after_the_body_are_the_next_request(stage: Stage) -> None:
    client = stage.ask(LENGTH_10 + b"0123456789GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
    assert body_of(stage.upstream.take()) == b"0123456789"
    stage.answer()
    assert client.take() == OK
    assert stage.upstream.take().startswith(b"GET /next ")
    stage.answer()


# --- Expect: 100-continue

EXPECT = POST + b"Content-Length: 3\r\nExpect: 100-continue\r\n\r\n"


def test_the_upstream_is_asked_whether_to_continue(stage: Stage) -> None:
    client = stage.ask(EXPECT)
    assert b"Expect: 100-continue" in head_of(stage.upstream.take())
    stage.answer(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert client.take() == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.receive(b"abc")
    assert stage.upstream.take() == b"abc"
    stage.answer()
    assert client.take() == OK
    assert not client.is_closing()
    assert stage.idle == 1


def test_a_client_need_not_wait_for_the_continue(stage: Stage) -> None:
    client = stage.ask(EXPECT + b"abc")
    assert body_of(stage.upstream.take()) == b"abc"
    stage.answer(b"HTTP/1.1 100 Continue\r\n\r\n" + OK)
    assert client.take() == b"HTTP/1.1 100 Continue\r\n\r\n" + OK


def test_a_final_answer_instead_of_continue_closes(stage: Stage) -> None:
    client = stage.ask(EXPECT)
    stage.answer(b"HTTP/1.1 417 No\r\nDate: x\r\nContent-Length: 0\r\n\r\n")
    assert b"Connection: close" in head_of(client.take())
    assert client.eof_written
    assert stage.closes() == {"not_reusable": 1}


def test_expect_in_http_1_0_is_not_passed_on(stage: Stage) -> None:
    stage.ask(b"POST / HTTP/1.0\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc")
    assert not [line for line in head_of(stage.upstream.take()) if line.lower().startswith(b"expect")]
    stage.answer()


# --- early final responses

EARLY = b"HTTP/1.1 413 No\r\nDate: x\r\nContent-Length: 3\r\n\r\nbig"


def test_early_answer_ends_the_client_connection_gently(stage: Stage) -> None:
    """With FIN first, and what still comes thrown away: a reset could destroy the answer."""
    client = stage.ask(LENGTH_10 + b"01")
    stage.answer(EARLY)
    sent = client.take()
    assert status_of(sent) == 413
    assert b"Connection: close" in head_of(sent)
    assert client.eof_written
    assert not client.is_closing()
    assert stage.upstream.aborted
    client.receive(b"23456789GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
    client.receive(b"x" * 100_000)
    assert not client.is_closing()
    stage.settle()
    assert len(stage.loop.transports) == 1  # nothing of it became a request
    client.receive_eof()
    assert client.closed


def test_the_wait_for_the_clients_end_is_bounded(stage: Stage) -> None:
    client = stage.ask(LENGTH_10 + b"01")
    stage.answer(EARLY)
    stage.advance(1.9)
    assert not client.is_closing()
    stage.advance(60)
    assert client.is_closing()


def test_early_answer_with_a_body_that_goes_on(stage: Stage) -> None:
    """The upstream begins to answer before it has read everything: both bodies flow."""
    client = stage.ask(LENGTH_10 + b"01")
    stage.answer(b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 4\r\n\r\nab")
    assert body_of(client.take()) == b"ab"
    stage.upstream.take()
    client.receive(b"23456789")
    assert stage.upstream.take() == b"23456789"
    stage.answer(b"cd")
    assert client.take() == b"cd"
    assert client.is_closing()  # it has been told so in the head
    assert stage.idle == 1


def test_a_continuing_upload_after_the_answer_is_not_sent_on(make_stage: MakeStage) -> None:
    stage = make_stage(2)
    client = stage.ask(CHUNKED + b"3\r\nabc\r\n")
    stage.upstream.take()
    stage.answer(EARLY)
    client.receive(b"3\r\ndef\r\n0\r\n\r\n")
    assert stage.upstream.take() == b""
    assert stage.logged()["request_bytes"] == 3


# --- broken bodies

BROKEN = {
    "a bad chunk size": (CHUNKED, b"3\r\nabc\r\nzz\r\n", 400),
    "a missing CRLF": (CHUNKED, b"3\r\nabcX", 400),
    "a line in the trailers that is no field": (CHUNKED, b"0\r\nContent-Length 3\r\n\r\n", 400),
}


@pytest.mark.parametrize("case", BROKEN)
@pytest.mark.parametrize("split", [False, True], ids=["with the head", "later"])
def test_broken_body_never_ends_well_upstream(stage: Stage, case: str, split: bool) -> None:
    head, body, status = BROKEN[case]
    client = stage.ask(head if split else head + body)
    if split:
        client.receive(body)
    stage.settle()
    assert status_of(client.take()) == status
    assert client.eof_written
    for upstream in stage.loop.transports:
        assert upstream.aborted
        assert b"0\r\n\r\n" not in upstream.written
    assert stage.local_counted("malformed_request") == 1


def test_body_broken_after_the_response_began_resets_the_client(stage: Stage) -> None:
    client = stage.ask(CHUNKED + b"3\r\nabc\r\n")
    stage.answer(b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 4\r\n\r\nab")
    client.receive(b"zz\r\n")
    stage.settle()
    assert body_of(client.take()) == b"ab"
    assert client.aborted
    assert client.socket.options
