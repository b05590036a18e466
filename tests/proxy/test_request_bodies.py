"""Request bodies are relayed as they arrive, in every framing; and the effect of an early response."""

import pytest

from tests.proxy.conftest import MakeHarness
from tests.proxy.harness import OK, Harness, body_of, head_of, status_of

POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
LENGTH_10 = POST + b"Content-Length: 10\r\n\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"

# name: (the pieces after the head; the body as the upstream gets it)
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
def test_body_framing_on_a_new_connection(harness: Harness, case: str, connected: bool) -> None:
    head, pieces, expected = BODIES[case]
    if not connected:
        harness.hold(1)
    client = harness.ask(head + pieces[0])
    for piece in pieces[1:]:
        client.receive(piece)
    if not connected:
        harness.loop.dials[-1].accept()
    harness.settle()
    sent = harness.upstream.take()
    assert body_of(sent) == expected
    harness.answer()
    assert client.take() == OK
    assert harness.idle == 1
    assert harness.logged()["request_bytes"] in (3, 5, 10, 0)


@pytest.mark.parametrize("case", BODIES)
def test_body_framing_on_a_warm_connection(harness: Harness, case: str) -> None:
    head, pieces, expected = BODIES[case]
    client, upstream = harness.warm()
    client.receive(head + pieces[0])
    for piece in pieces[1:]:
        client.receive(piece)
    assert body_of(upstream.take()) == expected
    harness.answer()
    assert client.take() == OK
    assert harness.idle == 1


def test_a_body_is_relayed_as_it_arrives(harness: Harness) -> None:
    client = harness.ask(LENGTH_10 + b"01")
    assert body_of(harness.upstream.take()) == b"01"
    client.receive(b"234")
    assert harness.upstream.take() == b"234"
    client.receive(b"56789")
    assert harness.upstream.take() == b"56789"
    harness.answer()


def test_a_body_does_not_pile_up_while_dialling(harness: Harness) -> None:
    """One read is kept; then the client is not read until the upstream is connected."""
    harness.hold(1)
    client = harness.ask(LENGTH_10)
    assert client.reading
    client.receive(b"0123")
    assert not client.reading
    client.receive(b"456789")
    harness.loop.dials[-1].accept()
    harness.settle()
    assert client.reading
    assert body_of(harness.upstream.take()) == b"0123456789"
    harness.answer()
    assert client.take() == OK


def test_bytes_after_the_body_are_the_next_request(harness: Harness) -> None:
    client = harness.ask(LENGTH_10 + b"0123456789GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
    assert body_of(harness.upstream.take()) == b"0123456789"
    harness.answer()
    assert client.take() == OK
    assert harness.upstream.take().startswith(b"GET /next ")
    harness.answer()


# --- Expect: 100-continue

EXPECT = POST + b"Content-Length: 3\r\nExpect: 100-continue\r\n\r\n"


def test_expect_100_continue_is_passed_to_the_upstream(harness: Harness) -> None:
    client = harness.ask(EXPECT)
    assert b"Expect: 100-continue" in head_of(harness.upstream.take())
    harness.answer(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert client.take() == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.receive(b"abc")
    assert harness.upstream.take() == b"abc"
    harness.answer()
    assert client.take() == OK
    assert not client.is_closing()
    assert harness.idle == 1


def test_a_client_need_not_wait_for_the_100(harness: Harness) -> None:
    client = harness.ask(EXPECT + b"abc")
    assert body_of(harness.upstream.take()) == b"abc"
    harness.answer(b"HTTP/1.1 100 Continue\r\n\r\n" + OK)
    assert client.take() == b"HTTP/1.1 100 Continue\r\n\r\n" + OK


def test_a_final_response_instead_of_100_closes(harness: Harness) -> None:
    client = harness.ask(EXPECT)
    harness.answer(b"HTTP/1.1 417 No\r\nDate: x\r\nContent-Length: 0\r\n\r\n")
    assert b"Connection: close" in head_of(client.take())
    assert client.eof_written
    assert harness.closes() == {"not_reusable": 1}


def test_expect_in_http_1_0_is_not_passed_on(harness: Harness) -> None:
    harness.ask(b"POST / HTTP/1.0\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc")
    assert not [line for line in head_of(harness.upstream.take()) if line.lower().startswith(b"expect")]
    harness.answer()


# --- early final responses

EARLY = b"HTTP/1.1 413 No\r\nDate: x\r\nContent-Length: 3\r\n\r\nbig"


def test_an_early_response_closes_the_client_connection_gently(harness: Harness) -> None:
    """FIN first, and later bytes are discarded: a reset could destroy the response."""
    client = harness.ask(LENGTH_10 + b"01")
    harness.answer(EARLY)
    sent = client.take()
    assert status_of(sent) == 413
    assert b"Connection: close" in head_of(sent)
    assert client.eof_written
    assert not client.is_closing()
    assert harness.upstream.aborted
    client.receive(b"23456789GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
    client.receive(b"x" * 100_000)
    assert not client.is_closing()
    harness.settle()
    assert len(harness.loop.transports) == 1  # none of it became a request
    client.receive_eof()
    assert client.closed


def test_the_wait_for_the_clients_end_is_bounded(harness: Harness) -> None:
    client = harness.ask(LENGTH_10 + b"01")
    harness.answer(EARLY)
    harness.advance(1.9)
    assert not client.is_closing()
    harness.advance(60)
    assert client.is_closing()


def test_an_early_response_whose_body_goes_on(harness: Harness) -> None:
    """The upstream begins to answer before it has read everything: both bodies flow."""
    client = harness.ask(LENGTH_10 + b"01")
    harness.answer(b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 4\r\n\r\nab")
    assert body_of(client.take()) == b"ab"
    harness.upstream.take()
    client.receive(b"23456789")
    assert harness.upstream.take() == b"23456789"
    harness.answer(b"cd")
    assert client.take() == b"cd"
    assert client.is_closing()  # the head has announced it
    assert harness.idle == 1


def test_an_upload_after_the_final_response_is_not_sent_on(make_harness: MakeHarness) -> None:
    harness = make_harness(2)
    client = harness.ask(CHUNKED + b"3\r\nabc\r\n")
    harness.upstream.take()
    harness.answer(EARLY)
    client.receive(b"3\r\ndef\r\n0\r\n\r\n")
    assert harness.upstream.take() == b""
    assert harness.logged()["request_bytes"] == 3


# --- broken bodies

BROKEN = {
    "a bad chunk size": (CHUNKED, b"3\r\nabc\r\nzz\r\n", 400),
    "a missing CRLF": (CHUNKED, b"3\r\nabcX", 400),
    "a trailer line that is no field": (CHUNKED, b"0\r\nContent-Length 3\r\n\r\n", 400),
}


@pytest.mark.parametrize("case", BROKEN)
@pytest.mark.parametrize("split", [False, True], ids=["with the head", "later"])
def test_a_broken_body_is_never_completed_upstream(harness: Harness, case: str, split: bool) -> None:
    head, body, status = BROKEN[case]
    client = harness.ask(head if split else head + body)
    if split:
        client.receive(body)
    harness.settle()
    assert status_of(client.take()) == status
    assert client.eof_written
    for upstream in harness.loop.transports:
        assert upstream.aborted
        assert b"0\r\n\r\n" not in upstream.written
    assert harness.local_counted("malformed_request") == 1


def test_a_body_that_breaks_after_the_response_began_resets_the_client(harness: Harness) -> None:
    client = harness.ask(CHUNKED + b"3\r\nabc\r\n")
    harness.answer(b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 4\r\n\r\nab")
    client.receive(b"zz\r\n")
    harness.settle()
    assert body_of(client.take()) == b"ab"
    assert client.aborted
    assert client.socket.options
