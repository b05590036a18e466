"""A worker that was late: what came meanwhile is read before a judgement, and lost time is given back."""

from collections.abc import Callable

import pytest

from balancer.lateness import LATE_NS, MOST_OWED_NS, SWEEP, Lateness
from balancer.telemetry.columns import WORKER_LOCAL_RESPONSES
from tests.fakes.wire import FakeTransport
from tests.proxy.conftest import MakeStage
from tests.proxy.harness import GET, OK, REASONS, Stage, status_of

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n"
PART = b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 3\r\n\r\no"
UPGRADE = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
SHORT = {
    "connect": 2.0,
    "first_byte": 3.0,
    "idle": 3.0,
    "request_head": 3.0,
    "client_idle": 3.0,
    "tunnel_idle": 3.0,
}


@pytest.fixture
def stage(make_stage: MakeStage) -> Stage:
    return make_stage(timeouts=SHORT)


def stall(stage: Stage, seconds: float, late: float = 0.0) -> None:
    """One turn of the loop takes so long, and then the sweep runs before anything is read. `late`: what it
    knows of that."""
    stage.clock.advance(seconds)
    stage.proxy.sweep(round(late * 1e9))


def _awaits_head(stage: Stage) -> FakeTransport:
    return stage.ask()


def _awaits_more(stage: Stage) -> FakeTransport:
    client = stage.ask()
    stage.answer(PART)
    return client


def _is_idle(stage: Stage) -> FakeTransport:
    return stage.warm()[0]


def _sends_head(stage: Stage) -> FakeTransport:
    return stage.ask(GET[:10])


def _sends_body(stage: Stage) -> FakeTransport:
    return stage.ask(POST + b"o")


def _tunnels(stage: Stage) -> FakeTransport:
    client = stage.ask(UPGRADE)
    stage.answer(SWITCHED)
    client.take()
    return client


def _client_sends(data: bytes) -> Callable[[Stage, FakeTransport], None]:
    return lambda stage, client: client.receive(data)


def _upstream_sends(data: bytes) -> Callable[[Stage, FakeTransport], None]:
    return lambda stage, client: stage.upstream.receive(data)


WAITS = {
    "for a response's head": (_awaits_head, _upstream_sends(OK)),
    "for more of a response": (_awaits_more, _upstream_sends(b"k!")),
    "for the next request": (_is_idle, _client_sends(GET)),
    "for the rest of a head": (_sends_head, _client_sends(GET[10:])),
    "for the rest of a body": (_sends_body, _client_sends(b"k")),
    "for a byte in a tunnel": (_tunnels, _client_sends(b"x")),
}


@pytest.mark.parametrize("wait", WAITS)
def test_what_came_in_time_is_read_before_its_deadline_is_judged(stage: Stage, wait: str) -> None:
    begin, arrives = WAITS[wait]
    client = begin(stage)
    stall(stage, 4.0)
    assert not client.is_closing()
    arrives(stage, client)  # it was there already, and nobody had looked
    stage.settle()
    assert not client.is_closing()
    if wait not in ("for more of a response", "for a byte in a tunnel"):
        stage.answer()
        assert client.take().endswith(OK)
    assert stage.page.row(0)[WORKER_LOCAL_RESPONSES:][: len(REASONS)].tolist() == [0] * len(REASONS)


@pytest.mark.parametrize("wait", WAITS)
def test_where_nothing_came_the_same_sweep_judges(stage: Stage, wait: str) -> None:
    client = WAITS[wait][0](stage)
    stall(stage, 4.0)
    stage.settle()
    # A client's error is answered, and it may ask again.
    assert client.is_closing() or client.eof_written or status_of(client.take()) == 504


@pytest.mark.parametrize("wait", WAITS)
def test_what_the_sweep_was_late_is_given_back(stage: Stage, wait: str) -> None:
    client = WAITS[wait][0](stage)
    client.take()
    stall(stage, 4.0, late=3.75)
    stage.settle()
    stage.advance(2.9)  # 6.9 s, of which 4 do not count
    assert client.take() == b""
    assert not client.is_closing()
    stage.advance(0.2)
    assert client.is_closing() or client.eof_written or status_of(client.take()) == 504


def test_the_total_timeout_is_judged_after_a_look_and_has_time_given_back(make_stage: MakeStage) -> None:
    stage = make_stage(timeouts={"total": 2.0})
    answered, left = stage.ask(), stage.upstream
    client = stage.ask()
    stall(stage, 2.5)
    left.receive(OK)
    stage.settle()
    assert answered.take() == OK
    assert status_of(client.take()) == 504
    client = stage.ask()
    stall(stage, 2.5, late=2.25)
    stage.settle()
    stage.advance(1.9)
    assert client.take() == b""
    stage.advance(0.2)
    assert status_of(client.take()) == 504
    stage.ask(client=client)  # what was given back to that exchange is not this one's
    stage.advance(2.1)
    assert status_of(client.take()) == 504


def test_a_deadline_that_is_late_for_nobodys_fault_ejects_nobody(make_stage: MakeStage) -> None:
    outlier = {"enabled": True, "consecutive_5xx": 5, "consecutive_failures": 1}
    stage = make_stage(2, timeouts=SHORT, outlier=outlier)
    clients = [stage.ask() for _ in range(6)]
    stall(stage, 4.0)
    for transport in stage.loop.transports:
        transport.receive(OK)
    stage.settle()
    assert [client.take() for client in clients] == [OK] * 6
    assert not any(upstream.causes for upstream in stage.upstreams)


def test_a_dial_that_has_connected_meanwhile_is_used(stage: Stage) -> None:
    stage.hold(1)
    client = stage.ask()
    stage.clock.advance(2.5)  # its timer and the connection come in one turn, in this order
    stage.loop.run_due()
    stage.loop.dials[0].accept()
    stage.settle()
    stage.answer()
    assert client.take() == OK
    assert stage.retries() == {}


def test_a_dial_that_has_connected_meanwhile_is_not_raced(make_stage: MakeStage) -> None:
    stage = make_stage(2)
    stage.hold(1, 2)
    client = stage.ask()
    stage.clock.advance(0.3)
    stage.loop.run_due()
    stage.loop.dials[0].accept()
    stage.settle()
    assert len(stage.dialled) == 1
    stage.answer()
    assert client.take() == OK


def test_one_that_waits_gets_the_place_of_who_was_answered_meanwhile(make_stage: MakeStage) -> None:
    stage = make_stage(1, queue={"size": 3, "timeout": 2.0})
    stage.limit(1)
    stage.ask()
    client = stage.ask()
    stage.clock.advance(3.0)
    stage.loop.run_due()
    stage.upstream.receive(OK)
    stage.settle()
    stage.answer()
    assert client.take() == OK
    assert stage.rejected() == {}


def test_closes_seen_late_teach_no_idle_time(make_stage: MakeStage) -> None:
    stage = make_stage()
    for _ in range(3):
        _, upstream = stage.warm()
        stall(stage, 2.0, late=1.75)
        upstream.receive_eof()  # when, nobody knows
        stage.settle()
    assert stage.told == []


def test_an_idle_connection_found_closed_late_outlives_no_learned_time(make_stage: MakeStage) -> None:
    stage = make_stage()
    for _ in range(2):
        _, upstream = stage.warm()
        stage.advance(0.5)
        upstream.receive_eof()
        stage.settle()
        stage.advance(1)
    _, upstream = stage.warm()
    stall(stage, 2.0, late=1.75)
    upstream.receive_eof()
    stage.settle()
    stage.advance(0.25)
    client, _ = stage.warm()
    connects = stage.connects()
    stage.advance(0.45, sweep=False)
    stage.ask(client=client)
    assert stage.connects() == connects + 1  # it still is known that such an old one may be closing
    stage.answer()
    assert client.take() == OK


def test_where_the_look_takes_long_itself_the_next_sweep_judges(stage: Stage) -> None:
    client = stage.ask()
    stall(stage, 4.0)
    stage.clock.advance(0.2)  # in one of the turns in which all is read
    stage.settle()
    assert client.take() == b""
    stage.advance(0.25)
    assert status_of(client.take()) == 504


def test_nothing_is_judged_twice(stage: Stage) -> None:
    """Two sweeps may come before the first one's judgement."""
    client = stage.ask()
    stall(stage, 4.0)
    stall(stage, 0.01)
    stage.settle()
    assert status_of(client.take()) == 504
    assert stage.local_counted("first_byte_timeout") == 1


def test_what_is_given_back_has_to_be_earned_in_the_long_run() -> None:
    lateness = Lateness()
    assert lateness.swept(LATE_NS - 1) == 0
    assert lateness.swept(LATE_NS) == LATE_NS + SWEEP * 1e9
    assert lateness.looked(LATE_NS)
    assert not lateness.looked(LATE_NS - 1)
    assert lateness.swept(2 * MOST_OWED_NS) == MOST_OWED_NS - 2 * LATE_NS - SWEEP * 1e9
    assert lateness.swept(10**9) == 0
    assert not lateness.looked(10**9)
    for _ in range(4):
        assert lateness.swept(LATE_NS - 1) == 0
    assert lateness.swept(10**10) == 4 * SWEEP * 1e9
