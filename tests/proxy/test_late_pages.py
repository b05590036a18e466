"""A first-byte timeout is blamed on the request unless the upstream is dead: a slow page runs once."""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

import pytest

from balancer.messages import LogLine
from balancer.proxy.retrying import is_found_dead
from balancer.upstreams.state import Cause
from balancer.upstreams.upstream import Upstream
from tests.fakes.wire import FakeTransport, upstream_message
from tests.proxy.conftest import MakeHarness
from tests.proxy.harness import OK, Harness, body_of, status_of

SECOND = 1_000_000_000
SLOW = b"GET /slow?page=1 HTTP/1.1\r\nHost: a\r\n\r\n"
JSON = SLOW.replace(b"\r\n\r\n", b"\r\nAccept: application/json\r\n\r\n")
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"
EJECTED = {"causes": ["active_check"]}
OUTLIER = {"causes": ["outlier"]}

# The state of an upstream 30 s after a request was sent to it: when it last answered another request, in
# seconds after that; the state sent by the supervisor; within how many seconds checks would have ejected it;
# whether it counts as dead.
KNOWN = {
    "answers others": (29.0, "", 0.0, False),
    "answered in the second half of the time": (15.1, "", 0.0, False),
    "answered in the first half": (15.0, "", 0.0, True),
    "answered in the first half, passes its checks": (15.0, "", 6.0, False),
    "answered in the first half, checks need longer than its silence": (15.0, "", 20.0, True),
    "answered only at first, checks need longer": (0.01, "", 31.0, True),
    "answers others, is an outlier": (29.0, "outlier", 0.0, False),
    "an outlier": (-1.0, "outlier", 6.0, True),
    "silent": (-1.0, "silent", 6.0, True),
    "answers its checks with failures": (-1.0, "active_check", 6.0, False),
    "passes its checks": (-1.0, "", 6.0, False),
    "checks need longer": (-1.0, "", 31.0, True),
    "no checks": (-1.0, "", 0.0, True),
    "has never answered": (-1000.0, "", 0.0, True),
}


@pytest.mark.parametrize("case", KNOWN)
def test_when_a_late_upstream_counts_as_dead(case: str) -> None:
    answered, said, checked_within, dead = KNOWN[case]
    sent = 2000 * SECOND
    upstream = Upstream("app1:8000", "10.0.0.1", 8000, 1, memoryview(bytearray(8)).cast("q"))
    upstream.answered_ns = sent + round(answered * SECOND)
    upstream.silent_since_ns = sent if said == "silent" else 0
    upstream.causes = frozenset([Cause(said)] if said in list(Cause) else [])
    assert is_found_dead(upstream, sent, sent + 30 * SECOND, round(checked_within * SECOND)) is dead


def ask_slow(harness: Harness, request: bytes = SLOW) -> FakeTransport:
    """A request that no upstream answers."""
    client = harness.ask(request)
    assert harness.dialled == ["10.0.0.1"]
    return client


def test_a_slow_page_runs_once_if_the_upstream_passes_its_checks(make_harness: MakeHarness) -> None:
    harness = make_harness(3, checked_within=6.0)
    client = ask_slow(harness)
    harness.advance(30.1)
    assert status_of(client.take()) == 504
    assert harness.dialled == ["10.0.0.1"]
    assert harness.retries() == {}


def test_a_slow_page_runs_once_if_the_upstream_answers_other_requests(make_harness: MakeHarness) -> None:
    harness = make_harness(3)
    client = ask_slow(harness)
    for _ in range(3):  # to each in turn
        harness.advance(8)
        harness.ask()
        harness.answer()
    harness.advance(6.1)
    assert status_of(client.take()) == 504
    assert harness.dialled.count("10.0.0.1") == 2


def test_a_slow_request_leaves_an_outlier(make_harness: MakeHarness) -> None:
    harness = make_harness(3, checked_within=6.0)
    client = ask_slow(harness)
    harness.advance(10)
    harness.tell(upstream_message(1, **OUTLIER), upstream_message(2), upstream_message(3))
    harness.advance(20.1)
    harness.answer()
    assert client.take() == OK


def test_a_slow_page_runs_once_if_checks_are_answered_with_errors(
    make_harness: MakeHarness,
) -> None:
    harness = make_harness(3, checked_within=6.0)
    client = ask_slow(harness)
    harness.advance(10)
    harness.tell(upstream_message(1, **EJECTED), upstream_message(2), upstream_message(3))
    harness.advance(20.1)
    assert status_of(client.take()) == 504
    assert harness.dialled == ["10.0.0.1"]


def test_a_page_that_silences_its_upstream_runs_at_most_twice(make_harness: MakeHarness) -> None:
    harness = make_harness(3, checked_within=6.0)
    client = ask_slow(harness)
    silent = {**EJECTED, "silent_since_ns": 1}
    harness.tell(upstream_message(1, **silent), upstream_message(2), upstream_message(3))
    harness.settle()
    assert harness.dialled == ["10.0.0.1", "10.0.0.3"]
    harness.tell(upstream_message(1, **silent), upstream_message(2), upstream_message(3, **silent))
    harness.advance(30.1)
    assert status_of(client.take()) == 504
    assert harness.dialled == ["10.0.0.1", "10.0.0.3"]


def test_a_request_that_was_late_elsewhere_does_not_leave_a_silent_upstream(
    make_harness: MakeHarness,
) -> None:
    harness = make_harness(3, checked_within=60.0)
    client = ask_slow(harness)
    harness.advance(30.1)
    assert harness.dialled == ["10.0.0.1", "10.0.0.2"]
    silent = {**EJECTED, "silent_since_ns": 1}
    harness.tell(upstream_message(1), upstream_message(2, **silent), upstream_message(3))
    harness.settle()
    assert harness.dialled == ["10.0.0.1", "10.0.0.2"]
    harness.answer()
    assert client.take() == OK


def test_if_nothing_is_known_a_second_upstream_is_tried_but_no_third(make_harness: MakeHarness) -> None:
    harness = make_harness(3)
    client = ask_slow(harness)
    harness.advance(30.1)
    assert harness.dialled == ["10.0.0.1", "10.0.0.2"]
    assert client.take() == b""
    harness.advance(30.1)
    assert status_of(client.take()) == 504
    assert len(harness.dialled) == 2


@pytest.mark.parametrize("request_", [SLOW, JSON], ids=["text", "JSON"])
def test_body_failure_and_log_name_the_setting_and_its_value(
    make_harness: MakeHarness, request_: bytes
) -> None:
    harness = make_harness(3, checked_within=6.0)
    client = ask_slow(harness, request_)
    harness.advance(30.1)
    setting = "BALANCER_TIMEOUTS__FIRST_BYTE (30 s)"
    assert setting in body_of(client.take()).decode()
    (failure,) = harness.proxy.take_failures()
    assert setting in failure.detail
    assert setting in failure.attempts[0].detail
    (line,) = harness.only_told(LogLine)
    assert line.level == "warning"
    assert "GET /slow?page=1 of route default was answered 504 after app1:8000" in line.message
    assert setting in line.message


def test_late_requests_are_logged_once_a_minute(make_harness: MakeHarness) -> None:
    harness = make_harness(1)
    for _ in range(10):
        harness.ask(SLOW)
    harness.advance(30.1)
    assert len(harness.told) == 1
    harness.advance(60)
    harness.ask(SLOW)
    harness.advance(30.1)
    first, second = harness.only_told(LogLine)
    assert first.once != second.once  # by which several workers log it once


# What was waited for -> the setting of the timeout that fired.
SETTINGS = {
    "a connection": "BALANCER_TIMEOUTS__FIRST_BYTE (30 s)",
    "more of the response": "BALANCER_TIMEOUTS__IDLE (60 s)",
    "more of the request": "BALANCER_TIMEOUTS__IDLE (60 s)",
    "the upstream to take the request": "BALANCER_TIMEOUTS__IDLE (60 s)",
    "the end of it all": "BALANCER_TIMEOUTS__TOTAL is 20 s",
}


@pytest.mark.parametrize("waited_for", SETTINGS)
def test_every_timeout_names_its_setting(make_harness: MakeHarness, waited_for: str) -> None:
    total = 20.0 if waited_for == "the end of it all" else 0.0
    harness = make_harness(1, timeouts={"connect": 0.0, "total": total})
    if waited_for == "a connection":
        harness.hold(1)
    harness.ask(POST + b"ab" if waited_for.endswith("the request") else SLOW)
    if waited_for == "the upstream to take the request":
        harness.upstream.pause_writing()
    elif waited_for == "more of the response":
        harness.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab")
    harness.advance(20.1)
    harness.advance(10)
    harness.advance(30.1)
    assert SETTINGS[waited_for] in harness.proxy.take_failures()[-1].detail
