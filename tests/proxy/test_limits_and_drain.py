"""Limits on what a client may send; and the end of a worker's service."""

import socket
import struct

import pytest

from tests.proxy.conftest import MakeHarness
from tests.proxy.harness import GET, OK, Harness, body_of, head_of, status_of

RESET = (socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
START = b"GET / HTTP/1.1\r\nHost: a\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
LIMITS = {"header_bytes": 1000, "header_count": 10, "uri_bytes": 100, "body_bytes": 20}

# name: (request, status or 0 if it is served, reason)
AT_THE_LIMIT = {
    "head as large as allowed": (START + b"A: " + b"x" * 968 + b"\r\n\r\n", 0, ""),
    "head one byte larger": (START + b"A: " + b"x" * 969 + b"\r\n\r\n", 431, "head_too_large"),
    "head much larger": (START + b"A: " + b"x" * 5000 + b"\r\n\r\n", 431, "head_too_large"),
    "head without an end": (START + b"A: b\r\n" * 200, 431, "head_too_large"),
    "ten fields": (START + b"A: b\r\n" * 9 + b"\r\n", 0, ""),
    "eleven fields": (START + b"A: b\r\n" * 10 + b"\r\n", 431, "head_too_large"),
    "target as long as allowed": (b"GET /" + b"x" * 99 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 0, ""),
    "target one byte longer": (b"GET /" + b"x" * 100 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414, "uri_too_long"),
    "target without an end": (b"GET /" + b"x" * 500, 414, "uri_too_long"),
    "body as large as allowed": (
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\n" + b"x" * 20,
        0,
        "",
    ),
    "body announced larger": (
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 21\r\n\r\n",
        413,
        "body_too_large",
    ),
    "chunks as large as allowed": (CHUNKED + b"a\r\n0123456789\r\n" * 2 + b"0\r\n\r\n", 0, ""),
    "chunks larger in one read": (CHUNKED + b"a\r\n0123456789\r\n" * 3, 413, "body_too_large"),
}


@pytest.mark.parametrize("case", AT_THE_LIMIT)
@pytest.mark.parametrize("size", [None, 97], ids=["at once", "in pieces"])
def test_each_limit_is_answered_with_its_status(
    make_harness: MakeHarness, case: str, size: int | None
) -> None:
    request, status, reason = AT_THE_LIMIT[case]
    harness = make_harness(limits=LIMITS)
    client = harness.client()
    for place in range(0, len(request), size or len(request)):
        client.receive(request[place : place + (size or len(request))])
    harness.settle()
    if status:
        sent = client.take()
        assert status_of(sent) == status
        assert b"Connection: close" in head_of(sent)
        assert client.eof_written
        assert harness.local_counted(reason) == 1
        assert len(harness.records.records) == 1
        assert harness.logged()["reason"] == reason
        assert harness.inflight == [0]
    else:
        harness.answer()
        assert client.take() == OK


def test_chunked_bodies_are_limited_while_they_arrive(make_harness: MakeHarness) -> None:
    harness = make_harness(limits=LIMITS)
    client = harness.ask(CHUNKED + b"a\r\n0123456789\r\n" * 2)
    assert harness.upstream.take().endswith(b"14\r\n01234567890123456789\r\n")
    client.receive(b"1\r\nx\r\n")
    assert status_of(client.take()) == 413
    assert harness.upstream.take() == b""
    assert harness.upstream.aborted
    assert harness.closes() == {"client_gone": 1}


def test_a_refused_request_never_reaches_an_app(make_harness: MakeHarness) -> None:
    harness = make_harness(limits=LIMITS)
    harness.ask(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 21\r\n\r\n" + b"x" * 21 + GET)
    assert harness.loop.dials == []


# --- drain


def test_idle_clients_are_closed_after_a_grace_period(harness: Harness) -> None:
    fresh = harness.client()
    used, upstream = harness.warm()
    harness.proxy.drain()
    harness.advance(0.9)
    assert not fresh.is_closing()
    assert not used.is_closing()
    harness.advance(0.4)
    assert fresh.closed
    assert used.closed
    assert not used.aborted
    assert harness.proxy.connections == 0
    assert not upstream.is_closing()


def test_the_running_exchange_is_the_last_of_its_connection(harness: Harness) -> None:
    client = harness.ask()
    harness.proxy.drain()
    harness.settle()
    assert not client.is_closing()
    harness.answer()
    sent = client.take()
    assert b"Connection: close" in head_of(sent)
    assert body_of(sent) == b"ok"
    assert client.closed
    assert harness.proxy.connections == 0


def test_a_response_that_had_begun_ends_its_connection_too(harness: Harness) -> None:
    client = harness.ask()
    harness.answer(b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 4\r\n\r\nab")
    harness.proxy.drain()
    harness.answer(b"cd")
    assert body_of(client.take()) == b"abcd"
    harness.advance(1.3)
    assert client.closed


def test_a_request_in_transit_when_the_drain_begins_is_served(harness: Harness) -> None:
    client, _ = harness.warm()
    harness.proxy.drain()
    harness.advance(0.5)
    client.receive(GET)
    harness.settle()
    harness.answer()
    sent = client.take()
    assert b"Connection: close" in head_of(sent)
    assert body_of(sent) == b"ok"
    assert client.closed


def test_a_local_failure_is_the_last_response_of_its_connection(harness: Harness) -> None:
    client = harness.ask()
    harness.proxy.drain()
    harness.upstream.receive_eof()
    harness.settle()
    sent = client.take()
    assert status_of(sent) == 502
    assert b"Connection: close" in head_of(sent)
    assert client.is_closing()


def test_a_head_that_has_begun_is_still_served(harness: Harness) -> None:
    client = harness.ask(GET[:10])
    harness.proxy.drain()
    harness.settle()
    assert not client.is_closing()
    harness.ask(GET[10:], client)
    harness.answer()
    assert b"Connection: close" in head_of(client.take())
    assert client.closed


def test_a_request_pipelined_behind_a_response_that_had_begun_is_served(harness: Harness) -> None:
    client = harness.ask(GET)
    harness.answer(b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 4\r\n\r\nab")
    client.receive(GET)
    harness.proxy.drain()
    harness.answer(b"cd")
    assert body_of(client.take()) == b"abcd"
    harness.settle()
    harness.answer()
    assert b"Connection: close" in head_of(client.take())
    assert client.closed


def test_connections_accepted_after_the_drain_began_are_served_once(harness: Harness) -> None:
    """They were in the accept queue."""
    harness.proxy.drain()
    client = harness.ask()
    harness.answer()
    assert b"Connection: close" in head_of(client.take())
    assert client.closed


def test_abort_all_answers_or_breaks_off_visibly(harness: Harness) -> None:
    streaming = harness.ask()
    harness.answer(b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 4\r\n\r\nab")
    waiting = harness.ask()
    harness.hold(1)
    dialling = harness.ask()
    harness.proxy.drain()
    harness.proxy.abort_all()
    harness.settle()
    assert streaming.socket.options == [RESET]
    assert streaming.aborted
    for client in (waiting, dialling):
        sent = client.take()
        assert status_of(sent) == 503
        assert b"Connection: close" in head_of(sent)
        assert client.is_closing()
    assert harness.logged()["reason"] == "drain_timeout"
    assert harness.proxy.connections == 0
    assert harness.inflight == [0]
    assert all(upstream.is_closing() for upstream in harness.loop.transports)
    assert harness.loop.armed_timers == 0
