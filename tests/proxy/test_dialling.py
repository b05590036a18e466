"""Dialling: a failure leads to another upstream, a slow dial to a race; for any method, as nothing was
sent."""

import errno

import pytest

from balancer.connections.dial import MOST_AT_ONCE
from balancer.errors import Outcome
from tests.proxy.conftest import MakeHarness
from tests.proxy.harness import GET, OK, Harness, body_of, head_of, status_of

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
REQUESTS = {"GET": GET, "POST": POST}

ERRORS: dict[str, tuple[Exception, int, str]] = {
    "refused": (ConnectionRefusedError(), 502, "connect_refused"),
    "unreachable": (OSError(errno.EHOSTUNREACH, "no route"), 502, "connect_failed"),
    "reset": (ConnectionResetError(), 502, "connect_failed"),
    "out of ports": (OSError(errno.EADDRNOTAVAIL, "no port"), 502, "connect_failed"),
}


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("request_", REQUESTS)
def test_after_a_failed_dial_the_next_upstream_is_tried(
    make_harness: MakeHarness, error: str, request_: str
) -> None:
    harness = make_harness(2)
    harness.refuse(1, error=ERRORS[error][0])
    client = harness.ask(REQUESTS[request_])
    assert harness.dialled == ["10.0.0.1", "10.0.0.2"]
    assert body_of(harness.upstream.take()) == body_of(REQUESTS[request_])
    assert harness.inflight == [0, 1]
    harness.answer()
    assert client.take() == OK
    assert harness.retries() == {"connect_failed": 1}
    record = harness.logged()
    assert (record["attempts"], record["upstream"], record["reason"]) == (2, "app2:8000", None)


@pytest.mark.parametrize("error", ERRORS)
def test_if_all_dials_fail_the_last_failure_is_answered(make_harness: MakeHarness, error: str) -> None:
    exception, status, reason = ERRORS[error]
    harness = make_harness(2)
    harness.refuse(1, error=ConnectionRefusedError())
    harness.refuse(2, error=exception)
    client = harness.ask()
    sent = client.take()
    assert status_of(sent) == status
    assert harness.local_counted(reason) == 1
    assert not client.is_closing()
    assert harness.dialled == ["10.0.0.1", "10.0.0.2"]
    assert (harness.logged()["attempts"], harness.logged()["reason"]) == (2, reason)


@pytest.mark.parametrize("attempts", [1, 2, 3])
def test_dials_are_bounded_by_max_attempts(make_harness: MakeHarness, attempts: int) -> None:
    harness = make_harness(5, retry={"max_attempts": attempts})
    harness.refuse(1, 2, 3, 4, 5, error=OSError(113, "no route"))
    client = harness.ask()
    assert status_of(client.take()) == 502
    assert len(harness.loop.dials) == attempts
    assert harness.retries() == ({"connect_failed": attempts - 1} if attempts > 1 else {})


@pytest.mark.parametrize(("attempts", "dials"), [(1, 1), (2, 5), (3, 5)])
def test_refused_dials_do_not_count_as_attempts_unless_retries_are_off(
    make_harness: MakeHarness, attempts: int, dials: int
) -> None:
    """While most of a pool is down and not yet ejected, the remaining upstreams must be found."""
    harness = make_harness(5, retry={"max_attempts": attempts})
    harness.refuse(1, 2, 3, 4)
    client = harness.ask()
    assert len(harness.loop.dials) == dials
    if dials == 5:
        harness.answer()
        assert status_of(client.take()) == 200


def test_in_a_large_pool_not_all_upstreams_are_dialled(make_harness: MakeHarness) -> None:
    harness = make_harness(100)
    harness.refuse(*range(1, 101))
    client = harness.ask()
    assert status_of(client.take()) == 502
    assert len(harness.loop.dials) == 3 + 32


def test_without_any_address_the_answer_is_503(make_harness: MakeHarness) -> None:
    harness = make_harness(2)
    for number in (1, 2):
        harness.move(number, "")
    client = harness.ask()
    sent = client.take()
    assert status_of(sent) == 503
    assert b"Retry-After: 1" in head_of(sent)
    assert harness.local_counted("no_upstream") == 1
    assert not client.is_closing()
    harness.move(2, "10.0.0.2")
    harness.ask(client=client)
    assert harness.dialled == ["10.0.0.2"]
    harness.answer()
    assert client.take() == OK


def test_connect_timeout_tries_the_next_upstream(make_harness: MakeHarness) -> None:
    harness = make_harness(1)
    harness.hold(1)
    client = harness.ask()
    harness.advance(0.99)
    assert client.take() == b""
    harness.advance(0.02)
    assert status_of(client.take()) == 504
    assert harness.local_counted("connect_timeout") == 1
    assert not harness.loop.dials[0].pending


def test_connect_timeout_applies_to_a_race_too(make_harness: MakeHarness) -> None:
    harness = make_harness(2)
    harness.hold(1, 2)
    client = harness.ask()
    for _ in range(6):
        harness.advance(0.25)
    assert status_of(client.take()) == 504
    assert harness.inflight == [0, 0]


def test_without_connect_timeout_the_first_byte_timeout_applies(make_harness: MakeHarness) -> None:
    harness = make_harness(1, timeouts={"connect": 0.0})
    harness.hold(1)
    client = harness.ask()
    harness.advance(29)
    assert client.take() == b""
    harness.advance(2)
    assert status_of(client.take()) == 504
    assert not harness.loop.dials[0].pending


# --- the connect race


@pytest.mark.parametrize("request_", REQUESTS)
def test_after_250ms_a_second_dial_joins_and_wins(
    make_harness: MakeHarness, request_: str, told: list[Outcome]
) -> None:
    harness = make_harness(2, policy="telling")
    harness.hold(1)
    client = harness.ask(REQUESTS[request_])
    harness.advance(0.24)
    assert harness.dialled == ["10.0.0.1"]
    harness.advance(0.02)
    assert harness.dialled == ["10.0.0.1", "10.0.0.2"]
    assert harness.inflight == [0, 1]  # the loser's connection is put back
    assert not harness.loop.dials[0].pending
    assert body_of(harness.upstream.take()) == body_of(REQUESTS[request_])
    harness.answer()
    assert client.take() == OK
    assert harness.retries() == {"connect_race": 1}
    assert sorted(told) == [Outcome.SUCCESS, Outcome.CANCELLED]
    assert harness.logged()["upstream"] == "app2:8000"


def test_the_first_dial_may_win_the_race(make_harness: MakeHarness) -> None:
    harness = make_harness(2)
    harness.hold(1, 2)
    client = harness.ask()
    harness.advance(0.26)
    assert harness.inflight == [1, 1]
    harness.loop.dials[0].accept()
    harness.settle()
    assert harness.inflight == [1, 0]
    assert not harness.loop.dials[1].pending
    harness.answer()
    assert client.take() == OK
    assert harness.logged()["upstream"] == "app1:8000"


def test_both_dials_connect_in_the_same_instant(make_harness: MakeHarness) -> None:
    harness = make_harness(2)
    harness.hold(1, 2)
    client = harness.ask()
    harness.advance(0.26)
    harness.loop.dials[0].accept()
    harness.loop.dials[1].accept()
    harness.settle()
    assert sum(harness.inflight) == 1
    sent_on = [upstream for upstream in harness.loop.transports if upstream.written]
    assert len(sent_on) == 1
    assert all(upstream.is_closing() for upstream in harness.loop.transports if upstream not in sent_on)
    sent_on[0].receive(OK)
    harness.settle()
    assert client.take() == OK


def test_if_one_dial_of_a_race_fails_the_other_goes_on_with_a_third_beside_it(
    make_harness: MakeHarness,
) -> None:
    """The first dial may be swallowed: it does not stay without a rival."""
    harness = make_harness(3)
    harness.hold(1, 2, 3)
    client = harness.ask()
    harness.advance(0.26)
    harness.loop.dials[1].fail(ConnectionRefusedError())
    harness.settle()
    assert harness.inflight == [1, 0, 1]
    assert client.take() == b""
    harness.loop.dials[0].accept()
    harness.settle()
    harness.answer()
    assert client.take() == OK


def test_if_both_dials_fail_a_third_upstream_is_tried(make_harness: MakeHarness) -> None:
    harness = make_harness(3)
    harness.hold(1, 2)
    client = harness.ask()
    harness.advance(0.26)
    for dial in harness.loop.dials[:2]:
        dial.fail(ConnectionRefusedError())
    harness.settle()
    assert harness.dialled == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    harness.answer()
    assert client.take() == OK
    assert harness.logged()["attempts"] == 3


def test_no_race_without_another_upstream(harness: Harness) -> None:
    harness.hold(1)
    client = harness.ask()
    harness.advance(0.5)
    assert len(harness.loop.dials) == 1
    harness.loop.dials[0].accept()
    harness.settle()
    harness.answer()
    assert client.take() == OK
    assert harness.retries() == {}


def test_no_race_beyond_max_attempts(make_harness: MakeHarness) -> None:
    harness = make_harness(2, retry={"max_attempts": 1})
    harness.hold(1)
    harness.ask()
    harness.advance(0.5)
    assert len(harness.loop.dials) == 1


def test_a_dial_that_ended_in_time_starts_no_race(make_harness: MakeHarness) -> None:
    harness = make_harness(2, timeouts={"connect": 0.0})
    client = harness.ask()
    harness.advance(0.5)
    assert len(harness.loop.dials) == 1
    harness.answer()
    assert client.take() == OK
    assert harness.loop.armed_timers == 0


def test_each_retry_may_race_again(make_harness: MakeHarness) -> None:
    harness = make_harness(3)
    harness.refuse(1)
    harness.hold(2)
    client = harness.ask()
    assert harness.dialled == ["10.0.0.1", "10.0.0.2"]
    harness.advance(0.26)
    assert harness.dialled == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    harness.answer()
    assert client.take() == OK
    assert harness.retries() == {"connect_failed": 1, "connect_race": 1}


def test_many_dials_share_one_timer(make_harness: MakeHarness) -> None:
    harness = make_harness(1, timeouts={"connect": 0.0})
    harness.hold(1)
    for _ in range(100):
        harness.ask()
    assert harness.loop.armed_timers == 1


def test_an_upstream_changes_its_address_while_it_is_dialled(make_harness: MakeHarness) -> None:
    """The connection to the old address may serve this request, and is not kept."""
    harness = make_harness()
    harness.hold(1)
    client = harness.ask()
    harness.move(1, "10.0.0.9")
    harness.loop.dials[0].accept()
    harness.settle()
    harness.answer()
    assert client.take() == OK
    assert harness.idle == 0


def test_an_ipv6_upstream_gets_a_host_field_if_the_client_sent_none(make_harness: MakeHarness) -> None:
    harness = make_harness()
    harness.move(1, "fd00::1")
    harness.ask(b"GET / HTTP/1.0\r\n\r\n")
    assert b"Host: [fd00::1]:8000" in head_of(harness.upstream.take())
    harness.answer()


# --- waiting for a turn

UPGRADE = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


def crowd(make_harness: MakeHarness, upstreams: int = 1) -> Harness:
    """As many requests as may dial at once do; their upstream is the first."""
    harness = make_harness(upstreams, policy="round_robin")
    harness.hold(*range(1, upstreams + 1))
    for _ in range(MOST_AT_ONCE * upstreams):
        harness.ask()
    return harness


@pytest.mark.parametrize("request_", REQUESTS)
def test_a_waiting_request_gets_the_connection_of_one_that_was_answered(
    make_harness: MakeHarness, request_: str
) -> None:
    harness = crowd(make_harness)
    waiting = [harness.ask(REQUESTS[request_]) for _ in range(2)]
    harness.loop.dials[0].accept()
    harness.settle()
    first = harness.upstream
    first.take()
    harness.answer()
    assert body_of(first.take()) == body_of(REQUESTS[request_])
    first.receive(OK)
    harness.settle()
    assert [client.take() for client in waiting] == [b"", OK]  # the other one dials, in the turn of the first
    assert harness.connects() == 1


def test_an_upgrade_waits_for_a_new_connection(make_harness: MakeHarness) -> None:
    harness = crowd(make_harness)
    waiting = [harness.ask(UPGRADE) for _ in range(2)]
    harness.loop.dials[0].accept()
    harness.settle()
    harness.answer()
    assert harness.idle == 1
    assert [client.take() for client in waiting] == [b"", b""]
    harness.loop.dials[MOST_AT_ONCE].accept()
    harness.settle()
    assert b"Upgrade: websocket" in head_of(harness.upstream.take())


def test_a_request_whose_dial_is_slow_gets_an_idle_connection_instead_of_a_race(
    make_harness: MakeHarness,
) -> None:
    """A SYN is lost if the app's backlog is full for a moment."""
    harness = make_harness(2, policy="round_robin")
    harness.hold(1)
    answered, slow = harness.ask(), [harness.ask(), harness.ask()][1]
    harness.loop.dials[0].accept()
    harness.settle()
    for upstream in harness.loop.transports:
        upstream.receive(OK)
    harness.settle()
    assert answered.take() == OK
    harness.advance(0.26)
    assert harness.retries() == {}
    harness.loop.transports[1].receive(OK)
    harness.settle()
    assert slow.take() == OK
    assert not any(dial.pending for dial in harness.loop.dials)


def test_a_waiting_request_whose_client_leaves_frees_its_slot(make_harness: MakeHarness) -> None:
    harness = crowd(make_harness)
    client = harness.ask()
    assert harness.inflight == [MOST_AT_ONCE + 1]
    client.receive_eof()
    harness.settle()
    assert harness.inflight == [MOST_AT_ONCE]


def test_a_request_that_waits_at_an_upstream_that_connects_does_not_race(make_harness: MakeHarness) -> None:
    harness = crowd(make_harness, 2)
    harness.ask()
    for number in range(0, 8, 2):
        harness.advance(0.125)
        harness.loop.dials[number].accept()
        harness.settle()
    dialled = len(harness.loop.dials)
    counts = harness.retries()
    assert counts["connect_race"] < 2 * MOST_AT_ONCE + 1  # those that connect for 250 ms do
    assert dialled >= 2 * MOST_AT_ONCE


def test_a_request_that_waits_at_a_dead_upstream_races(make_harness: MakeHarness) -> None:
    harness = make_harness(2, policy="round_robin", retry={"max_attempts": 3})
    harness.hold(1)
    clients = [harness.ask() for _ in range(2 * MOST_AT_ONCE + 2)]
    for upstream in list(harness.loop.transports):
        upstream.receive(OK)
    harness.settle()
    assert sum(client.take() == OK for client in clients) == MOST_AT_ONCE + 1
    harness.advance(0.26)
    for _ in clients:
        for upstream in list(harness.loop.transports):
            if upstream.protocol.reader is not None:  # type: ignore[attr-defined]
                upstream.receive(OK)
        harness.settle()
    assert sum(client.take() == OK for client in clients) == MOST_AT_ONCE + 1
    assert harness.inflight == [0, 0]
