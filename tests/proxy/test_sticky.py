"""Sticky sessions through the whole proxy: which upstream serves a pinned request, and when the pin moves."""

from typing import Any

import pytest

from tests.fakes.wire import upstream_message
from tests.proxy.conftest import MakeHarness
from tests.proxy.harness import OK, Harness, status_of
from tests.proxy.sticky_session import OWN, Session, counted, given, states, token_in, tokens


@pytest.fixture
def harness(make_harness: MakeHarness) -> Harness:
    return make_harness(3, sticky=OWN)


def test_the_first_response_pins_and_the_pin_holds(harness: Harness) -> None:
    session = Session(harness)
    session.send()
    number = session.server
    session.serving.receive(OK)
    response = session.client.take()
    assert given(response) == [b"Set-Cookie: pin=%b; Path=/; HttpOnly; SameSite=Lax" % token_in(response)]
    for _ in range(5):
        session.send(b"pin=" + token_in(response))
        assert session.server == number
        session.serving.receive(OK)
        assert session.client.take() == OK  # nothing is added to it
    assert counted(harness) == {"new": 1, "hit": 5}


def test_each_upstream_has_its_own_token(harness: Harness) -> None:
    found = tokens(harness, 3)
    assert len(set(found)) == 3
    session = Session(harness)
    for number, token in enumerate(found, 1):
        session.send(b"a=1; pin=%b; b=2" % token)
        assert session.server == number
        session.serving.receive(OK)
    assert counted(harness) == {"hit": 3}


def test_without_stickiness_there_are_no_cookies(make_harness: MakeHarness) -> None:
    harness = make_harness(2)
    session = Session(harness)
    session.send(b"pin=abc")
    assert b"Cookie: pin=abc\r\n" in session.serving.take()
    session.serving.receive(OK)
    assert session.client.take() == OK
    assert counted(harness) == {}


# --- fallback: the pinned upstream 2 cannot have the request

GONE: dict[str, dict[int, Any]] = {
    "ejected": {2: {"causes": ["active_check"]}},
    "on probation": {2: {"on_probation": True}},
    "in maintenance": {2: {"admin_state": "maintenance"}},
    "draining and ejected": {2: {"admin_state": "draining", "causes": ["active_check"]}},
    "without an address": {2: {"host": ""}},
    "removed": {2: None},
}


@pytest.mark.parametrize("case", GONE)
def test_fallback_is_served_at_once_by_another_and_re_pinned(harness: Harness, case: str) -> None:
    token = tokens(harness, 3)[1]
    states(harness, GONE[case])
    session = Session(harness)
    session.send(b"pin=" + token)
    number = session.server
    assert number != 2
    session.serving.receive(OK)
    new = token_in(session.client.take())
    assert counted(harness) == {"repinned": 1}
    session.send(b"pin=" + new)
    assert session.server == number
    session.serving.receive(OK)
    assert counted(harness) == {"repinned": 1, "hit": 1}


def test_fallback_a_pin_to_a_readmitted_upstream_is_valid_again(harness: Harness) -> None:
    """The client has sent no request meanwhile."""
    token = tokens(harness, 3)[1]
    states(harness, {2: None})
    harness.tell(*(upstream_message(n, row=20) if n == 2 else upstream_message(n) for n in (1, 2, 3)))
    session = Session(harness)
    session.send(b"pin=" + token)
    assert session.server == 2
    session.serving.receive(OK)
    assert counted(harness) == {"hit": 1}


def test_fallback_draining_keeps_its_sessions_and_gets_no_new_ones(harness: Harness) -> None:
    token = tokens(harness, 3)[1]
    states(harness, {2: {"admin_state": "draining"}})
    session = Session(harness)
    session.send(b"pin=" + token)
    assert session.server == 2
    session.serving.receive(OK)
    assert session.client.take() == OK
    for _ in range(6):
        session.send()
        assert session.server != 2
        session.serving.receive(OK)
    assert counted(harness) == {"hit": 1, "new": 6}


def test_fallback_in_panic_the_ejected_upstream_keeps_its_sessions(harness: Harness) -> None:
    token = tokens(harness, 3)[1]
    states(harness, {n: {"causes": ["active_check"]} for n in (1, 2, 3)})
    session = Session(harness)
    session.send(b"pin=" + token)
    assert session.server == 2
    session.serving.receive(OK)
    assert counted(harness) == {"hit": 1}


def test_fallback_without_panic_the_ejected_upstream_loses_its_sessions(make_harness: MakeHarness) -> None:
    harness = make_harness(3, sticky=OWN, panic=False)
    token = tokens(harness, 3)[1]
    states(harness, {n: {"causes": ["active_check"]} for n in (1, 2, 3)})
    session = Session(harness)
    session.send(b"pin=" + token)
    response = session.client.take()
    assert (status_of(response), given(response)) == (503, [])
    assert counted(harness) == {}


def test_fallback_a_failed_connect_goes_elsewhere_and_the_pin_stays(harness: Harness) -> None:
    """A single failure does not end a session; an upstream that is really gone will be ejected."""
    token = tokens(harness, 3)[1]
    states(harness, {2: {"host": "10.9.9.9"}})  # its idle connections end
    harness.loop.answers["10.9.9.9", 8000] = ConnectionRefusedError()
    session = Session(harness)
    session.send(b"pin=" + token)
    assert session.server != 2
    session.serving.receive(OK)
    assert session.client.take() == OK
    assert counted(harness) == {"overflow": 1}
    del harness.loop.answers["10.9.9.9", 8000]
    session.send(b"pin=" + token)
    assert session.server == 2
    session.serving.receive(OK)


@pytest.mark.parametrize("state", ["active", "draining", "active, by an adaptive limit"])
def test_fallback_a_full_upstream_does_not_get_the_request_and_the_pin_stays(
    make_harness: MakeHarness, state: str
) -> None:
    harness = make_harness(3, sticky=OWN, adaptive={"enabled": True})
    token = tokens(harness, 3)[1]
    if state in ("active", "draining"):
        states(harness, {2: {"max_inflight": 1, "admin_state": state}})
    else:
        adaptive = harness.pool.adaptive
        assert adaptive is not None
        harness.upstreams[1].concurrency_limit = 1
        adaptive.changed(harness.upstreams[1:2])
    first, second = Session(harness), Session(harness)
    first.send(b"pin=" + token)
    assert first.server == 2
    busy = first.serving
    second.send(b"pin=" + token)
    (other,) = [t for t in harness.loop.transports if t.protocol.reader is not None and t is not busy]  # type: ignore[attr-defined]
    other.receive(OK)
    assert second.client.take() == OK
    busy.receive(OK)
    second.send(b"pin=" + token)
    assert second.server == 2
    second.serving.receive(OK)
    assert counted(harness) == {"overflow": 1, "hit": 2}


def test_pinned_to_a_healthy_upstream_a_request_is_no_trial_for_another(make_harness: MakeHarness) -> None:
    harness = make_harness(2, sticky=OWN, outlier={"enabled": True})
    token = tokens(harness, 2)[0]
    states(harness, {2: {"on_probation": True}}, count=2)
    for cookie, server in ((b"pin=" + token, 1), (b"", 2)):
        session = Session(harness)
        session.send(cookie)
        assert session.server == server
        session.serving.receive(OK)
        harness.settle()


def test_pinned_to_an_upstream_with_a_free_slot_a_request_does_not_queue(make_harness: MakeHarness) -> None:
    harness = make_harness(2, sticky=OWN, queue={"size": 3})
    token = tokens(harness, 2)[1]
    states(harness, {1: {"max_inflight": 1}, 2: {"max_inflight": 1, "admin_state": "draining"}}, count=2)
    busy, waiting, pinned = Session(harness), Session(harness), Session(harness)
    busy.send()
    first = busy.serving
    waiting.send()
    assert harness.waiting == 1
    pinned.send(b"pin=" + token)
    assert (harness.inflight, harness.waiting) == ([1, 1], 1)
    harness.loop.transports[-1].receive(OK)
    first.receive(OK)
    harness.settle()
    assert harness.waiting == 0
    first.receive(OK)


@pytest.mark.parametrize("case", ["ejected", "in maintenance", "on probation"])
def test_pinned_to_an_ejected_upstream_a_request_queues_behind_others(
    make_harness: MakeHarness, case: str
) -> None:
    """Also if a slot has just become free and the queue is woken in the loop's next turn."""
    harness = make_harness(2, sticky=OWN, queue={"size": 3})
    token = tokens(harness, 2)[1]
    states(harness, {1: {"max_inflight": 1}, **GONE[case]}, count=2)
    busy, waiting, pinned = Session(harness), Session(harness), Session(harness)
    busy.send()
    first = busy.serving
    waiting.send()
    assert harness.waiting == 1
    first.receive(OK)
    pinned.send(b"pin=" + token)
    assert harness.waiting == 1
    first.receive(OK)
    assert status_of(waiting.client.take()) == 200
    harness.settle()
    assert harness.waiting == 0
    first.receive(OK)


def test_fallback_a_failed_connect_and_then_an_ejection_re_pins(harness: Harness) -> None:
    token = tokens(harness, 3)[1]
    states(harness, {2: {"host": "10.9.9.9"}})
    harness.loop.answers["10.9.9.9", 8000] = ConnectionRefusedError()
    session = Session(harness)
    session.send(b"pin=" + token)
    states(harness, {2: {"host": "10.9.9.9", "causes": ["active_check"]}})
    session.serving.receive(OK)
    assert token_in(session.client.take()) != token
    assert counted(harness) == {"repinned": 1}


UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nDate: x\r\nContent-Length: 2\r\n\r\nno"


def test_fallback_a_retried_status_goes_elsewhere_and_the_pin_stays(harness: Harness) -> None:
    token = tokens(harness, 3)[1]
    session = Session(harness)
    session.send(b"pin=" + token)
    served = []
    for response in (UNAVAILABLE, UNAVAILABLE, OK):
        served.append(session.server)
        session.serving.receive(response)
        harness.settle()
    assert served[0] == 2
    assert sorted(served) == [1, 2, 3]  # no upstream is asked twice
    assert session.client.take() == OK
    assert counted(harness) == {"overflow": 1}


def test_a_kept_response_pins_to_the_upstream_that_sent_it(make_harness: MakeHarness) -> None:
    """The others do not answer, so the client gets the kept response after all."""
    harness = make_harness(2, sticky=OWN)
    session = Session(harness)
    session.send()
    number = session.server
    harness.refuse(3 - number)
    session.serving.receive(UNAVAILABLE)
    harness.settle()
    response = session.client.take()
    assert status_of(response) == 503
    assert counted(harness) == {"new": 1}
    session.send(b"pin=" + token_in(response))
    assert session.server == number
    session.serving.receive(OK)


def test_fallback_clients_of_an_outlier_are_re_pinned_as_soon_as_it_is_ejected(
    make_harness: MakeHarness,
) -> None:
    """The worker has ejected it itself; the supervisor has sent nothing yet."""
    harness = make_harness(3, sticky=OWN, outlier={"enabled": True})
    token = tokens(harness, 3)[1]
    error = b"HTTP/1.1 500 Oh\r\nDate: x\r\nContent-Length: 2\r\n\r\nno"
    for number in range(5):
        session = Session(harness, f"203.0.113.{number}")
        session.send(b"pin=" + token)
        assert session.server == 2
        session.serving.receive(error)
        assert session.client.take() == error
    session.send(b"pin=" + token)
    assert session.server != 2
    session.serving.receive(OK)
    assert token_in(session.client.take()) != token
    assert counted(harness) == {"hit": 5, "repinned": 1}


def test_a_stale_connection_is_retried_at_the_pinned_upstream(harness: Harness) -> None:
    """The upstream closed an idle connection just as it was taken: that is not a failure."""
    token = tokens(harness, 3)[1]
    session = Session(harness)
    session.send(b"pin=" + token)
    first = session.serving
    first.lose()
    harness.settle()
    assert session.serving is not first
    assert session.server == 2
    session.serving.receive(OK)
    assert session.client.take() == OK
    assert counted(harness) == {"hit": 1}


def test_a_response_of_a_removed_upstream_does_not_pin(harness: Harness) -> None:
    session = Session(harness)
    session.send()
    number, serving = session.server, session.serving
    states(harness, {number: None})
    serving.receive(OK)
    assert session.client.take() == OK
    assert counted(harness) == {}


FORGED = {
    "another's": b"AAAAAAAAAAAAAAAAAAAAAA",
    "short": b"x",
    "empty": b"",
    "an upstream's name": b"app2:8000",
    "bytes": b"\xff\xfe",
    "quoted": b'"AAAAAAAAAAAAAAAAAAAAAA"',
    "long": b"A" * 4000,
}


@pytest.mark.parametrize("case", FORGED)
def test_a_forged_token_is_ignored_counted_and_replaced(harness: Harness, case: str) -> None:
    session = Session(harness)
    session.send(b"pin=" + FORGED[case])
    assert b"ookie" not in session.serving.take()
    session.serving.receive(OK)
    assert len(token_in(session.client.take())) == 22
    assert counted(harness) == ({"invalid": 1} if FORGED[case] else {"new": 1})


def test_of_two_cookies_the_valid_one_counts(harness: Harness) -> None:
    """As after a change of STICKY__PATH: browsers send the cookie with the longer path first."""
    token = tokens(harness, 3)[1]
    session = Session(harness)
    session.send(b"pin=stale; a=1; pin=" + token)
    assert session.server == 2
    assert b"Cookie: a=1\r\n" in session.serving.take().replace(b"Cookie:  ", b"Cookie: ")
    session.serving.receive(OK)
    assert session.client.take() == OK
