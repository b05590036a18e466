"""Upstreams without a passed check: which get requests, and what clients are answered meanwhile."""

import errno
from typing import Any

import pytest

from balancer.policies import registry
from tests.fakes.wire import upstream_message
from tests.proxy.conftest import MakeHarness
from tests.proxy.harness import GET, OK, Harness, head_of, status_of

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab"
AWAITED, REQUIRED = {"first_check": "awaited"}, {"first_check": "required"}
EJECTED = {"causes": ["active_check"]}


def ask_all(harness: Harness, count: int = 12) -> set[str]:
    """The upstreams of this many concurrent requests."""
    before = len(harness.dialled)
    for _ in range(count):
        harness.ask()
    return set(harness.dialled[before:])


@pytest.mark.parametrize("policy", registry.names())
def test_a_new_upstream_gets_no_requests_until_it_has_passed_a_check(
    make_harness: MakeHarness, policy: str
) -> None:
    """No request of its own, no retry from another upstream, none in a connect race."""
    harness = make_harness(2, policy=policy, keepalive={"max_idle": 0})
    harness.tell(upstream_message(1), upstream_message(2, **REQUIRED))
    assert ask_all(harness) == {"10.0.0.1"}
    harness.refuse(1)
    assert status_of(harness.ask().take()) == 502
    harness.hold(1)
    harness.ask()
    harness.advance(0.5)
    assert set(harness.dialled) == {"10.0.0.1"}


def test_a_new_upstream_serves_as_soon_as_it_has_passed(make_harness: MakeHarness) -> None:
    harness = make_harness(2)
    harness.tell(upstream_message(1), upstream_message(2, **REQUIRED))
    harness.tell(upstream_message(1), upstream_message(2))
    assert ask_all(harness, 2) == {"10.0.0.1", "10.0.0.2"}


def test_upstreams_present_at_the_start_serve_before_their_first_check(make_harness: MakeHarness) -> None:
    harness = make_harness(3)
    harness.tell(upstream_message(1), *(upstream_message(number, **AWAITED) for number in (2, 3)))
    assert ask_all(harness, 3) == {"10.0.0.1", "10.0.0.2", "10.0.0.3"}


@pytest.mark.parametrize("panic", [True, False], ids=["panic", "no panic"])
@pytest.mark.parametrize(
    ("others", "expected"),
    [
        pytest.param([EJECTED], "10.0.0.1", id="before the ejected"),
        pytest.param([EJECTED, {"backup": True}], "10.0.0.3", id="after an eligible backup"),
        pytest.param([{**REQUIRED, "backup": True}], "10.0.0.1", id="before an unchecked backup"),
    ],
)
def test_an_unchecked_upstream_is_used_if_none_is_eligible(
    make_harness: MakeHarness, others: list[dict[str, Any]], expected: str, panic: bool
) -> None:
    harness = make_harness(3, panic=panic)
    harness.tell(
        upstream_message(1, **REQUIRED),
        *(upstream_message(number, **state) for number, state in enumerate(others, 2)),
    )
    assert ask_all(harness) == {expected}


@pytest.mark.parametrize("request_", [GET, POST], ids=["GET", "POST"])
def test_after_a_failed_connect_at_an_unchecked_upstream_panic_uses_the_ejected(
    make_harness: MakeHarness, request_: bytes
) -> None:
    """All fail their checks because of a wrong path, but serve; a new one joins whose app is not up yet."""
    harness = make_harness(2)
    harness.tell(upstream_message(1, **EJECTED), upstream_message(2, **REQUIRED))
    harness.refuse(2)
    client = harness.ask(request_)
    harness.answer()
    assert client.take() == OK
    assert harness.dialled == ["10.0.0.2", "10.0.0.1"]


def test_an_unchecked_upstream_on_probation_gets_no_trial(make_harness: MakeHarness) -> None:
    harness = make_harness(2, outlier={"enabled": True})
    unknown = {"on_probation": True, **REQUIRED}
    harness.tell(upstream_message(1), upstream_message(2, **unknown))
    assert ask_all(harness) == {"10.0.0.1"}
    harness.tell(upstream_message(1), upstream_message(2, on_probation=True))
    assert ask_all(harness) == {"10.0.0.1", "10.0.0.2"}


# --- no upstream has passed yet

UNCONNECTED = {
    "refused": ConnectionRefusedError(),
    "no way there": OSError(errno.EHOSTUNREACH, "no route"),
    "swallowed": TimeoutError(),
}


@pytest.mark.parametrize("request_", [GET, POST], ids=["GET", "POST"])
@pytest.mark.parametrize("how", UNCONNECTED)
def test_while_apps_are_starting_a_failed_connect_is_503_with_retry_after(
    make_harness: MakeHarness, how: str, request_: bytes
) -> None:
    harness = make_harness(2, starting=True)
    harness.refuse(1, 2, error=UNCONNECTED[how])
    sent = harness.ask(request_).take()
    assert status_of(sent) == 503
    assert b"Retry-After: 1" in head_of(sent)
    assert b'Proxy-Status: balancer; error=destination_unavailable; details="apps_starting"' in sent
    assert harness.local_counted("apps_starting") == 1
    assert len(harness.dialled) == 2
    harness.tell(upstream_message(1), upstream_message(2))
    assert status_of(harness.ask(request_).take()) in (502, 504), "one has passed: it is no start any more"


def test_a_started_app_serves_although_none_has_passed_a_check(make_harness: MakeHarness) -> None:
    harness = make_harness(2, starting=True)
    harness.refuse(1)
    client = harness.ask()
    harness.answer()
    assert client.take() == OK


def test_while_apps_are_starting_failures_after_connecting_are_answered_as_usual(
    make_harness: MakeHarness,
) -> None:
    harness = make_harness(1, starting=True)
    client = harness.ask(POST)
    harness.upstream.receive_eof()
    harness.settle()
    assert status_of(client.take()) == 502
