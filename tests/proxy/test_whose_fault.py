"""Whether an upstream is to blame for a failed attempt, judged by the others' answers to the same request."""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

from collections.abc import Iterator
from typing import Any

import pytest

from balancer.messages import Doubt, Eject, Recovered
from tests.fakes.wire import FakeTransport, upstream_message
from tests.proxy.harness import GET, OK, Harness, status_of
from tests.proxy.sticky_session import OWN, Session, tokens

PUT = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabcd"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab"
UPGRADE = b"GET /nowhere HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
HALF = b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 9\r\n\r\nhalf"
ERROR = b"HTTP/1.1 500 No\r\nDate: x\r\nContent-Length: 2\r\n\r\nno"
BUSY = b"HTTP/1.1 503 Busy\r\nDate: x\r\nContent-Length: 2\r\n\r\nno"


class FaultHarness(Harness):
    """Upstreams with fresh connections; those that are `ill` close without an answer."""

    def __init__(self, upstreams: int = 3, **changes: Any) -> None:
        changes = {"keepalive": {"max_idle": 0}, "outlier": {"enabled": True}, **changes}
        super().__init__(upstreams, **changes)
        self.ill: set[int] = set()
        self.good = OK

    def request(self, request: bytes = GET, address: str = "203.0.113.1") -> FakeTransport:
        """One whole exchange."""
        client = self.ask(request, self.client(address))
        self.play()
        return client

    def play(self) -> None:
        """Each upstream answers, or fails if it is ill, at each attempt."""
        while used := [one for one in self.loop.transports if one.protocol.reader is not None]:  # type: ignore[attr-defined]
            number = int(used[-1].protocol.upstream.id[3])  # type: ignore[attr-defined]
            if number in self.ill:
                used[-1].receive_eof()
            else:
                used[-1].receive(self.good)
            self.settle()

    @property
    def out(self) -> list[int]:
        """The numbers of the upstreams that this worker has ejected."""
        return [number for number, one in enumerate(self.upstreams, 1) if one.is_outlier()]

    @property
    def doubts(self) -> list[str]:
        """The upstreams that the supervisor was asked to check at once."""
        return [one.id for one in self.told if isinstance(one, Doubt)]


@pytest.fixture
def harness() -> Iterator[FaultHarness]:
    made = FaultHarness()
    yield made
    made.check_and_close()


@pytest.mark.parametrize("request_", [GET, PUT], ids=["GET", "PUT"])
def test_a_failure_that_another_upstream_answers_counts_even_with_one_client(
    harness: FaultHarness, request_: bytes
) -> None:
    harness.ill = {1}
    for _ in range(9):
        assert status_of(harness.request(request_).take()) == 200
    assert harness.out == [1]
    assert [(one.symptom, one.count) for one in harness.only_told(Eject)] == [("failures", 3)]


def test_two_failing_upstreams_of_four_are_found_from_one_address() -> None:
    harness = FaultHarness(4)
    harness.ill = {1, 2}
    for _ in range(20):
        assert status_of(harness.request().take()) == 200
    assert harness.out == [1, 2]
    harness.check_and_close()


def test_requests_that_fail_at_every_upstream_count_against_none(harness: FaultHarness) -> None:
    harness.ill = {1, 2, 3}
    for number in range(30):
        assert status_of(harness.request(address=f"203.0.113.{number}").take()) == 502
        harness.advance(1)  # within the budget for retries
    assert harness.told == []
    assert harness.out == []


@pytest.mark.parametrize("answer", [ERROR, BUSY], ids=["500", "503"])
def test_an_error_of_another_upstream_is_not_an_answer(harness: FaultHarness, answer: bytes) -> None:
    harness.ill = {1}
    harness.good = answer
    for _ in range(12):
        harness.request()
    assert {one.symptom for one in harness.only_told(Eject)} == {"5xx"}


# Requests that are sent only once.
ONCE: dict[str, tuple[bytes, dict[str, Any]]] = {
    "POST": (POST, {}),
    "an upgrade": (UPGRADE, {}),
    "GET that may not be sent again": (GET, {"retry": {"max_attempts": 1}}),
    "GET beyond the budget": (GET, {"retry": {"budget_ratio": 0.0, "budget_min_per_second": 0.0}}),
}


@pytest.mark.parametrize("case", ONCE)
def test_failures_tried_nowhere_else_stay_doubtful_if_all_are_from_one_client(case: str) -> None:
    request, changes = ONCE[case]
    harness = FaultHarness(2, **changes)
    harness.ill = {1}
    for _ in range(60):
        harness.request(request)
        harness.advance(0.1)
    assert harness.out == []
    assert set(harness.doubts) == {"app1:8000"}
    assert 4 <= len(harness.doubts) <= 6  # within six seconds
    harness.check_and_close()


def test_a_single_upstream_is_not_doubted() -> None:
    harness = FaultHarness(1)
    harness.ill = {1}
    for _ in range(10):
        harness.request(POST)
    assert harness.told == []
    harness.check_and_close()


def test_failures_of_a_second_client_that_last_for_a_second_make_an_outlier(harness: FaultHarness) -> None:
    harness.ill = {1}
    for number in range(24):
        harness.request(POST, f"203.0.113.{number % 2}")
        harness.advance(0.04)
    assert harness.out == []
    for number in range(9):
        harness.request(POST, f"203.0.113.{number % 2}")
        harness.advance(0.04)
    assert harness.out == [1]


def test_addresses_of_one_ipv6_64_are_one_client(harness: FaultHarness) -> None:
    harness.ill = {1}
    for number in range(60):
        harness.request(POST, f"2001:db8:1:2::{number}")
        harness.advance(0.04)
    assert harness.out == []
    harness.request(POST, "2001:db8:1:3::1")
    for _ in range(6):
        harness.request(POST, "2001:db8:1:2::1")
    assert harness.out == [1]


def test_ten_clients_whose_requests_fail_everywhere_eject_nothing(harness: FaultHarness) -> None:
    """POSTs are sent once, but policies spread them: the others do no better."""
    harness.ill = {1, 2, 3}
    for number in range(300):
        harness.request(POST, f"203.0.113.{number % 10}")
        harness.advance(0.02)
        if number % 5 == 0:
            harness.ill = set()
            harness.request(address="203.0.113.99")
            harness.ill = {1, 2, 3}
    assert harness.out == []
    assert {one.skip_reason for one in harness.told if isinstance(one, Eject)} <= {"pool_wide"}


def test_ten_clients_pinned_to_one_upstream_eject_nothing() -> None:
    """The clients chose the upstream, so better results of the others prove nothing. A check decides."""
    harness = FaultHarness(3, sticky=OWN)
    token = tokens(harness, 3)[0]
    sessions = [Session(harness, f"203.0.113.{number}") for number in range(10)]
    for number in range(200):
        session = sessions[number % 10]
        session.send(b"pin=" + token, method=b"POST", more=b"Content-Length: 0\r\n")
        assert session.server == 1
        session.serving.receive_eof()
        harness.settle()
        assert status_of(session.client.take()) == 502
        harness.advance(0.03)
    assert harness.out == []
    assert 4 <= len(harness.doubts) <= 7  # six seconds
    harness.check_and_close()


@pytest.mark.parametrize("how", ["closes", "says 500"])
def test_failures_of_one_pinned_client_count_once(how: str) -> None:
    """The upstream may fail because of the client's session, which no other has."""
    harness = FaultHarness(3, sticky=OWN, retry={"budget_min_per_second": 100.0})
    token = tokens(harness, 3)[0]
    session = Session(harness)
    for _ in range(30):
        session.send(b"pin=" + token)
        assert session.server == 1
        if how == "closes":
            session.serving.receive_eof()
            harness.settle()
            session.serving.receive(OK)
        else:
            session.serving.receive(ERROR)
        harness.settle()
    assert harness.out == []
    assert harness.doubts == ["app1:8000"]
    others = 2 if how == "closes" else 4
    for number in range(others):
        other = Session(harness, f"203.0.113.{number}")
        other.send(b"pin=" + token)
        other.serving.receive(ERROR if how == "says 500" else b"nonsense\r\n\r\n")
        harness.settle()
        if how == "closes":
            other.serving.receive(OK)
            harness.settle()
    assert harness.out == [1]
    harness.check_and_close()


@pytest.mark.parametrize("key", ["client_ip", "path"])
def test_failures_of_one_client_by_hash_key_count_once(key: str) -> None:
    harness = FaultHarness(3, policy="consistent_hash", hash_key=key)
    harness.good = ERROR
    for _ in range(30):
        harness.request()
    assert harness.out == []
    assert len(harness.doubts) == 1
    harness.check_and_close()


def test_a_client_that_had_not_sent_its_whole_body_may_be_the_cause(harness: FaultHarness) -> None:
    """An app that waits in vain for a body closes; when the rest arrives another app answers."""
    for _ in range(12):
        client = harness.ask(PUT[:-2])
        harness.upstream.receive_eof()
        harness.settle()
        client.receive(b"cd")
        harness.settle()
        harness.play()
        assert status_of(client.take()) == 200
    assert harness.out == []


def test_a_response_that_breaks_off_cannot_be_tried_elsewhere(harness: FaultHarness) -> None:
    for _ in range(30):
        client = harness.ask()
        harness.answer(HALF)
        harness.upstream.receive_eof()
        harness.settle()
        assert client.is_closing()
    assert harness.out == []
    assert set(harness.doubts) == {"app1:8000", "app2:8000", "app3:8000"}


def test_a_failure_before_a_tunnel_is_judged_when_the_tunnel_begins(harness: FaultHarness) -> None:
    """The tunnel's end may be hours later."""
    for _ in range(9):
        harness.ask(UPGRADE)
        number = int(harness.upstream.protocol.upstream.id[3])  # type: ignore[attr-defined]
        if number == 1:
            harness.upstream.receive(b"nonsense\r\n\r\n")
            harness.settle()
        harness.answer(SWITCH)
    assert harness.tunnels == 9
    assert harness.out == [1]


def test_failures_at_a_former_address_do_not_count(harness: FaultHarness) -> None:
    for _ in range(3):
        while True:
            client = harness.ask()
            if int(harness.upstream.protocol.upstream.id[3]) == 1:  # type: ignore[attr-defined]
                break
            harness.answer()
        harness.upstream.receive_eof()
        harness.settle()
        assert client.take() == b""
    harness.move(1, "10.0.0.9")
    harness.play()
    assert harness.out == []


# --- upgrades


def test_an_upgrade_uses_a_fresh_connection_and_is_not_sent_again_after_a_refusal() -> None:
    harness = Harness(3)
    for _ in range(3):
        harness.ask()
    for one in harness.loop.transports:
        one.receive(OK)
    harness.settle()
    assert harness.idle == 3
    client = harness.ask(UPGRADE)
    assert len(harness.dialled) == 4
    harness.upstream.receive_eof()
    harness.settle()
    assert status_of(client.take()) == 502
    assert len(harness.dialled) == 4
    assert harness.idle == 3
    harness.check_and_close()


def test_an_upgrade_that_cannot_connect_goes_elsewhere() -> None:
    harness = Harness(2)
    harness.refuse(1)
    client = harness.ask(UPGRADE)
    harness.answer(SWITCH)
    assert status_of(client.take()) == 101
    harness.check_and_close()


# --- probation


def on_probation(harness: FaultHarness, ill: set[int], **changes: Any) -> None:
    harness.tell(upstream_message(1, on_probation=True), upstream_message(2), upstream_message(3))
    harness.ill = ill


def test_a_trial_that_another_upstream_answers_has_failed(harness: FaultHarness) -> None:
    on_probation(harness, {1})
    assert status_of(harness.request().take()) == 200
    assert harness.out == [1]
    assert [one.on_probation for one in harness.only_told(Eject)] == [True]


def test_a_trial_that_fails_everywhere_decides_nothing_and_is_repeated(harness: FaultHarness) -> None:
    on_probation(harness, {1, 2, 3})
    assert status_of(harness.request().take()) == 502
    assert harness.told == []
    harness.ill = set()
    harness.request()
    assert [type(one) for one in harness.told] == [Recovered]


def test_no_second_trial_while_others_retry_the_first(harness: FaultHarness) -> None:
    on_probation(harness, set())
    harness.ask()
    assert harness.upstream.protocol.upstream.id == "app1:8000"  # type: ignore[attr-defined]
    harness.upstream.receive_eof()
    harness.settle()
    assert harness.inflight[0] == 0
    harness.ask()
    assert harness.inflight[0] == 0
    harness.play()
    assert harness.out == [1]


def test_an_upgrade_is_no_trial_while_other_requests_may_arrive(harness: FaultHarness) -> None:
    on_probation(harness, {1})
    for _ in range(3):
        assert status_of(harness.request(UPGRADE).take()) == 200
    assert harness.told == []
