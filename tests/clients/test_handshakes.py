"""From the accept to the end of the handshake, on a fake clock and fake sockets."""

import ssl
from collections.abc import Iterator
from typing import Any

import pytest

from balancer.clients.arrival import OVER, SHAKING, SILENT, STARTED, WAITING, Arrival
from balancer.clients.handshakes import Handshakes
from balancer.telemetry.columns import (
    HANDSHAKE_RESULTS,
    LISTENER_CONNECTIONS,
    LISTENER_CONNECTIONS_TOTAL,
    LISTENER_TLS_HANDSHAKES,
)
from tests.fakes.arrivals import ArrivalLoop, ArrivingSocket
from tests.fakes.tls_specs import tls_spec
from tests.fakes.wire import FakeTransport, Wire, start_message

HELLO = b"\x16\x03\x01\x00\x10" + b"h" * 16
MOST = 4
ADDRESS = "198.51.100.7"


class Listening(Wire):
    """A worker with a TLS listener; at most MOST handshakes run at once. `socks` are the connections."""

    def __init__(self, **changes: Any) -> None:
        super().__init__(start_message(tls=tls_spec(), **changes))
        self.arrivals = ArrivalLoop(self.clock)  # type: ignore[abstract]  # as FakeLoop
        self.proxy._clients_context.loop = self.arrivals
        handshakes = self.proxy.handshakes
        assert handshakes is not None
        self.handshakes: Handshakes = handshakes
        handshakes._most = MOST
        self.socks: list[ArrivingSocket] = []
        self.kept: list[ArrivingSocket] = []  # by a client's transport

    def accept(self, data: bytes = b"", *, ended: bool = False, address: str = ADDRESS) -> ArrivingSocket:
        """A connection; `data` has arrived already."""
        sock = ArrivingSocket(1000 + len(self.socks))
        self.socks.append(sock)
        sock.sent, sock.ended = data, ended
        self.handshakes.accepted(sock, address)
        return sock

    def turn(self) -> None:
        """Run what is ready."""
        self.arrivals.settle()

    def pass_time(self, seconds: float) -> None:
        """Let time pass, with sweeps."""
        self.clock.advance(seconds)
        self.turn()
        self.proxy.sweep()
        self.turn()

    def state(self, sock: ArrivingSocket) -> int:
        """How far a connection is."""
        found = [arrival for arrival in self.handshakes._all if arrival._sock is sock]
        return found[0].state if found else OVER

    def become(self, number: int) -> FakeTransport:
        """That handshake is over."""
        handshake = self.arrivals.handshakes[number]
        protocol = handshake.factory()
        transport = Secure(self.loop, protocol)
        handshake.fail(None)  # its future: now there is a client
        self.turn()
        return transport

    def results(self) -> dict[str, int]:
        cells = self.page.row(1)[LISTENER_TLS_HANDSHAKES:]
        return {result: count for result, count in zip(HANDSHAKE_RESULTS, cells, strict=False) if count}

    def count(self, column: int) -> int:
        return self.page.row(1)[column]


class Secure(FakeTransport):
    """As uvloop's TLS transport."""

    def set_read_buffer_limits(self, high: int) -> None:
        """It is not a fake of this."""

    def get_extra_info(self, name: str, default: object = None) -> object:
        return self if name == "ssl_object" else super().get_extra_info(name, default)

    def getpeercert(self, binary: bool) -> bytes | None:
        return None


@pytest.fixture
def listening() -> Iterator[Listening]:
    made = Listening(timeouts={"request_head": 10.0})
    yield made
    finish(made)


def finish(made: Listening) -> None:
    """Nothing is left behind."""
    made.proxy.abort_all()
    made.turn()
    made.settle()
    assert made.handshakes._all == {}
    assert made.handshakes._running == {}
    assert made.arrivals.polled == {}
    assert all(sock.is_closed for sock in made.socks if sock not in made.kept)
    for sock in made.kept:
        sock.close()
    assert made.count(LISTENER_CONNECTIONS) == 0
    made.close()


# --- the first bytes


def test_a_connection_counts_from_its_accept(listening: Listening) -> None:
    sock = listening.accept()
    assert listening.state(sock) == SILENT
    assert listening.proxy.connections == 1
    assert listening.count(LISTENER_CONNECTIONS) == listening.count(LISTENER_CONNECTIONS_TOTAL) == 1


def test_a_hello_that_is_there_already_begins_the_handshake(listening: Listening) -> None:
    sock = listening.accept(HELLO)
    assert listening.state(sock) == WAITING
    listening.turn()
    assert listening.state(sock) == SHAKING
    assert listening.arrivals.polled == {}


def test_the_worker_is_woken_only_when_a_hello_is_whole(listening: Listening) -> None:
    sock = listening.accept()
    assert sock.low_water == 1
    listening.arrivals.arrives(sock, HELLO[:1])
    assert (listening.state(sock), sock.low_water) == (STARTED, 5)
    listening.arrivals.arrives(sock, HELLO[1:5])
    assert (listening.state(sock), sock.low_water) == (STARTED, len(HELLO))
    listening.arrivals.arrives(sock, HELLO[5:])
    assert (listening.state(sock), sock.low_water) == (WAITING, 1)


@pytest.mark.parametrize("data", [b"", HELLO[:3], HELLO[:10], b"GE"])
def test_a_fin_before_there_is_enough_is_a_client_that_left(listening: Listening, data: bytes) -> None:
    sock = listening.accept(data)
    listening.arrivals.arrives(sock, ended=True)
    assert sock.is_closed
    assert listening.results() == {"left": 1}


def test_a_kernel_that_is_short_of_memory_wakes_too_early(listening: Listening) -> None:
    """It then minds no low-water mark. That is no end, and no reason to look all the time."""
    sock = listening.accept(HELLO[:2])
    for _ in range(3):
        listening.arrivals.polled.pop(sock.fileno())()
        assert listening.arrivals.polled == {}
        listening.clock.advance(0.11)
        listening.turn()
    assert not sock.is_closed
    listening.arrivals.arrives(sock, HELLO[2:])
    listening.turn()
    assert [one.sock for one in listening.arrivals.handshakes] == [sock]


def test_what_is_not_tls_is_closed(listening: Listening) -> None:
    assert listening.accept(b"\x80hello").is_closed
    assert listening.results() == {"not_tls": 1}


# --- the end of a handshake


def test_a_client_counts_once(listening: Listening) -> None:
    listening.kept.append(listening.accept(HELLO))
    listening.turn()
    transport = listening.become(0)
    assert listening.results() == {"ok": 1}
    assert listening.proxy.connections == listening.count(LISTENER_CONNECTIONS) == 1
    assert listening.count(LISTENER_CONNECTIONS_TOTAL) == 1
    transport.receive(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    listening.settle()
    assert b"X-Forwarded-Proto: https" in listening.upstream.take()
    transport.lose()
    assert listening.proxy.connections == listening.count(LISTENER_CONNECTIONS) == 0


@pytest.mark.parametrize(
    ("error", "result"),
    [
        pytest.param(None, "left", id="uvloop: the connection was closed"),
        pytest.param(ConnectionResetError(), "left", id="reset"),
        pytest.param(ssl.SSLError(1, "[SSL: UNSUPPORTED_PROTOCOL]"), "failed", id="versions"),
        pytest.param(ssl.SSLCertVerificationError(), "client_certificate", id="invalid certificate"),
    ],
)
def test_a_handshake_that_fails_is_counted(
    listening: Listening, error: Exception | None, result: str
) -> None:
    sock = listening.accept(HELLO)
    listening.turn()
    listening.arrivals.handshakes[0].fail(error)
    listening.turn()
    assert sock.is_closed
    assert listening.results() == {result: 1}
    assert listening.proxy.connections == 0


# --- deadlines


@pytest.mark.parametrize("data", [b"", HELLO[:3], HELLO], ids=["silent", "started", "shaking"])
def test_the_deadline_is_that_of_a_request_head_from_the_accept(listening: Listening, data: bytes) -> None:
    sock = listening.accept(data)
    listening.turn()
    listening.pass_time(9.9)
    assert not sock.is_closed
    listening.pass_time(0.2)
    listening.turn()
    assert sock.is_closed
    assert listening.results() == {"timeout": 1}


def test_those_that_wait_for_their_turn_have_the_same_deadline(listening: Listening) -> None:
    for _ in range(MOST):
        listening.accept(HELLO)
        listening.turn()
    listening.clock.advance(0.5)
    late = listening.accept(HELLO)
    listening.turn()
    assert listening.state(late) == WAITING
    assert len(listening.arrivals.handshakes) == MOST


def test_what_arrives_in_time_counts_even_if_the_worker_sees_it_late(listening: Listening) -> None:
    sock = listening.accept()
    listening.clock.advance(10.1)
    listening.proxy.sweep(late_ns=200_000_000)
    listening.turn()
    assert not sock.is_closed


def test_all_that_are_overdue_end_some_in_each_turn(listening: Listening) -> None:
    for _ in range(200):
        listening.accept()
    listening.pass_time(10.1)
    assert listening.results() == {"timeout": 200}


def test_a_handshake_that_is_over_in_the_turn_in_which_it_was_ended_makes_no_client(
    listening: Listening,
) -> None:
    listening.accept(HELLO)
    listening.turn()
    next(iter(listening.handshakes._all)).end("timeout")
    transport = Secure(listening.loop, listening.arrivals.handshakes[0].factory())
    assert transport.aborted
    listening.turn()
    listening.settle()
    assert listening.proxy.connections == 0
    assert listening.results() == {"timeout": 1}


# --- turns


def test_in_one_turn_eight_handshakes_begin(listening: Listening) -> None:
    listening.handshakes._most = 100
    socks = [listening.accept(HELLO) for _ in range(20)]
    listening.handshakes._begin_next()
    states = [listening.state(sock) for sock in socks]
    assert states == [SHAKING] * 8 + [WAITING] * 12
    listening.turn()
    assert [listening.state(sock) for sock in socks] == [SHAKING] * 20


def test_they_begin_in_their_order(listening: Listening) -> None:
    socks = [listening.accept(HELLO) for _ in range(MOST + 3)]
    listening.turn()
    assert [one.sock for one in listening.arrivals.handshakes] == socks[:MOST]
    for number in range(3):
        listening.arrivals.handshakes[number].fail(ConnectionResetError())
        listening.turn()
    assert [one.sock for one in listening.arrivals.handshakes] == socks


def test_those_that_have_left_are_passed_over(listening: Listening) -> None:
    socks = [listening.accept(HELLO) for _ in range(MOST + 3)]
    listening.turn()
    waiting = [arrival for arrival in listening.handshakes._all if arrival.state == WAITING]
    waiting[0].end("left")
    listening.arrivals.handshakes[0].fail(ConnectionResetError())
    listening.turn()
    assert listening.arrivals.handshakes[-1].sock is socks[MOST + 1]


def test_a_handshake_of_a_second_makes_place_for_one_that_waits(listening: Listening) -> None:
    slow = [listening.accept(HELLO) for _ in range(MOST)]
    listening.turn()
    good = listening.accept(HELLO)
    listening.pass_time(0.9)
    assert listening.state(good) == WAITING
    listening.pass_time(0.2)
    assert listening.state(good) == SHAKING
    assert [sock.is_closed for sock in slow] == [True, False, False, False]
    assert listening.results() == {"dropped": 1}


# --- when all connections are taken


def test_the_one_that_has_been_silent_for_longest_makes_room() -> None:
    listening = Listening(limits={"max_connections": 3})
    socks = []
    for data in (HELLO, b"", b""):
        socks.append(listening.accept(data))
        listening.clock.advance(0.01)
    listening.accept(HELLO)
    assert [sock.is_closed for sock in socks] == [False, True, False]
    finish(listening)


def test_one_that_has_just_begun_to_speak_does_not() -> None:
    listening = Listening(limits={"max_connections": 1})
    sock = listening.accept()
    sock.sent = HELLO[:5]  # the worker has not seen it yet
    assert listening.accept(HELLO).is_closed
    assert not sock.is_closed
    finish(listening)


def test_a_slow_handshake_makes_room() -> None:
    listening = Listening(limits={"max_connections": 1})
    sock = listening.accept(HELLO)
    listening.turn()
    assert listening.accept(HELLO).is_closed
    listening.clock.advance(1.1)
    assert not listening.accept(HELLO).is_closed
    listening.turn()
    assert sock.is_closed
    finish(listening)


# --- the end of the worker


def test_a_drain_gives_silent_ones_a_moment_and_the_others_all_their_time(listening: Listening) -> None:
    started, silent = listening.accept(HELLO[:3]), listening.accept()
    listening.proxy.drain()
    listening.pass_time(0.9)
    assert not silent.is_closed
    listening.pass_time(0.2)
    assert silent.is_closed
    assert not started.is_closed
    listening.pass_time(9)
    assert started.is_closed


def test_a_client_whose_handshake_ends_in_a_drain_gets_a_moment(listening: Listening) -> None:
    listening.kept.append(listening.accept(HELLO))
    listening.turn()
    listening.proxy.drain()
    listening.become(0)
    client = next(iter(listening.proxy._clients))
    assert client.deadline_ns - listening.clock.monotonic_ns() == 1_000_000_000
    client.exchange.client.reset()


def test_nothing_of_an_arrival_is_held_when_it_is_over(listening: Listening) -> None:
    listening.accept(HELLO)
    listening.turn()
    arrival: Arrival = next(iter(listening.handshakes._all))
    arrival.end("dropped")
    arrival.end("dropped")
    listening.turn()
    assert arrival._task is None
    assert listening.results() == {"dropped": 1}
