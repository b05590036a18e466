"""A client that leaves: its upstream request is cancelled at once, logged as 499, and nobody is blamed."""

import os
import socket
from collections.abc import Callable

import pytest

from balancer.errors import Outcome
from tests.fakes.wire import FakeTransport
from tests.proxy.conftest import MakeStage
from tests.proxy.harness import GET, OK, Stage, body_of

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n01"
PART = b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 6\r\n\r\nab"

Play = Callable[[Stage, FakeTransport], None]


def _dialling(stage: Stage, client: FakeTransport) -> None:
    stage.hold(1, 2)
    stage.ask(GET, client)


def _dialling_with_a_body(stage: Stage, client: FakeTransport) -> None:
    stage.hold(1, 2)
    stage.ask(POST, client)
    client.resume_reading()


def _racing(stage: Stage, client: FakeTransport) -> None:
    _dialling(stage, client)
    stage.advance(0.26)
    assert stage.inflight == [1, 1]


def _waiting(stage: Stage, client: FakeTransport) -> None:
    stage.ask(GET, client)


def _uploading(stage: Stage, client: FakeTransport) -> None:
    stage.ask(POST, client)


def _hinted(stage: Stage, client: FakeTransport) -> None:
    stage.ask(GET, client)
    stage.answer(b"HTTP/1.1 103 Hint\r\n\r\n")


def _streaming(stage: Stage, client: FakeTransport) -> None:
    stage.ask(GET, client)
    stage.answer(PART)


def _not_reading(stage: Stage, client: FakeTransport) -> None:
    stage.ask(GET, client)
    stage.answer(PART)
    client.pause_writing()


def _pipelining(stage: Stage, client: FakeTransport) -> None:
    stage.ask(GET + GET, client)


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
def test_the_upstream_request_is_cancelled(
    make_stage: MakeStage, when: str, how: str, told: list[Outcome]
) -> None:
    stage = make_stage(2, policy="telling")
    client = stage.client()
    WHEN[when](stage, client)
    assert sum(stage.inflight) > 0
    HOW[how](client)
    stage.settle()
    assert stage.inflight == [0, 0]
    assert stage.route.inflight == 0
    assert set(told) == {Outcome.CLIENT_GONE}
    assert all(upstream.aborted for upstream in stage.loop.transports)
    assert not any(dial.pending for dial in stage.loop.dials)
    assert stage.logged()["status"] == 499
    assert stage.requests_counted(GET[:3] if "load" not in when and "body" not in when else b"POST", 499) == 1
    assert len(stage.records.records) == 1
    stage.advance(61)  # one that has not read its response keeps its connection for a while
    stage.advance(61)
    assert stage.proxy.connections == 0


def test_an_idle_client_leaves_without_a_record(stage: Stage) -> None:
    client, upstream = stage.warm()
    client.receive_eof()
    stage.settle()
    assert stage.proxy.connections == 0
    assert len(stage.records.records) == 1
    assert not upstream.is_closing()  # the upstream connection is nobody's


def test_a_client_that_leaves_in_its_head_is_no_request(stage: Stage) -> None:
    client = stage.ask(GET[:10])
    client.receive_eof()
    stage.settle()
    assert stage.proxy.connections == 0
    assert stage.records.records == []


def test_the_connections_are_counted_as_closed_for_it(stage: Stage) -> None:
    client = stage.ask()
    client.receive_eof()
    stage.settle()
    assert stage.closes() == {"client_gone": 1}


def test_a_connection_that_comes_too_late_is_closed(stage: Stage) -> None:
    """The client leaves in the instant between connecting and the news of it."""
    stage.hold(1)
    client = stage.ask()
    stage.loop.dials[0].accept()
    client.receive_eof()
    stage.settle()
    assert all(upstream.is_closing() for upstream in stage.loop.transports)
    assert stage.inflight == [0]


@pytest.fixture
def pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair()


@pytest.mark.parametrize("paused_by", ["upload", "reading ahead"])
def test_a_client_that_is_not_read_is_polled(
    stage: Stage, paused_by: str, pair: tuple[socket.socket, socket.socket]
) -> None:
    """Reading is paused, so nothing tells of its end but the sweep's poll."""
    ours, theirs = pair
    with ours, theirs:
        client = stage.connect(socket=ours)
        stage.clients.append(client)
        if paused_by == "upload":
            stage.ask(POST, client)
            stage.upstream.pause_writing()
        else:
            stage.ask(GET, client)
            client.receive(b"x" * 70_000)
        assert not client.reading
        stage.advance(0.25)
        assert stage.inflight == [1]
        theirs.shutdown(socket.SHUT_WR)
        stage.advance(0.25)
        assert stage.inflight == [0]
        assert stage.upstream.aborted
        assert client.aborted
        assert stage.logged()["status"] == 499
        os.fstat(ours.fileno())  # ours to close, and still open


def test_a_paused_client_that_stays_is_left_alone(
    stage: Stage, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    with ours, theirs:
        client = stage.connect(socket=ours)
        stage.clients.append(client)
        stage.ask(POST, client)
        stage.upstream.pause_writing()
        theirs.send(b"more")
        stage.advance(0.25)
        assert not client.is_closing()
        stage.upstream.resume_writing()
        client.receive(b"23456789")
        assert body_of(stage.upstream.take()) == b"0123456789"
        stage.answer()
        assert client.take() == OK
