"""A client that leaves: its upstream request is cancelled at once and logged as 499; no upstream is
blamed."""

import os
import socket
from collections.abc import Callable

import pytest

from balancer.errors import Outcome
from balancer.telemetry.columns import ROUTE_INFLIGHT
from tests.fakes.wire import FakeTransport
from tests.proxy.conftest import MakeHarness
from tests.proxy.harness import GET, OK, Harness, body_of

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n01"
PART = b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 6\r\n\r\nab"

Play = Callable[[Harness, FakeTransport], None]


def _dialling(harness: Harness, client: FakeTransport) -> None:
    harness.hold(1, 2)
    harness.ask(GET, client)


def _dialling_with_a_body(harness: Harness, client: FakeTransport) -> None:
    harness.hold(1, 2)
    harness.ask(POST, client)
    client.resume_reading()


def _racing(harness: Harness, client: FakeTransport) -> None:
    _dialling(harness, client)
    harness.advance(0.26)
    assert harness.inflight == [1, 1]


def _waiting(harness: Harness, client: FakeTransport) -> None:
    harness.ask(GET, client)


def _uploading(harness: Harness, client: FakeTransport) -> None:
    harness.ask(POST, client)


def _hinted(harness: Harness, client: FakeTransport) -> None:
    harness.ask(GET, client)
    harness.answer(b"HTTP/1.1 103 Hint\r\n\r\n")


def _streaming(harness: Harness, client: FakeTransport) -> None:
    harness.ask(GET, client)
    harness.answer(PART)


def _not_reading(harness: Harness, client: FakeTransport) -> None:
    harness.ask(GET, client)
    harness.answer(PART)
    client.pause_writing()


def _pipelining(harness: Harness, client: FakeTransport) -> None:
    harness.ask(GET + GET, client)


WHEN: dict[str, Play] = {
    "dialling": _dialling,
    "dialling with a body": _dialling_with_a_body,
    "racing": _racing,
    "waiting": _waiting,
    "uploading": _uploading,
    "after a hint": _hinted,
    "streaming": _streaming,
    "not reading": _not_reading,
    "pipelining": _pipelining,
}
HOW: dict[str, Callable[[FakeTransport], None]] = {
    "FIN": lambda client: client.receive_eof(),
    "RST": lambda client: client.lose(ConnectionResetError()),
}


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("how", HOW)
def test_a_client_that_leaves_cancels_its_upstream_request(
    make_harness: MakeHarness, when: str, how: str, told: list[Outcome]
) -> None:
    harness = make_harness(2, policy="telling")
    client = harness.client()
    WHEN[when](harness, client)
    assert sum(harness.inflight) > 0
    HOW[how](client)
    harness.settle()
    assert harness.inflight == [0, 0]
    assert harness.route.side.counters.value(ROUTE_INFLIGHT) == 0
    assert set(told) == {Outcome.CLIENT_GONE}
    assert all(upstream.aborted for upstream in harness.loop.transports)
    assert not any(dial.pending for dial in harness.loop.dials)
    assert harness.logged()["status"] == 499
    assert (
        harness.requests_counted(GET[:3] if "load" not in when and "body" not in when else b"POST", 499) == 1
    )
    assert len(harness.records.records) == 1
    harness.advance(61)  # the client has not read its response, so its connection is kept for a while
    harness.advance(61)
    assert harness.proxy.connections == 0


def test_an_idle_client_leaves_without_a_record(harness: Harness) -> None:
    client, upstream = harness.warm()
    client.receive_eof()
    harness.settle()
    assert harness.proxy.connections == 0
    assert len(harness.records.records) == 1
    assert not upstream.is_closing()  # the upstream connection is in no use


def test_a_client_that_leaves_within_its_head_is_not_counted_as_a_request(harness: Harness) -> None:
    client = harness.ask(GET[:10])
    client.receive_eof()
    harness.settle()
    assert harness.proxy.connections == 0
    assert harness.records.records == []


def test_connections_are_counted_as_closed_by_the_client(harness: Harness) -> None:
    client = harness.ask()
    client.receive_eof()
    harness.settle()
    assert harness.closes() == {"client_gone": 1}


def test_a_connection_that_is_made_too_late_is_closed(harness: Harness) -> None:
    """The client leaves between the connect and its callback."""
    harness.hold(1)
    client = harness.ask()
    harness.loop.dials[0].accept()
    client.receive_eof()
    harness.settle()
    assert all(upstream.is_closing() for upstream in harness.loop.transports)
    assert harness.inflight == [0]


@pytest.fixture
def pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair()


@pytest.mark.parametrize("paused_by", ["upload", "reading ahead"])
def test_a_client_that_is_not_being_read_is_polled(
    harness: Harness, paused_by: str, pair: tuple[socket.socket, socket.socket]
) -> None:
    """Reading is paused, so only the sweep's poll can notice that the client has left."""
    ours, theirs = pair
    with ours, theirs:
        client = harness.connect(socket=ours)
        harness.clients.append(client)
        if paused_by == "upload":
            harness.ask(POST, client)
            harness.upstream.pause_writing()
        else:
            harness.ask(GET, client)
            client.receive(b"x" * 70_000)
        assert not client.reading
        harness.advance(0.25)
        assert harness.inflight == [1]
        theirs.shutdown(socket.SHUT_WR)
        harness.advance(0.25)
        assert harness.inflight == [0]
        assert harness.upstream.aborted
        assert client.aborted
        assert harness.logged()["status"] == 499
        os.fstat(ours.fileno())  # ours to close, and still open


def test_a_paused_client_that_stays_is_left_alone(
    harness: Harness, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    with ours, theirs:
        client = harness.connect(socket=ours)
        harness.clients.append(client)
        harness.ask(POST, client)
        harness.upstream.pause_writing()
        theirs.send(b"more")
        harness.advance(0.25)
        assert not client.is_closing()
        harness.upstream.resume_writing()
        client.receive(b"23456789")
        assert body_of(harness.upstream.take()) == b"0123456789"
        harness.answer()
        assert client.take() == OK
