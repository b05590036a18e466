"""Responses are relayed: every framing of a body, to every kind of client."""

import pytest

from balancer.connections.response_framing import INFORMATIONAL_LIMIT
from tests.proxy.conftest import MakeHarness
from tests.proxy.harness import GET, OK, Harness, body_of, head_of, status_of

DATE = b"HTTP/1.1 200 OK\r\nDate: x\r\n"
GET_10 = b"GET / HTTP/1.0\r\nHost: a\r\n\r\n"
GET_10_ALIVE = b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n"
GET_CLOSE = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
HEAD = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"

# name: (request, response, what the client receives, client stays open, upstream is kept)
WHOLE: dict[str, tuple[bytes, bytes, bytes, bool, bool]] = {
    "length": (
        GET,
        DATE + b"Content-Length: 5\r\n\r\nhello",
        DATE + b"Content-Length: 5\r\n\r\nhello",
        True,
        True,
    ),
    "length zero": (
        GET,
        DATE + b"Content-Length: 0\r\n\r\n",
        DATE + b"Content-Length: 0\r\n\r\n",
        True,
        True,
    ),
    "chunked": (
        GET,
        DATE + b"Transfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\n\r\n",
        DATE + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        True,
        True,
    ),
    "chunked with trailers": (
        GET,
        DATE + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n",
        DATE + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        True,
        True,
    ),
    "chunked with trailers to a client with TE without Connection": (
        b"GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n",
        DATE + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n",
        DATE + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        True,
        True,
    ),
    "framing fields in our own words": (
        GET,
        DATE + b"content-LENGTH:\t002\t\r\n\r\nhi",
        DATE + b"Content-Length: 2\r\n\r\nhi",
        True,
        True,
    ),
    "chunked in our own words": (
        GET,
        DATE + b"transfer-encoding:\tCHUNKED \r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        DATE + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        True,
        True,
    ),
    "chunked with trailers to a client that accepts them": (
        b"GET / HTTP/1.1\r\nHost: a\r\nTE: deflate;q=0.5, Trailers\r\nConnection: keep-alive, TE\r\n\r\n",
        DATE + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n",
        DATE + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n",
        True,
        True,
    ),
    "chunked to HTTP/1.0": (
        GET_10,
        DATE + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",
        DATE + b"Connection: close\r\n\r\nhello",
        False,
        True,
    ),
    "chunked to HTTP/1.0 that would stay": (
        GET_10_ALIVE,
        DATE + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        DATE + b"Connection: close\r\n\r\nhello",
        False,
        True,
    ),
    "length to HTTP/1.0": (
        GET_10,
        DATE + b"Content-Length: 2\r\n\r\nhi",
        DATE + b"Content-Length: 2\r\nConnection: close\r\n\r\nhi",
        False,
        True,
    ),
    "length to HTTP/1.0 that stays": (
        GET_10_ALIVE,
        DATE + b"Content-Length: 2\r\n\r\nhi",
        DATE + b"Content-Length: 2\r\nConnection: keep-alive\r\n\r\nhi",
        True,
        True,
    ),
    "to a client that closes": (
        GET_CLOSE,
        DATE + b"Content-Length: 2\r\n\r\nhi",
        DATE + b"Content-Length: 2\r\nConnection: close\r\n\r\nhi",
        False,
        True,
    ),
    "from an upstream that closes": (
        GET,
        DATE + b"Connection: close\r\nContent-Length: 2\r\n\r\nhi",
        DATE + b"Content-Length: 2\r\n\r\nhi",
        True,
        False,
    ),
    "from an HTTP/1.0 upstream": (
        GET,
        b"HTTP/1.0 200 OK\r\nDate: x\r\nContent-Length: 2\r\n\r\nhi",
        DATE + b"Content-Length: 2\r\n\r\nhi",
        True,
        False,
    ),
    "from an HTTP/1.0 upstream that stays": (
        GET,
        b"HTTP/1.0 200 OK\r\nDate: x\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi",
        DATE + b"Content-Length: 2\r\n\r\nhi",
        True,
        True,
    ),
    "HEAD with a length": (
        HEAD,
        DATE + b"Content-Length: 999\r\n\r\n",
        DATE + b"Content-Length: 999\r\n\r\n",
        True,
        True,
    ),
    "HEAD with chunked": (
        HEAD,
        DATE + b"Transfer-Encoding: chunked\r\n\r\n",
        DATE + b"Transfer-Encoding: chunked\r\n\r\n",
        True,
        True,
    ),
    "HEAD with nothing": (HEAD, DATE + b"\r\n", DATE + b"\r\n", True, True),
    "204": (
        GET,
        b"HTTP/1.1 204 No Content\r\nDate: x\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nDate: x\r\n\r\n",
        True,
        True,
    ),
    "304 with a length": (
        GET,
        b"HTTP/1.1 304 Not Modified\r\nDate: x\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nDate: x\r\nContent-Length: 5\r\n\r\n",
        True,
        True,
    ),
    "a server error is passed on": (
        GET,
        b"HTTP/1.1 503 Busy\r\nDate: x\r\nContent-Length: 1\r\n\r\n!",
        b"HTTP/1.1 503 Busy\r\nDate: x\r\nContent-Length: 1\r\n\r\n!",
        True,
        True,
    ),
}


@pytest.mark.parametrize("case", WHOLE)
def test_a_whole_response(harness: Harness, case: str) -> None:
    request, response, expected, stays, kept = WHOLE[case]
    client = harness.ask(request)
    harness.answer(response)
    assert client.take() == expected
    assert client.is_closing() is not stays
    assert harness.idle == kept
    if stays:
        harness.ask(client=client)
        assert len(harness.loop.transports) == (1 if kept else 2)
        harness.answer()
        assert client.take() == OK


@pytest.mark.parametrize("case", WHOLE)
def test_a_response_byte_by_byte(harness: Harness, case: str) -> None:
    """The head is relayed as soon as it is whole, then each byte of the body at once."""
    request, response, expected, stays, kept = WHOLE[case]
    client = harness.ask(request)
    upstream = harness.upstream
    for place in range(len(response)):
        upstream.receive(response[place : place + 1])
    harness.settle()
    if b"chunked" in expected and b"\r\n0\r\n" in expected:
        head, _, rest = client.take().partition(b"\r\n\r\n")
        assert head == expected.partition(b"\r\n\r\n")[0]
        sizes = rest.partition(b"0\r\n")[0].split(b"\r\n")
        assert b"".join(sizes[1::2]) == body_of(expected).split(b"\r\n")[1]
        assert rest.partition(b"0\r\n")[2] == body_of(expected).partition(b"0\r\n")[2]
    else:
        assert client.take() == expected
    assert client.is_closing() is not stays
    assert harness.idle == kept


def test_a_body_is_relayed_as_it_arrives(harness: Harness) -> None:
    client = harness.ask()
    harness.answer(DATE + b"Content-Length: 6\r\n\r\nab")
    assert body_of(client.take()) == b"ab"
    harness.answer(b"cd")
    assert client.take() == b"cd"
    harness.answer(b"ef")
    assert client.take() == b"ef"
    assert harness.idle == 1


def test_a_large_body_is_written_without_joining_it_to_its_head(harness: Harness) -> None:
    client = harness.ask()
    body = b"x" * 100_000
    harness.answer(DATE + b"Content-Length: 100000\r\n\r\n" + body)
    assert client.writes[-1] == body
    assert body_of(client.take()) == body


def test_a_close_delimited_response_becomes_chunked_and_the_client_stays(harness: Harness) -> None:
    client = harness.ask()
    harness.answer(DATE + b"\r\nab")
    assert client.take() == DATE + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n"
    harness.answer(b"cde")
    assert client.take() == b"3\r\ncde\r\n"
    harness.upstream.receive_eof()
    harness.settle()
    assert client.take() == b"0\r\n\r\n"
    assert not client.is_closing()
    assert harness.closes() == {"not_reusable": 1}
    harness.ask(client=client)
    harness.answer()
    assert client.take() == OK


def test_a_close_delimited_response_to_http_1_0_ends_with_the_connection(harness: Harness) -> None:
    client = harness.ask(GET_10_ALIVE)
    harness.answer(DATE + b"\r\nab")
    harness.answer(b"cd")
    assert client.take() == DATE + b"Connection: close\r\n\r\nabcd"
    assert not client.is_closing()
    harness.upstream.receive_eof()
    harness.settle()
    assert client.closed
    assert not client.aborted


def test_a_close_delimited_response_without_a_body(harness: Harness) -> None:
    client = harness.ask()
    harness.answer(DATE + b"\r\n")
    harness.upstream.receive_eof()
    harness.settle()
    assert client.take() == DATE + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"


def test_date_is_added_if_the_upstream_sent_none(harness: Harness) -> None:
    client = harness.ask()
    harness.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert b"Date: Sun, 06 Nov 1994 08:49:37 GMT" in head_of(client.take())


INFORMATIONAL = {
    "one, before the response": [b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", OK],
    "two": [b"HTTP/1.1 102 Processing\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", OK],
    "an unknown one": [b"HTTP/1.1 199 Odd\r\nA: b\r\n\r\n", OK],
}


@pytest.mark.parametrize("case", INFORMATIONAL)
@pytest.mark.parametrize("at_once", [False, True], ids=["apart", "in one read"])
def test_informational_responses_are_relayed(harness: Harness, case: str, at_once: bool) -> None:
    pieces = INFORMATIONAL[case]
    client = harness.ask()
    for piece in [b"".join(pieces)] if at_once else pieces:
        harness.answer(piece)
    assert client.take() == b"".join(pieces)
    assert harness.idle == 1


@pytest.mark.parametrize("at_once", [False, True], ids=["apart", "in one read"])
def test_endless_informational_responses_are_502(harness: Harness, at_once: bool) -> None:
    hint = b"HTTP/1.1 103 Early Hints\r\n\r\n"
    client = harness.ask()
    for piece in [hint * 1000] if at_once else [hint] * 101:
        harness.answer(piece)
    sent = client.take()
    assert sent.startswith(hint * INFORMATIONAL_LIMIT + b"HTTP/1.1 502 ")
    assert b"(more than 100 1xx responses)" in sent
    assert harness.local_counted("malformed_response") == 1
    assert harness.upstream.aborted


def test_informational_responses_are_bounded_per_request(harness: Harness) -> None:
    client = harness.client()
    hints = b"HTTP/1.1 103 Early Hints\r\n\r\n" * INFORMATIONAL_LIMIT
    for _ in range(3):
        harness.ask(client=client)
        harness.answer(hints + OK)
        assert client.take() == hints + OK
    assert len(harness.loop.dials) == 1


def test_informational_responses_are_not_sent_to_http_1_0(harness: Harness) -> None:
    client = harness.ask(GET_10)
    harness.answer(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK)
    assert status_of(client.take()) == 200


def test_an_upstream_that_closes_after_a_103_is_502(harness: Harness) -> None:
    client = harness.ask()
    harness.answer(b"HTTP/1.1 103 Early Hints\r\n\r\n")
    assert status_of(client.take()) == 103
    harness.upstream.receive_eof()
    harness.settle()
    assert status_of(client.take()) == 502


def test_http_1_0_without_host_gets_the_upstreams(make_harness: MakeHarness) -> None:
    harness = make_harness()
    harness.ask(b"GET / HTTP/1.0\r\n\r\n")
    lines = head_of(harness.upstream.take())
    assert lines[0] == b"GET / HTTP/1.1"
    assert b"Host: 10.0.0.1:8000" in lines
    harness.answer()
