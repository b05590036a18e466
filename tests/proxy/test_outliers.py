"""A worker ejects an outlier at once, reports it, ignores older updates, and tries it on probation."""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

import errno
from collections.abc import Iterator
from typing import Any

import pytest

from balancer.errors import Outcome
from balancer.messages import Eject, Recovered
from balancer.upstreams.state import Cause
from balancer.upstreams.traffic_history import Symptom
from tests.fakes.wire import FakeTransport, upstream_message
from tests.proxy.harness import GET, OK, Harness, status_of

ERROR = b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
OUTLIER = {"causes": ["outlier"]}
ON_PROBATION = {"on_probation": True}


class OutlierHarness(Harness):
    """Two upstreams, of which the first answers 500 while it is `ill`."""

    def __init__(self, upstreams: int = 2, **changes: Any) -> None:
        super().__init__(upstreams, outlier={"enabled": True}, **changes)
        self.ill = True

    def play(self, count: int, request: bytes = GET) -> str:
        """Requests one after the other: the numbers of the upstreams that got them."""
        return "".join(str(self.one(request)) for _ in range(count))

    def one(self, request: bytes = GET) -> int:
        number = self.begin(request)
        self.answer(ERROR if number == 1 and self.ill else OK)
        return number

    def begin(self, request: bytes = GET) -> int:
        """Begin a request and leave it unanswered; returns its upstream."""
        before = list(self.inflight)
        self.ask(request)
        return next(n for n, one in enumerate(self.upstreams, 1) if one.inflight > before[n - 1])

    def ejected_here(self) -> None:
        """The first upstream fails until it is ejected here."""
        while not self.upstreams[0].is_outlier():
            self.one()

    def say(self, first: dict[str, Any], revision: int = 0) -> None:
        """The supervisor sends the pool with the first upstream in this state."""
        self.revision = revision - 1 if revision else self.revision
        self.tell(upstream_message(1, **first), upstream_message(2))

    def judged(self, until: int) -> None:
        self.judge(4, until)


@pytest.fixture
def harness() -> Iterator[OutlierHarness]:
    # Each upstream connection is for one request, so that the newest is the one to answer on.
    made = OutlierHarness(keepalive={"max_idle": 0})
    yield made
    made.check_and_close()


def test_an_upstream_gets_no_more_requests_after_the_fifth_5xx(harness: OutlierHarness) -> None:
    asked = harness.play(30)
    assert asked.count("1") == 5
    assert asked.endswith("2" * 20)


def test_the_supervisor_is_told_once(harness: OutlierHarness) -> None:
    harness.play(30)
    assert harness.told == [
        Eject(
            pool="default",
            id="app1:8000",
            row=4,
            host="10.0.0.1",
            symptom=Symptom.SERVER_ERRORS,
            count=5,
            on_probation=False,
            skip_reason=None,
        )
    ]


def test_failed_dials_count(harness: OutlierHarness) -> None:
    harness.refuse(1)
    for _ in range(10):
        harness.ask()
        harness.answer(OK)
    assert harness.upstreams[0].is_outlier()
    assert [(one.symptom, one.count) for one in harness.only_told(Eject)] == [("failures", 3)]


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_a_shortage_on_this_machine_is_not_the_upstreams_fault(harness: OutlierHarness, number: int) -> None:
    harness.refuse(1, error=OSError(number, "none left"))
    for _ in range(10):
        harness.ask()
        harness.answer(OK)
        assert status_of(harness.clients[-1].take()) == 200
    assert harness.told == []


STREAM = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
UPGRADE = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"


@pytest.mark.parametrize("kind", ["downloads", "tunnels"])
def test_successes_that_began_earlier_do_not_hide_present_failures(
    harness: OutlierHarness, kind: str
) -> None:
    """Long responses and tunnels end all the time; their outcome is that of their begin."""
    older: list[FakeTransport] = []
    while len(older) < 20:
        number = harness.begin(GET if kind == "downloads" else UPGRADE)
        harness.answer(STREAM if kind == "downloads" else SWITCH)
        if number == 1:
            older.append(harness.upstream)
    harness.advance(0.01)
    asked = ""
    for one in older:
        asked += harness.play(2)
        if kind == "downloads":
            one.receive(b"123456789")
        else:
            one.receive_eof()
        harness.settle()
    assert asked.count("1") == 5


def test_a_501_does_not_count(harness: OutlierHarness) -> None:
    for _ in range(30):
        harness.begin()
        harness.answer(b"HTTP/1.1 501 No\r\nContent-Length: 0\r\n\r\n")
    assert harness.told == []


def test_an_upstream_spared_here_is_reported_but_stays() -> None:
    harness = OutlierHarness(1, keepalive={"max_idle": 0})
    assert harness.play(20) == "1" * 20
    assert [one.skip_reason for one in harness.only_told(Eject)] == ["last_eligible"]
    assert not harness.upstreams[0].is_outlier()
    harness.check_and_close()


def test_an_upstream_that_cannot_be_reported_stays(harness: OutlierHarness) -> None:
    harness.hears = False
    assert harness.play(30).count("1") == 15
    harness.hears = True
    assert harness.play(30).count("1") < 15


def test_without_outlier_detection_nothing_is_watched() -> None:
    harness = Harness(2, keepalive={"max_idle": 0})
    for _ in range(20):
        harness.ask()
        harness.answer(ERROR)
    assert harness.told == []
    assert harness.upstreams[0].history.successes == 0
    harness.check_and_close()


# --- the supervisor's verdict


def test_updates_from_before_the_report_do_not_undo_the_ejection(harness: OutlierHarness) -> None:
    harness.ejected_here()
    harness.say({}, revision=7)  # it was on its way
    assert harness.upstreams[0].is_outlier()
    harness.judged(until=9)
    harness.say({}, revision=8)  # so was this
    assert harness.upstreams[0].is_outlier()
    harness.say(OUTLIER, revision=9)
    assert harness.upstreams[0].is_outlier()
    harness.say({}, revision=10)
    assert not harness.upstreams[0].is_outlier()
    assert "1" in harness.play(2)


def test_an_update_may_arrive_before_the_verdict(harness: OutlierHarness) -> None:
    harness.ejected_here()
    harness.say(OUTLIER, revision=9)
    harness.judged(until=9)
    assert harness.upstreams[0].is_outlier()
    harness.say(ON_PROBATION, revision=10)
    assert not harness.upstreams[0].is_outlier()


def test_an_overruled_upstream_is_used_again(harness: OutlierHarness) -> None:
    harness.ejected_here()
    harness.judged(until=0)
    assert not harness.upstreams[0].is_outlier()
    assert sorted(harness.play(20)) == ["1"] * 10 + ["2"] * 10
    assert len(harness.told) == 1  # it is not judged again for a second
    harness.advance(1)
    harness.ejected_here()
    assert len(harness.told) == 2


def test_an_overruled_upstream_keeps_its_other_causes(harness: OutlierHarness) -> None:
    harness.ejected_here()
    harness.say({"causes": ["active_check"]})
    assert harness.upstreams[0].causes == {Cause.ACTIVE_CHECK, Cause.OUTLIER}
    harness.judged(until=0)
    assert harness.upstreams[0].causes == {Cause.ACTIVE_CHECK}


@pytest.mark.parametrize("row", [4, 99], ids=["not ejected here", "removed"])
def test_an_unexpected_verdict_changes_nothing(harness: OutlierHarness, row: int) -> None:
    harness.say(OUTLIER)
    harness.judge(row, 0)
    assert harness.upstreams[0].is_outlier()


def test_a_new_address_starts_afresh(harness: OutlierHarness) -> None:
    harness.play(8)
    harness.move(1, "10.0.0.9")
    assert harness.play(8).count("1") == 4
    assert harness.told == []


# --- probation


def test_on_probation_one_request_is_a_trial_and_a_success_ends_it(harness: OutlierHarness) -> None:
    harness.say(ON_PROBATION)
    harness.ill = False
    assert harness.begin() == 1
    waiting = harness.upstream
    assert harness.play(5) == "22222"
    waiting.receive(OK)
    harness.settle()
    assert [type(one) for one in harness.told] == [Recovered]
    assert "1" in harness.play(2)


def test_on_probation_one_failure_ejects(harness: OutlierHarness) -> None:
    harness.say(ON_PROBATION)
    assert harness.play(10) == "1222222222"
    assert [(one.count, one.on_probation) for one in harness.only_told(Eject)] == [(1, True)]


def test_a_trial_whose_client_left_is_repeated(harness: OutlierHarness) -> None:
    harness.say(ON_PROBATION)
    assert harness.begin() == 1
    harness.clients[-1].lose()
    harness.settle()
    assert harness.told == []
    assert harness.begin() == 1
    harness.answer(OK)


def test_a_trial_whose_connect_is_swallowed_has_failed(harness: OutlierHarness) -> None:
    harness.hold(1)
    harness.say(ON_PROBATION)
    assert harness.begin() == 1
    harness.advance(0.25)
    harness.answer(OK)
    assert status_of(harness.clients[-1].take()) == 200
    assert [(one.symptom, one.on_probation) for one in harness.only_told(Eject)] == [("failures", True)]


def test_a_full_upstream_gets_no_trial(harness: OutlierHarness) -> None:
    while harness.begin() != 1:
        harness.answer(OK)
    harness.tell(upstream_message(1, max_inflight=1, **ON_PROBATION), upstream_message(2))
    harness.advance(1)
    assert harness.play(2) == "22"


def test_a_backup_on_probation_gets_no_trial_while_it_stands_by(harness: OutlierHarness) -> None:
    harness.say({"backup": True, **ON_PROBATION})
    assert harness.play(3) == "222"
    harness.tell(
        upstream_message(1, backup=True, **ON_PROBATION), upstream_message(2, causes=["active_check"])
    )
    assert harness.play(1) == "1"


def test_backups_serve_while_the_only_candidate_is_on_probation(harness: OutlierHarness) -> None:
    harness.ill = False
    harness.tell(upstream_message(1, **ON_PROBATION), upstream_message(2, backup=True))
    assert harness.begin() == 1
    waiting = harness.upstream
    assert harness.play(2) == "22"
    waiting.receive(OK)
    harness.settle()
    assert harness.play(2) == "11"


def test_requests_that_cannot_be_retried_become_trials_only_after_a_delay(harness: OutlierHarness) -> None:
    harness.say(ON_PROBATION)
    harness.ill = False
    assert harness.play(3, POST) == "222"
    harness.advance(1)
    assert harness.one(POST) == 1


def test_a_trial_waits_for_earlier_requests_but_not_for_long(harness: OutlierHarness) -> None:
    while harness.begin() != 1:
        harness.answer(OK)
    harness.say(OUTLIER)
    harness.say(ON_PROBATION)
    assert harness.play(3) == "222"
    harness.advance(1)
    assert harness.begin() == 1
    harness.answer(OK)


def test_earlier_requests_decide_nothing(harness: OutlierHarness) -> None:
    older = [harness.begin() for _ in range(2)].index(1)
    before = harness.loop.transports[older]
    harness.say(OUTLIER)
    harness.advance(10)
    harness.say(ON_PROBATION)
    before.receive(OK)
    harness.settle()
    assert harness.upstreams[0].on_probation
    assert harness.told == []
    harness.ill = False
    assert harness.one() == 1
    assert [type(one) for one in harness.told] == [Recovered]


def test_updates_about_others_do_not_restart_a_probation(harness: OutlierHarness) -> None:
    harness.say(ON_PROBATION)
    assert harness.begin() == 1
    waiting = harness.upstream
    harness.say(ON_PROBATION)
    assert harness.play(1) == "2"
    harness.advance(1)
    assert harness.play(3) == "222"
    waiting.receive(OK)
    harness.settle()
    assert [type(one) for one in harness.told] == [Recovered]


def test_earlier_requests_that_end_during_a_trial_decide_nothing(harness: OutlierHarness) -> None:
    older = [harness.begin() for _ in range(4)].index(1)
    before = harness.loop.transports[older]
    before.receive(STREAM)
    harness.say(OUTLIER)
    harness.advance(10)
    harness.say(ON_PROBATION)
    assert harness.play(1) == "2"
    harness.advance(1)
    assert harness.begin() == 1
    trial = harness.upstream
    before.receive(b"123456789")
    harness.settle()
    assert harness.told == []
    assert harness.play(3) == "222"  # the trial still runs
    trial.receive(ERROR)
    harness.settle()
    assert [one.on_probation for one in harness.only_told(Eject)] == [True]


def test_a_slow_trial_is_joined_by_another(harness: OutlierHarness) -> None:
    harness.ill = False
    harness.say(ON_PROBATION)
    assert harness.begin() == 1
    harness.advance(4.9)
    assert harness.play(2) == "22"
    harness.advance(0.1)
    assert harness.one() == 1
    assert [type(one) for one in harness.told] == [Recovered]


def test_a_second_attempt_is_not_a_trial(harness: OutlierHarness) -> None:
    harness.tell(upstream_message(1, **ON_PROBATION), upstream_message(2), upstream_message(3))
    _, second, third = harness.upstreams
    chosen = harness.pool.choose(0, (second,), 0, None, b"GET")
    assert chosen is third
    harness.pool.finished(chosen, 0, Outcome.CANCELLED)


def test_a_single_upstream_on_probation_serves_all(harness: OutlierHarness) -> None:
    harness.ill = False
    harness.tell(upstream_message(1, **ON_PROBATION), upstream_message(2, causes=["active_check"]))
    assert [harness.begin(), harness.begin()] == [1, 1]
    harness.answer(OK)
    assert [type(one) for one in harness.told] == [Recovered]


def test_clients_get_the_response_of_a_trial(harness: OutlierHarness) -> None:
    harness.say(ON_PROBATION)
    harness.one()
    assert status_of(harness.clients[-1].take()) == 500


@pytest.mark.parametrize(
    ("hung", "out"),
    [((1,), [True, False]), ((2,), [False, True]), ((1, 2), [False, False])],
    ids=["the first", "the second", "all, as under overload"],
)
def test_late_responses_count_while_the_other_upstream_answers(
    hung: tuple[int, ...], out: list[bool]
) -> None:
    harness = OutlierHarness(timeouts={"first_byte": 1.0}, keepalive={"max_idle": 0})
    for time in range(40):
        before = list(harness.inflight)
        harness.ask(POST, harness.client(f"203.0.113.{time // 2 % 2}"))
        if next(n for n in (1, 2) if harness.inflight[n - 1] > before[n - 1]) not in hung:
            harness.answer(OK)
        harness.advance(0.2)
    assert [one.is_outlier() for one in harness.upstreams] == out
    reasons = {message.skip_reason for message in harness.told if isinstance(message, Eject)}
    assert reasons == ({"pool_wide"} if len(hung) == 2 else {None})
