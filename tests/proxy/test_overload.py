"""Overload as seen by clients: which requests are refused, with which response, and learned patience."""

import pytest

from balancer.errors import WANT_OF_A_SLOT
from tests.proxy.conftest import MakeHarness
from tests.proxy.harness import GET, OK, Harness, head_of, status_of

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n"


@pytest.fixture
def full(make_harness: MakeHarness) -> Harness:
    """One upstream with a limit of one request, which it has."""
    harness = make_harness(1, queue={"size": 1000})
    harness.limit(1)
    harness.ask()
    return harness


def _leave(harness: Harness, seconds: float, number: int) -> None:
    """`number` clients send a request, wait for `seconds`, and leave."""
    clients = [harness.ask() for _ in range(number)]
    harness.advance(seconds)
    for client in clients:
        client.receive_eof()
    harness.settle()


def _retry_after(sent: bytes) -> int:
    (line,) = [line for line in head_of(sent) if line.startswith(b"Retry-After: ")]
    return int(line.partition(b": ")[2])


def test_clients_that_leave_the_queue_shorten_the_deadline(full: Harness) -> None:
    for _ in range(3):
        _leave(full, 1.5, 20)
    client = full.ask()
    full.advance(0.59)
    assert client.take() == b""
    full.advance(0.02)
    assert status_of(client.take()) == 503
    assert full.logged()["reason"] == "queue_timeout"


def test_clients_that_leave_before_the_response_begins_shorten_the_deadline(
    make_harness: MakeHarness,
) -> None:
    harness = make_harness(1, queue={"size": 1000})
    for _ in range(3):
        _leave(harness, 1.5, 20)
    harness.limit(1)
    harness.ask()
    client = harness.ask()
    harness.advance(0.61)
    assert status_of(client.take()) == 503


@pytest.mark.parametrize("how", ["in mid-response", "in mid-request"])
def test_clients_that_leave_within_a_response_do_not_shorten_the_deadline(
    make_harness: MakeHarness, how: str
) -> None:
    harness = make_harness(1, queue={"size": 1000})
    for _ in range(3):
        clients = []
        for _ in range(20):
            clients.append(harness.ask(GET if how == "in mid-response" else POST + b"abc"))
            if how == "in mid-response":
                harness.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        harness.advance(1.5)
        for client in clients:
            client.receive_eof()
        harness.settle()
    harness.limit(1)
    harness.ask()
    client = harness.ask()
    harness.advance(4.9)
    assert client.take() == b""


def test_requests_that_could_not_be_served_in_time_are_503_at_once(full: Harness) -> None:
    for _ in range(40):  # ten slots a second
        for _ in range(3):
            full.ask()
        full.advance(0.1)
        full.answer()
    full.ask()
    waiting = full.waiting
    assert 45 <= waiting <= 55  # for five seconds
    sent = full.ask().take()
    assert status_of(sent) == 503
    assert (
        b'Proxy-Status: balancer; error=connection_limit_reached; details="queue_would_time_out"'
        in head_of(sent)
    )
    assert 5 <= _retry_after(sent) <= 10
    assert full.rejected()["would_time_out"] == full.local_counted("queue_would_time_out") >= 1
    assert (full.waiting, full.logged()["reason"]) == (waiting, "queue_would_time_out")


def test_a_connection_stays_open_after_a_refusal(full: Harness) -> None:
    full.limit(1)
    for _ in range(1000):
        full.ask()
    client = full.ask()
    assert status_of(client.take()) == 503
    full.limit(0)
    full.settle()
    full.ask(client=client)
    full.answer()
    assert client.take() == OK


def test_retry_after_of_other_failures_is_1s(full: Harness) -> None:
    for _ in range(40):
        for _ in range(3):
            full.ask()
        full.advance(0.1)
        full.answer()
    full.tell()
    full.settle()
    sent = [data for client in full.clients if b'details="no_upstream"' in (data := client.take())]
    assert {_retry_after(data) for data in sent} == {1}


def test_which_failures_have_a_retry_after() -> None:
    assert {"upstreams_full", "queue_full", "queue_would_time_out", "queue_timeout"} == WANT_OF_A_SLOT
