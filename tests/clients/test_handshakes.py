"""From the accept to the end of the handshake, on a fake clock and fake transports, by OpenSSL itself."""

import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trustme

from balancer.clients.arrival import OVER, REFUSED, SHAKING, SILENT, STARTED, WAITING, Arrival
from balancer.clients.handshakes import Handshakes
from balancer.telemetry.columns import (
    HANDSHAKE_RESULTS,
    LISTENER_CONNECTIONS,
    LISTENER_CONNECTIONS_TOTAL,
    LISTENER_TLS_HANDSHAKES,
)
from tests.fakes.arrivals import ArrivingClient
from tests.fakes.messages import TLS_ROW
from tests.fakes.tls_specs import client_ca, client_context, tls_spec, with_client_certificate
from tests.fakes.wire import Wire, start_message

RECORD = b"\x16\x03\x01\x00\x10" + b"h" * 16  # of TLS, but no ClientHello
REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
MOST = 4
ADDRESS = "198.51.100.7"


class Listening(Wire):
    """A worker with a TLS listener; at most MOST handshakes run at once. `arrived` are the connections."""

    def __init__(self, tls: dict[str, Any] | None = None, **changes: Any) -> None:
        super().__init__(start_message(tls=tls_spec(**(tls or {})), **changes))
        handshakes = self.proxy.handshakes
        assert handshakes is not None
        self.handshakes: Handshakes = handshakes
        handshakes._most = MOST
        self.arrived: list[ArrivingClient] = []

    def accept(self, data: bytes = b"", context: ssl.SSLContext | None = None) -> ArrivingClient:
        """A connection that sends `data`."""
        client = ArrivingClient(self.loop, self.handshakes, ADDRESS, context)
        self.arrived.append(client)
        if data:
            client.transport.receive(data)
        return client

    def accept_hello(self, context: ssl.SSLContext | None = None) -> ArrivingClient:
        """A connection that sends a ClientHello."""
        client = self.accept(context=context)
        client.transport.receive(client.hello())
        return client

    def pass_time(self, seconds: float) -> None:
        """Let time pass, with sweeps."""
        self.clock.advance(seconds)
        self.settle()
        self.proxy.sweep()
        self.settle()

    def results(self) -> dict[str, int]:
        cells = self.page.row(TLS_ROW)[LISTENER_TLS_HANDSHAKES:]
        return {result: count for result, count in zip(HANDSHAKE_RESULTS, cells, strict=False) if count}

    def count(self, column: int) -> int:
        return self.page.row(TLS_ROW)[column]


def state(client: ArrivingClient) -> int:
    """How far it is."""
    arrival = client.arrival
    assert isinstance(arrival, Arrival)
    return arrival.state


def is_closed(client: ArrivingClient) -> bool:
    return client.transport.is_closing()


@pytest.fixture
def listening() -> Iterator[Listening]:
    made = Listening(timeouts={"request_head": 10.0})
    yield made
    finish(made)


def finish(made: Listening) -> None:
    """Nothing is left behind."""
    made.proxy.abort_all()
    made.settle()
    assert made.handshakes._all == {}
    assert made.handshakes._running == {}
    assert made.handshakes._refused == {}
    assert all(is_closed(client) for client in made.arrived)
    assert made.count(LISTENER_CONNECTIONS) == 0
    made.close()


# --- the first bytes


def test_a_connection_counts_from_its_accept(listening: Listening) -> None:
    assert state(listening.accept()) == SILENT
    assert listening.proxy.connections == 1
    assert listening.count(LISTENER_CONNECTIONS) == listening.count(LISTENER_CONNECTIONS_TOTAL) == 1


def test_a_handshake_begins_only_when_its_first_record_is_whole(listening: Listening) -> None:
    client = listening.accept()
    hello = client.hello()
    for start, end in ((0, 1), (1, 5), (5, 100)):
        client.transport.receive(hello[start:end])
        assert state(client) == STARTED
    client.transport.receive(hello[100:])
    assert state(client) == WAITING
    listening.settle()
    assert state(client) == SHAKING


@pytest.mark.parametrize("data", [b"", RECORD[:3], RECORD[:10], b"GE"])
def test_a_fin_before_there_is_enough_is_a_client_that_left(listening: Listening, data: bytes) -> None:
    client = listening.accept(data)
    client.transport.receive_eof()
    listening.settle()
    assert listening.results() == {"left": 1}


def test_what_is_not_tls_is_closed(listening: Listening) -> None:
    assert is_closed(listening.accept(b"\x80hello"))
    assert listening.results() == {"not_tls": 1}


def test_what_follows_a_first_record_that_waits_for_its_turn_is_not_read(listening: Listening) -> None:
    client = listening.accept_hello()
    assert client.transport.reading
    client.transport.receive(b"more")
    assert not client.transport.reading
    listening.settle()
    assert client.transport.reading


@pytest.mark.parametrize("pieces", [1, 2])
def test_nobody_sends_much_before_a_handshake_begins(listening: Listening, pieces: int) -> None:
    client = listening.accept()
    data = client.hello() + b"x" * 48 * 1024
    for start in range(0, len(data), size := -(-len(data) // pieces)):
        client.transport.receive(data[start : start + size])
    assert is_closed(client)
    assert listening.results() == {"failed": 1}


# --- the end of a handshake


def test_a_client_counts_once(listening: Listening) -> None:
    client = listening.accept_hello()
    listening.settle()
    client.shake_hands()
    assert listening.results() == {"ok": 1}
    assert listening.proxy.connections == listening.count(LISTENER_CONNECTIONS) == 1
    assert listening.count(LISTENER_CONNECTIONS_TOTAL) == 1
    client.write(REQUEST)
    listening.settle()
    assert b"X-Forwarded-Proto: https" in listening.upstream.take()
    client.transport.lose()
    assert listening.proxy.connections == listening.count(LISTENER_CONNECTIONS) == 0


def test_a_request_that_comes_with_the_end_of_the_handshake_is_served(listening: Listening) -> None:
    client = listening.accept_hello()
    listening.settle()
    client._incoming.write(client.transport.take())
    client.tls.do_handshake()
    client.write(REQUEST)
    listening.settle()
    assert b"X-Forwarded-Proto: https" in listening.upstream.take()


def test_a_client_that_leaves_in_its_handshake_is_counted(listening: Listening) -> None:
    client = listening.accept_hello()
    listening.settle()
    client.transport.lose(ConnectionResetError())
    assert listening.results() == {"left": 1}
    assert listening.proxy.connections == 0


def only_1_2() -> ssl.SSLContext:
    context = client_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


def of_a_stranger() -> ssl.SSLContext:
    """It has a certificate of another authority than asked for."""
    context = client_context()
    with_client_certificate(context)
    return context


def said_to(client: ArrivingClient) -> str:
    """The alert. With TLS 1.3 a client has finished its handshake before it can get one."""
    try:
        client.shake_hands()
        client.read()
    except ssl.SSLError as error:
        return error.reason
    return ""


def other_ca() -> bytes:
    return trustme.CA().cert_pem.bytes()


REFUSALS: dict[str, tuple[dict[str, Any], Callable[[], ssl.SSLContext], str, str]] = {
    "version": ({"min_version": "1.3"}, only_1_2, "failed", "PROTOCOL_VERSION"),
    "no certificate": (
        {"client_ca": client_ca(), "client_required": True},
        client_context,
        "client_certificate",
        "CERTIFICATE_REQUIRED",
    ),
    "certificate of a stranger": (
        {"client_ca": other_ca()},
        of_a_stranger,
        "client_certificate",
        "UNKNOWN_CA",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_client_that_is_refused_is_told_why(case: str) -> None:
    tls, context, result, alert = REFUSALS[case]
    listening = Listening(tls)
    client = listening.accept_hello(context())
    listening.settle()
    assert alert in said_to(client)
    assert state(client) == REFUSED
    assert client.transport.eof_written
    assert listening.results() == {result: 1}
    finish(listening)


def test_what_is_no_hello_is_refused_too(listening: Listening) -> None:
    client = listening.accept(RECORD)
    listening.settle()
    assert client.transport.take()[0] == 21  # an alert
    assert listening.results() == {"failed": 1}


def test_a_refused_client_has_a_second_to_read_why(listening: Listening) -> None:
    client = listening.accept(RECORD)
    listening.settle()
    client.transport.receive(b"what it had sent meanwhile")
    listening.pass_time(0.9)
    assert not is_closed(client)
    assert listening.proxy.connections == 1
    listening.pass_time(0.2)
    assert is_closed(client)
    assert listening.proxy.connections == 0
    assert listening.results() == {"failed": 1}


def test_a_refused_client_that_closes_is_gone(listening: Listening) -> None:
    client = listening.accept(RECORD)
    listening.settle()
    client.transport.receive_eof()
    listening.settle()
    assert listening.proxy.connections == 0


def test_refused_clients_take_no_place_of_a_handshake(listening: Listening) -> None:
    for _ in range(3 * MOST):
        listening.accept(RECORD)
    listening.settle()
    assert listening.results() == {"failed": 3 * MOST}


# --- deadlines


@pytest.mark.parametrize("kind", ["silent", "started", "shaking"])
def test_the_deadline_is_that_of_a_request_head_from_the_accept(listening: Listening, kind: str) -> None:
    client = (
        listening.accept_hello() if kind == "shaking" else listening.accept(RECORD[:3] * (kind == "started"))
    )
    listening.settle()
    listening.pass_time(9.9)
    assert not is_closed(client)
    listening.pass_time(0.2)
    assert is_closed(client)
    assert listening.results() == {"timeout": 1}


def test_those_that_wait_for_their_turn_have_the_same_deadline(listening: Listening) -> None:
    running = [listening.accept_hello() for _ in range(MOST)]
    listening.settle()
    listening.clock.advance(0.5)
    late = listening.accept_hello()
    listening.settle()
    assert [state(client) for client in (*running, late)] == [SHAKING] * MOST + [WAITING]


def test_what_arrives_in_time_counts_even_if_the_worker_sees_it_late(listening: Listening) -> None:
    client = listening.accept()
    listening.clock.advance(10.1)
    listening.proxy.sweep(late_ns=200_000_000)
    listening.settle()
    assert not is_closed(client)


def test_all_that_are_overdue_end_some_in_each_turn(listening: Listening) -> None:
    for _ in range(200):
        listening.accept()
    listening.pass_time(10.1)
    assert listening.results() == {"timeout": 200}


def test_what_arrives_after_the_end_is_discarded(listening: Listening) -> None:
    client = listening.accept_hello()
    listening.settle()
    assert isinstance(client.arrival, Arrival)
    client.arrival.end("timeout")
    client.arrival.data_received(b"more")
    listening.settle()
    assert listening.proxy.connections == 0
    assert listening.results() == {"timeout": 1}


# --- turns


def test_in_one_turn_eight_handshakes_begin(listening: Listening) -> None:
    listening.handshakes._most = 100
    clients = [listening.accept_hello() for _ in range(20)]
    listening.handshakes._begin_next()
    assert [state(client) for client in clients] == [SHAKING] * 8 + [WAITING] * 12
    listening.settle()
    assert [state(client) for client in clients] == [SHAKING] * 20


def test_they_begin_in_their_order(listening: Listening) -> None:
    clients = [listening.accept_hello() for _ in range(MOST + 3)]
    listening.settle()
    for begun in range(MOST, MOST + 3):
        assert [state(client) for client in clients[begun - MOST :]] == (
            [SHAKING] * MOST + [WAITING] * (MOST + 3 - begun)
        )
        clients[begun - MOST].transport.lose()
        listening.settle()


def test_those_that_have_left_are_passed_over(listening: Listening) -> None:
    clients = [listening.accept_hello() for _ in range(MOST + 3)]
    listening.settle()
    clients[MOST].transport.lose()
    clients[0].transport.lose()
    listening.settle()
    assert [state(client) for client in clients[MOST:]] == [OVER, SHAKING, WAITING]


def test_a_handshake_of_a_second_makes_place_for_one_that_waits(listening: Listening) -> None:
    slow = [listening.accept_hello() for _ in range(MOST)]
    listening.settle()
    good = listening.accept_hello()
    listening.pass_time(0.9)
    assert state(good) == WAITING
    listening.pass_time(0.2)
    assert state(good) == SHAKING
    assert [is_closed(client) for client in slow] == [True, False, False, False]
    assert listening.results() == {"dropped": 1}


# --- when all connections are taken


def test_the_one_that_has_been_silent_for_longest_makes_room() -> None:
    listening = Listening(limits={"max_connections": 3})
    clients = []
    for hello in (True, False, False):
        clients.append(listening.accept_hello() if hello else listening.accept())
        listening.clock.advance(0.01)
    listening.accept_hello()
    assert [is_closed(client) for client in clients] == [False, True, False]
    finish(listening)


def test_a_refused_one_makes_room() -> None:
    listening = Listening(limits={"max_connections": 1})
    refused = listening.accept(RECORD)
    listening.settle()
    assert not is_closed(listening.accept())
    assert is_closed(refused)
    finish(listening)


def test_one_that_has_just_begun_to_speak_does_not() -> None:
    listening = Listening(limits={"max_connections": 1})
    client = listening.accept()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        client.transport.has_socket(ours)
        theirs.send(RECORD)  # the worker has not seen it yet
        assert is_closed(listening.accept_hello())
        assert not is_closed(client)
        finish(listening)


def test_a_slow_handshake_makes_room() -> None:
    listening = Listening(limits={"max_connections": 1})
    client = listening.accept_hello()
    listening.settle()
    assert is_closed(listening.accept())
    listening.clock.advance(1.1)
    assert not is_closed(listening.accept())
    listening.settle()
    assert is_closed(client)
    finish(listening)


# --- the end of the worker


def test_a_drain_gives_silent_ones_a_moment_and_the_others_all_their_time(listening: Listening) -> None:
    started, silent = listening.accept(RECORD[:3]), listening.accept()
    listening.proxy.drain()
    listening.pass_time(0.9)
    assert not is_closed(silent)
    listening.pass_time(0.2)
    assert is_closed(silent)
    assert not is_closed(started)
    listening.pass_time(9)
    assert is_closed(started)


def test_a_client_whose_handshake_ends_in_a_drain_gets_a_moment(listening: Listening) -> None:
    client = listening.accept_hello()
    listening.settle()
    listening.proxy.drain()
    client.shake_hands()
    served = next(iter(listening.proxy._clients))
    assert served.deadline_ns - listening.clock.monotonic_ns() == 1_000_000_000
