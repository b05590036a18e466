"""Dialling: failures lead to another upstream, slow ones to a race; nothing was sent, so for any method."""

import errno

import pytest

from balancer.errors import Outcome
from tests.proxy.conftest import MakeStage
from tests.proxy.harness import GET, OK, Stage, body_of, head_of, status_of

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
REQUESTS = {"GET": GET, "POST": POST}

ERRORS: dict[str, tuple[Exception, int, str]] = {
    "refused": (ConnectionRefusedError(), 502, "connect_refused"),
    "unreachable": (OSError(errno.EHOSTUNREACH, "no route"), 502, "connect_failed"),
    "reset": (ConnectionResetError(), 502, "connect_failed"),
    "no more ports": (OSError(errno.EADDRNOTAVAIL, "no port"), 502, "connect_failed"),
}


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("request_", REQUESTS)
def test_the_next_one_is_tried(make_stage: MakeStage, error: str, request_: str) -> None:
    stage = make_stage(2)
    stage.refuse(1, error=ERRORS[error][0])
    client = stage.ask(REQUESTS[request_])
    assert stage.dialled == ["10.0.0.1", "10.0.0.2"]
    assert body_of(stage.upstream.take()) == body_of(REQUESTS[request_])
    assert stage.inflight == [0, 1]
    stage.answer()
    assert client.take() == OK
    assert stage.retries() == {"connect_failed": 1}
    record = stage.logged()
    assert (record["attempts"], record["upstream"], record["reason"]) == (2, "app2:8000", None)


@pytest.mark.parametrize("error", ERRORS)
def test_all_fail_and_the_last_failure_is_answered(make_stage: MakeStage, error: str) -> None:
    exception, status, reason = ERRORS[error]
    stage = make_stage(2)
    stage.refuse(1, error=ConnectionRefusedError())
    stage.refuse(2, error=exception)
    client = stage.ask()
    sent = client.take()
    assert status_of(sent) == status
    assert stage.local_counted(reason) == 1
    assert not client.is_closing()
    assert stage.dialled == ["10.0.0.1", "10.0.0.2"]
    assert (stage.logged()["attempts"], stage.logged()["reason"]) == (2, reason)


@pytest.mark.parametrize("attempts", [1, 2, 3])
def test_no_more_than_max_attempts(make_stage: MakeStage, attempts: int) -> None:
    stage = make_stage(5, retry={"max_attempts": attempts})
    stage.refuse(1, 2, 3, 4, 5, error=OSError(113, "no route"))
    client = stage.ask()
    assert status_of(client.take()) == 502
    assert len(stage.loop.dials) == attempts
    assert stage.retries() == ({"connect_failed": attempts - 1} if attempts > 1 else {})


@pytest.mark.parametrize(("attempts", "dials"), [(1, 1), (2, 5), (3, 5)])
def test_refusals_do_not_count_but_where_nothing_goes_again(
    make_stage: MakeStage, attempts: int, dials: int
) -> None:
    """While most of a pool is gone and not yet ejected, who is left must be found."""
    stage = make_stage(5, retry={"max_attempts": attempts})
    stage.refuse(1, 2, 3, 4)
    client = stage.ask()
    assert len(stage.loop.dials) == dials
    if dials == 5:
        stage.answer()
        assert status_of(client.take()) == 200


def test_of_very_many_not_all_are_asked(make_stage: MakeStage) -> None:
    stage = make_stage(100)
    stage.refuse(*range(1, 101))
    client = stage.ask()
    assert status_of(client.take()) == 502
    assert len(stage.loop.dials) == 3 + 32


def test_no_upstream_has_an_address(make_stage: MakeStage) -> None:
    stage = make_stage(2)
    for number in (1, 2):
        stage.move(number, "")
    client = stage.ask()
    sent = client.take()
    assert status_of(sent) == 503
    assert b"Retry-After: 1" in head_of(sent)
    assert stage.local_counted("no_upstream") == 1
    assert not client.is_closing()
    stage.move(2, "10.0.0.2")
    stage.ask(client=client)
    assert stage.dialled == ["10.0.0.2"]
    stage.answer()
    assert client.take() == OK


def test_connect_timeout(make_stage: MakeStage) -> None:
    stage = make_stage(1)
    stage.hold(1)
    client = stage.ask()
    stage.advance(0.99)
    assert client.take() == b""
    stage.advance(0.02)
    assert status_of(client.take()) == 504
    assert stage.local_counted("connect_timeout") == 1
    assert not stage.loop.dials[0].pending


def test_connect_timeout_of_the_race_too(make_stage: MakeStage) -> None:
    stage = make_stage(2)
    stage.hold(1, 2)
    client = stage.ask()
    for _ in range(6):
        stage.advance(0.25)
    assert status_of(client.take()) == 504
    assert stage.inflight == [0, 0]


def test_connect_timeout_off_waits_for_the_first_byte_timeout(make_stage: MakeStage) -> None:
    stage = make_stage(1, timeouts={"connect": 0.0})
    stage.hold(1)
    client = stage.ask()
    stage.advance(29)
    assert client.take() == b""
    stage.advance(2)
    assert status_of(client.take()) == 504
    assert not stage.loop.dials[0].pending


# --- the connect race


@pytest.mark.parametrize("request_", REQUESTS)
def test_after_250_ms_a_second_one_joins_and_wins(
    make_stage: MakeStage, request_: str, told: list[Outcome]
) -> None:
    stage = make_stage(2, policy="telling")
    stage.hold(1)
    client = stage.ask(REQUESTS[request_])
    stage.advance(0.24)
    assert stage.dialled == ["10.0.0.1"]
    stage.advance(0.02)
    assert stage.dialled == ["10.0.0.1", "10.0.0.2"]
    assert stage.inflight == [0, 1]  # the loser's is given back
    assert not stage.loop.dials[0].pending
    assert body_of(stage.upstream.take()) == body_of(REQUESTS[request_])
    stage.answer()
    assert client.take() == OK
    assert stage.retries() == {"connect_race": 1}
    assert sorted(told) == [Outcome.SUCCESS, Outcome.CANCELLED]
    assert stage.logged()["upstream"] == "app2:8000"


def test_the_first_one_may_win_the_race(make_stage: MakeStage) -> None:
    stage = make_stage(2)
    stage.hold(1, 2)
    client = stage.ask()
    stage.advance(0.26)
    assert stage.inflight == [1, 1]
    stage.loop.dials[0].accept()
    stage.settle()
    assert stage.inflight == [1, 0]
    assert not stage.loop.dials[1].pending
    stage.answer()
    assert client.take() == OK
    assert stage.logged()["upstream"] == "app1:8000"


def test_both_connect_in_the_same_instant(make_stage: MakeStage) -> None:
    stage = make_stage(2)
    stage.hold(1, 2)
    client = stage.ask()
    stage.advance(0.26)
    stage.loop.dials[0].accept()
    stage.loop.dials[1].accept()
    stage.settle()
    assert sum(stage.inflight) == 1
    sent_on = [upstream for upstream in stage.loop.transports if upstream.written]
    assert len(sent_on) == 1
    assert all(upstream.is_closing() for upstream in stage.loop.transports if upstream not in sent_on)
    sent_on[0].receive(OK)
    stage.settle()
    assert client.take() == OK


def test_one_fails_and_the_other_goes_on_with_a_third_beside_it(make_stage: MakeStage) -> None:
    """The first may be swallowed: it is not left alone again."""
    stage = make_stage(3)
    stage.hold(1, 2, 3)
    client = stage.ask()
    stage.advance(0.26)
    stage.loop.dials[1].fail(ConnectionRefusedError())
    stage.settle()
    assert stage.inflight == [1, 0, 1]
    assert client.take() == b""
    stage.loop.dials[0].accept()
    stage.settle()
    stage.answer()
    assert client.take() == OK


def test_both_fail_and_a_third_is_tried(make_stage: MakeStage) -> None:
    stage = make_stage(3)
    stage.hold(1, 2)
    client = stage.ask()
    stage.advance(0.26)
    for dial in stage.loop.dials[:2]:
        dial.fail(ConnectionRefusedError())
    stage.settle()
    assert stage.dialled == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    stage.answer()
    assert client.take() == OK
    assert stage.logged()["attempts"] == 3


def test_no_race_without_another_upstream(stage: Stage) -> None:
    stage.hold(1)
    client = stage.ask()
    stage.advance(0.5)
    assert len(stage.loop.dials) == 1
    stage.loop.dials[0].accept()
    stage.settle()
    stage.answer()
    assert client.take() == OK
    assert stage.retries() == {}


def test_no_race_beyond_max_attempts(make_stage: MakeStage) -> None:
    stage = make_stage(2, retry={"max_attempts": 1})
    stage.hold(1)
    stage.ask()
    stage.advance(0.5)
    assert len(stage.loop.dials) == 1


def test_a_dial_that_was_done_in_time_starts_no_race(make_stage: MakeStage) -> None:
    stage = make_stage(2)
    client = stage.ask()
    stage.advance(0.5)
    assert len(stage.loop.dials) == 1
    stage.answer()
    assert client.take() == OK
    assert stage.loop.armed_timers == 0


def test_each_retry_may_race_anew(make_stage: MakeStage) -> None:
    stage = make_stage(3)
    stage.refuse(1)
    stage.hold(2)
    client = stage.ask()
    assert stage.dialled == ["10.0.0.1", "10.0.0.2"]
    stage.advance(0.26)
    assert stage.dialled == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    stage.answer()
    assert client.take() == OK
    assert stage.retries() == {"connect_failed": 1, "connect_race": 1}


def test_many_dials_share_one_timer(make_stage: MakeStage) -> None:
    stage = make_stage(1, timeouts={"connect": 0.0})
    stage.hold(1)
    for _ in range(100):
        stage.ask()
    assert stage.loop.armed_timers == 1


def test_an_upstream_with_a_new_address_while_it_is_dialled(make_stage: MakeStage) -> None:
    """The connection to the old address may serve this request, and is not kept."""
    stage = make_stage()
    stage.hold(1)
    client = stage.ask()
    stage.move(1, "10.0.0.9")
    stage.loop.dials[0].accept()
    stage.settle()
    stage.answer()
    assert client.take() == OK
    assert stage.idle == 0


def test_ipv6_upstream_without_a_host_from_the_client(make_stage: MakeStage) -> None:
    stage = make_stage()
    stage.move(1, "fd00::1")
    stage.ask(b"GET / HTTP/1.0\r\n\r\n")
    assert b"Host: [fd00::1]:8000" in head_of(stage.upstream.take())
    stage.answer()
