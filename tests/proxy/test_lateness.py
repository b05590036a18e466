"""A worker that was late reads what arrived meanwhile before it judges deadlines, and extends them."""

from collections.abc import Callable

import pytest

from balancer.lateness import LATE_NS, MOST_OWED_NS, SWEEP, Lateness
from balancer.telemetry.columns import WORKER_LOCAL_RESPONSES
from tests.fakes.wire import FakeTransport
from tests.proxy.conftest import MakeHarness
from tests.proxy.harness import GET, OK, REASONS, Harness, status_of

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
def harness(make_harness: MakeHarness) -> Harness:
    return make_harness(timeouts=SHORT)


def stall(harness: Harness, seconds: float, late: float = 0.0) -> None:
    """One turn of the loop takes `seconds`, and then the sweep runs before anything is read. `late`: the
    lateness that it knows of."""
    harness.clock.advance(seconds)
    harness.proxy.sweep(round(late * 1e9))


def _awaits_head(harness: Harness) -> FakeTransport:
    return harness.ask()


def _awaits_more(harness: Harness) -> FakeTransport:
    client = harness.ask()
    harness.answer(PART)
    return client


def _is_idle(harness: Harness) -> FakeTransport:
    return harness.warm()[0]


def _sends_head(harness: Harness) -> FakeTransport:
    return harness.ask(GET[:10])


def _sends_body(harness: Harness) -> FakeTransport:
    return harness.ask(POST + b"o")


def _tunnels(harness: Harness) -> FakeTransport:
    client = harness.ask(UPGRADE)
    harness.answer(SWITCHED)
    client.take()
    return client


def _client_sends(data: bytes) -> Callable[[Harness, FakeTransport], None]:
    return lambda harness, client: client.receive(data)


def _upstream_sends(data: bytes) -> Callable[[Harness, FakeTransport], None]:
    return lambda harness, client: harness.upstream.receive(data)


WAITS = {
    "for a response's head": (_awaits_head, _upstream_sends(OK)),
    "for more of a response": (_awaits_more, _upstream_sends(b"k!")),
    "for the next request": (_is_idle, _client_sends(GET)),
    "for the rest of a head": (_sends_head, _client_sends(GET[10:])),
    "for the rest of a body": (_sends_body, _client_sends(b"k")),
    "for a byte in a tunnel": (_tunnels, _client_sends(b"x")),
}


@pytest.mark.parametrize("wait", WAITS)
def test_data_that_arrived_in_time_is_read_before_its_deadline_is_judged(harness: Harness, wait: str) -> None:
    begin, arrives = WAITS[wait]
    client = begin(harness)
    stall(harness, 4.0)
    assert not client.is_closing()
    arrives(harness, client)  # it was there already, unread
    harness.settle()
    assert not client.is_closing()
    if wait not in ("for more of a response", "for a byte in a tunnel"):
        harness.answer()
        assert client.take().endswith(OK)
    assert harness.page.row(0)[WORKER_LOCAL_RESPONSES:][: len(REASONS)].tolist() == [0] * len(REASONS)


@pytest.mark.parametrize("wait", WAITS)
def test_without_new_data_the_same_sweep_judges(harness: Harness, wait: str) -> None:
    client = WAITS[wait][0](harness)
    stall(harness, 4.0)
    harness.settle()
    # A client's error is answered, and it may ask again.
    assert client.is_closing() or client.eof_written or status_of(client.take()) == 504


@pytest.mark.parametrize("wait", WAITS)
def test_the_sweeps_own_lateness_is_added_to_the_deadline(harness: Harness, wait: str) -> None:
    client = WAITS[wait][0](harness)
    client.take()
    stall(harness, 4.0, late=3.75)
    harness.settle()
    harness.advance(2.9)  # 6.9 s, 4 of which do not count
    assert client.take() == b""
    assert not client.is_closing()
    harness.advance(0.2)
    assert client.is_closing() or client.eof_written or status_of(client.take()) == 504


def test_the_total_timeout_is_judged_after_reading_and_is_extended_too(make_harness: MakeHarness) -> None:
    harness = make_harness(timeouts={"total": 2.0})
    answered, left = harness.ask(), harness.upstream
    client = harness.ask()
    stall(harness, 2.5)
    left.receive(OK)
    harness.settle()
    assert answered.take() == OK
    assert status_of(client.take()) == 504
    client = harness.ask()
    stall(harness, 2.5, late=2.25)
    harness.settle()
    harness.advance(1.9)
    assert client.take() == b""
    harness.advance(0.2)
    assert status_of(client.take()) == 504
    harness.ask(client=client)  # the extension was that exchange's, not this one's
    harness.advance(2.1)
    assert status_of(client.take()) == 504


def test_a_deadline_missed_by_the_workers_lateness_ejects_no_upstream(make_harness: MakeHarness) -> None:
    outlier = {"enabled": True, "consecutive_5xx": 5, "consecutive_failures": 1}
    harness = make_harness(2, timeouts=SHORT, outlier=outlier)
    clients = [harness.ask() for _ in range(6)]
    stall(harness, 4.0)
    for transport in harness.loop.transports:
        transport.receive(OK)
    harness.settle()
    assert [client.take() for client in clients] == [OK] * 6
    assert not any(upstream.causes for upstream in harness.upstreams)


def test_a_dial_that_connected_meanwhile_is_used(harness: Harness) -> None:
    harness.hold(1)
    client = harness.ask()
    harness.clock.advance(2.5)  # its timer and the connection are handled in one turn, in this order
    harness.loop.run_due()
    harness.loop.dials[0].accept()
    harness.settle()
    harness.answer()
    assert client.take() == OK
    assert harness.retries() == {}


def test_a_dial_that_connected_meanwhile_starts_no_race(make_harness: MakeHarness) -> None:
    harness = make_harness(2)
    harness.hold(1, 2)
    client = harness.ask()
    harness.clock.advance(0.3)
    harness.loop.run_due()
    harness.loop.dials[0].accept()
    harness.settle()
    assert len(harness.dialled) == 1
    harness.answer()
    assert client.take() == OK


def test_a_waiting_request_gets_the_slot_of_one_that_was_answered_meanwhile(
    make_harness: MakeHarness,
) -> None:
    harness = make_harness(1, queue={"size": 3, "timeout": 2.0})
    harness.limit(1)
    harness.ask()
    client = harness.ask()
    harness.clock.advance(3.0)
    harness.loop.run_due()
    harness.upstream.receive(OK)
    harness.settle()
    harness.answer()
    assert client.take() == OK
    assert harness.rejected() == {}


def test_closes_seen_late_teach_no_idle_time(make_harness: MakeHarness) -> None:
    harness = make_harness()
    for _ in range(3):
        _, upstream = harness.warm()
        stall(harness, 2.0, late=1.75)
        upstream.receive_eof()  # when is unknown
        harness.settle()
    assert harness.told == []


def test_an_idle_connection_found_closed_late_does_not_refute_the_learned_time(
    make_harness: MakeHarness,
) -> None:
    harness = make_harness()
    for _ in range(2):
        _, upstream = harness.warm()
        harness.advance(0.5)
        upstream.receive_eof()
        harness.settle()
        harness.advance(1)
    _, upstream = harness.warm()
    stall(harness, 2.0, late=1.75)
    upstream.receive_eof()
    harness.settle()
    harness.advance(0.25)
    client, _ = harness.warm()
    connects = harness.connects()
    harness.advance(0.45, sweep=False)
    harness.ask(client=client)
    assert harness.connects() == connects + 1  # an idle connection that old is still known to be unsafe
    harness.answer()
    assert client.take() == OK


def test_if_reading_itself_takes_long_the_next_sweep_judges(harness: Harness) -> None:
    client = harness.ask()
    stall(harness, 4.0)
    harness.clock.advance(0.2)  # in one of the turns in which all is read
    harness.settle()
    assert client.take() == b""
    harness.advance(0.25)
    assert status_of(client.take()) == 504


def test_nothing_is_judged_twice(harness: Harness) -> None:
    """Two sweeps may run before the judgement of the first."""
    client = harness.ask()
    stall(harness, 4.0)
    stall(harness, 0.01)
    harness.settle()
    assert status_of(client.take()) == 504
    assert harness.local_counted("first_byte_timeout") == 1


def test_extensions_are_limited_by_good_time() -> None:
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
