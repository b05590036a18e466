"""Upstreams that answer badly or break off: 502 while nothing has been sent, otherwise a visible break."""

import socket
import struct

import pytest

from balancer.errors import Outcome
from tests.proxy.conftest import MakeHarness
from tests.proxy.harness import GET, OK, Harness, body_of, head_of, status_of

RESET = (socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

STATUS = b"HTTP/1.1 200 OK\r\n"
WEBSOCKET = b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
BAD, LARGE = "malformed_response", "response_head_too_large"
MALFORMED = {
    "no HTTP": (b"SSH-2.0-OpenSSH\r\n\r\n", BAD),
    "another version": (b"HTTP/0.9 200 OK\r\n\r\n", BAD),
    "no HTTP, and no line": (b"\x00\x00\x00\x05", BAD),
    "a bare LF in a head of CRLF": (STATUS + b"A: b\n", BAD),
    "status 099": (b"HTTP/1.1 099 Odd\r\n\r\n", BAD),
    "two lengths": (STATUS + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", BAD),
    "two lengths and chunked": (
        STATUS + b"Content-Length: 1\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
        BAD,
    ),
    "an unrequested coding": (STATUS + b"Transfer-Encoding: gzip\r\n\r\n", BAD),
    "101 unasked": (b"HTTP/1.1 101 Switch\r\n" + WEBSOCKET, "upgrade_failed"),
    "an endless head": (STATUS + b"A: b\r\n" * 16000, LARGE),
    "too many fields": (STATUS + b"A: b\r\n" * 201 + b"\r\n", LARGE),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_head_is_502_and_the_connection_is_discarded(harness: Harness, case: str) -> None:
    response, reason = MALFORMED[case]
    client = harness.ask()
    harness.answer(response)
    sent = client.take()
    assert status_of(sent) == 502
    assert harness.local_counted(reason) == 1
    assert any(line.startswith(b"Proxy-Status: balancer; error=") for line in head_of(sent))
    assert harness.upstream.aborted
    assert not client.is_closing()
    assert harness.closes() == {"failed": 1}
    assert harness.logged()["reason"] == reason
    harness.ask(client=client)
    harness.answer()
    assert client.take() == OK


LENGTH_5 = b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 5\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nDate: x\r\nTransfer-Encoding: chunked\r\n\r\n"
ENDS = {
    "closed before a head": (b"", None, 502),
    "reset before a head": (b"", ConnectionResetError(), 502),
    "closed in the head": (b"HTTP/1.1 200 OK\r\nContent", None, 502),
    "closed after an informational": (b"HTTP/1.1 103 Hint\r\n\r\n", None, 502),
    "closed in a body": (LENGTH_5 + b"ab", None, 0),
    "reset in a body": (LENGTH_5 + b"ab", ConnectionResetError(), 0),
    "closed in a chunk": (CHUNKED + b"5\r\nab", None, 0),
    "closed before the last chunk": (CHUNKED + b"2\r\nab\r\n", None, 0),
    "closed before the empty line": (CHUNKED + b"2\r\nab\r\n0\r\n", None, 0),
    "reset in a body until close": (b"HTTP/1.1 200 OK\r\nDate: x\r\n\r\nab", ConnectionResetError(), 0),
}


@pytest.mark.parametrize("case", ENDS)
@pytest.mark.parametrize("minor", [0, 1], ids=["HTTP/1.0", "HTTP/1.1"])
def test_a_response_that_breaks_off(harness: Harness, case: str, minor: int) -> None:
    response, error, status = ENDS[case]
    client = harness.ask(b"GET / HTTP/1.%d\r\nHost: a\r\n\r\n" % minor)
    harness.answer(response)
    if error is None:
        harness.upstream.receive_eof()
    else:
        harness.upstream.lose(error)
    harness.settle()
    sent = client.take()
    if status:
        final = sent[sent.rindex(b"HTTP/1.1 ") :]
        assert status_of(final) == status
        assert harness.local_counted("upstream_closed") == 1
        assert client.socket.options == []
    else:
        assert b"ab" in sent
        assert b"0\r\n\r\n" not in sent
        assert client.aborted
        assert client.socket.options == [RESET]  # a FIN would look like a clean end
        assert harness.logged()["reason"] == "response_truncated"
        assert harness.logged()["status"] == 200
    assert harness.closes() == {"failed": 1}


def test_a_malformed_chunk_read_with_the_head_breaks_off(harness: Harness) -> None:
    client = harness.ask()
    harness.answer(b"HTTP/1.1 200 OK\r\nDate: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\nzz\r\n")
    sent = client.take()
    assert b"0\r\n\r\n" not in sent
    assert client.socket.options == [RESET]
    assert harness.upstream.aborted
    assert harness.logged()["reason"] == "malformed_response"


def test_a_malformed_chunk_read_later_breaks_off(harness: Harness) -> None:
    client = harness.ask()
    harness.answer(b"HTTP/1.1 200 OK\r\nDate: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n")
    assert body_of(client.take()) == b"2\r\nab\r\n"
    harness.answer(b"-1\r\n")
    assert client.take() == b""
    assert client.socket.options == [RESET]


def test_no_byte_follows_a_break(harness: Harness) -> None:
    client = harness.ask(GET + GET)
    harness.answer(b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 5\r\n\r\nab")
    harness.upstream.receive_eof()
    harness.settle()
    assert client.take().endswith(b"ab")
    assert harness.connects() == 1  # the pipelined one was not begun


EARLY_WORDS = {
    "a banner": b"220 mail ESMTP\r\n",
    "a response": OK,
    "nothing, it closes": b"",
}


@pytest.mark.parametrize("case", EARLY_WORDS)
@pytest.mark.parametrize("upstreams", [1, 2])
def test_an_upstream_that_sends_or_closes_before_the_request(
    make_harness: MakeHarness, case: str, upstreams: int
) -> None:
    """Between the connect and the request: nothing was sent, so another upstream is tried."""
    harness = make_harness(upstreams)
    harness.hold(1)
    client = harness.ask()
    harness.loop.speak_first["10.0.0.1", 8000] = EARLY_WORDS[case]
    harness.loop.dials[0].accept()
    harness.settle()
    first = harness.loop.transports[0]
    assert first.written == b""
    assert first.is_closing()
    if upstreams == 1:
        assert status_of(client.take()) == 502
    else:
        harness.answer()
        assert client.take() == OK
        assert harness.dialled == ["10.0.0.1", "10.0.0.2"]


OUTCOMES = {
    "200": (OK, False, Outcome.SUCCESS),
    "404": (b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", False, Outcome.SUCCESS),
    "500": (b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", False, Outcome.SERVER_ERROR),
    "malformed": (b"nonsense\r\n\r\n", False, Outcome.FAILED),
    "truncated": (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", True, Outcome.FAILED),
    "closed": (b"", True, Outcome.FAILED),
}


@pytest.mark.parametrize("case", OUTCOMES)
def test_the_policy_is_told_the_outcome(make_harness: MakeHarness, case: str, told: list[Outcome]) -> None:
    response, ends, outcome = OUTCOMES[case]
    harness = make_harness(policy="telling")
    harness.ask()
    harness.answer(response)
    if ends:
        harness.upstream.receive_eof()
        harness.settle()
    assert told == [outcome]
