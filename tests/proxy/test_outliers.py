"""What a worker does about an outlier: out at once, reported, held against older news, tried on probation."""

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
from tests.proxy.harness import GET, OK, Stage, status_of

ERROR = b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
OUTLIER = {"causes": ["outlier"]}
ON_PROBATION = {"on_probation": True}


class Scene(Stage):
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
        """A request that is not answered yet; which upstream has it."""
        before = list(self.inflight)
        self.ask(request)
        return next(n for n, one in enumerate(self.upstreams, 1) if one.inflight > before[n - 1])

    def ejected_here(self) -> None:
        """The first upstream has shown what it is."""
        while not self.upstreams[0].is_outlier():
            self.one()

    def say(self, first: dict[str, Any], revision: int = 0) -> None:
        """The supervisor tells of the pool, in which the first upstream is in this state."""
        self.revision = revision - 1 if revision else self.revision
        self.tell(upstream_message(1, **first), upstream_message(2))

    def judged(self, until: int) -> None:
        self.judge(4, until)


@pytest.fixture
def scene() -> Iterator[Scene]:
    # Each upstream connection is for one request, so that the newest is the one to answer on.
    made = Scene(keepalive={"max_idle": 0})
    yield made
    made.check_and_close()


def test_it_gets_no_more_requests_from_the_fifth_5xx_on(scene: Scene) -> None:
    asked = scene.play(30)
    assert asked.count("1") == 5
    assert asked.endswith("2" * 20)


def test_the_supervisor_is_told_once(scene: Scene) -> None:
    scene.play(30)
    assert scene.told == [
        Eject(
            pool="default",
            id="app1:8000",
            row=4,
            host="10.0.0.1",
            symptom=Symptom.SERVER_ERRORS,
            count=5,
            on_probation=False,
            spared=None,
        )
    ]


def test_dials_that_fail_count(scene: Scene) -> None:
    scene.refuse(1)
    for _ in range(10):
        scene.ask()
        scene.answer(OK)
    assert scene.upstreams[0].is_outlier()
    assert [(one.symptom, one.count) for one in scene.only_told(Eject)] == [("failures", 3)]


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_what_this_machine_has_run_out_of_is_nobodys_fault(scene: Scene, number: int) -> None:
    scene.refuse(1, error=OSError(number, "none left"))
    for _ in range(10):
        scene.ask()
        scene.answer(OK)
        assert status_of(scene.clients[-1].take()) == 200
    assert scene.told == []


STREAM = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
UPGRADE = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"


@pytest.mark.parametrize("kind", ["downloads", "tunnels"])
def test_what_began_well_before_does_not_hide_what_fails_now(scene: Scene, kind: str) -> None:
    """Long responses and tunnels end all the time; that says how the upstream was when they began."""
    older: list[FakeTransport] = []
    while len(older) < 20:
        number = scene.begin(GET if kind == "downloads" else UPGRADE)
        scene.answer(STREAM if kind == "downloads" else SWITCH)
        if number == 1:
            older.append(scene.upstream)
    scene.advance(0.01)
    asked = ""
    for one in older:
        asked += scene.play(2)
        if kind == "downloads":
            one.receive(b"123456789")
        else:
            one.receive_eof()
        scene.settle()
    assert asked.count("1") == 5


def test_501_is_about_the_request(scene: Scene) -> None:
    for _ in range(30):
        scene.begin()
        scene.answer(b"HTTP/1.1 501 No\r\nContent-Length: 0\r\n\r\n")
    assert scene.told == []


def test_who_is_spared_here_is_told_of_but_stays() -> None:
    scene = Scene(1, keepalive={"max_idle": 0})
    assert scene.play(20) == "1" * 20
    assert [one.spared for one in scene.only_told(Eject)] == ["last_eligible"]
    assert not scene.upstreams[0].is_outlier()
    scene.check_and_close()


def test_who_cannot_be_reported_stays(scene: Scene) -> None:
    scene.hears = False
    assert scene.play(30).count("1") == 15
    scene.hears = True
    assert scene.play(30).count("1") < 15


def test_turned_off_nothing_is_watched() -> None:
    scene = Stage(2, keepalive={"max_idle": 0})
    for _ in range(20):
        scene.ask()
        scene.answer(ERROR)
    assert scene.told == []
    assert scene.upstreams[0].conduct.successes == 0
    scene.check_and_close()


# --- the supervisor's word


def test_news_from_before_the_report_does_not_undo_it(scene: Scene) -> None:
    scene.ejected_here()
    scene.say({}, revision=7)  # it was on its way
    assert scene.upstreams[0].is_outlier()
    scene.judged(until=9)
    scene.say({}, revision=8)  # so was this
    assert scene.upstreams[0].is_outlier()
    scene.say(OUTLIER, revision=9)
    assert scene.upstreams[0].is_outlier()
    scene.say({}, revision=10)
    assert not scene.upstreams[0].is_outlier()
    assert "1" in scene.play(2)


def test_news_may_come_before_the_verdict(scene: Scene) -> None:
    scene.ejected_here()
    scene.say(OUTLIER, revision=9)
    scene.judged(until=9)
    assert scene.upstreams[0].is_outlier()
    scene.say(ON_PROBATION, revision=10)
    assert not scene.upstreams[0].is_outlier()


def test_overruled_it_is_used_again(scene: Scene) -> None:
    scene.ejected_here()
    scene.judged(until=0)
    assert not scene.upstreams[0].is_outlier()
    assert sorted(scene.play(20)) == ["1"] * 10 + ["2"] * 10
    assert len(scene.told) == 1  # it is left alone for a second
    scene.advance(1)
    scene.ejected_here()
    assert len(scene.told) == 2


def test_overruled_it_keeps_its_other_causes(scene: Scene) -> None:
    scene.ejected_here()
    scene.say({"causes": ["active_check"]})
    assert scene.upstreams[0].causes == {Cause.ACTIVE_CHECK, Cause.OUTLIER}
    scene.judged(until=0)
    assert scene.upstreams[0].causes == {Cause.ACTIVE_CHECK}


@pytest.mark.parametrize("row", [4, 99], ids=["one that nobody ejected here", "one that has left"])
def test_a_verdict_that_nobody_waits_for_changes_nothing(scene: Scene, row: int) -> None:
    scene.say(OUTLIER)
    scene.judge(row, 0)
    assert scene.upstreams[0].is_outlier()


def test_another_address_begins_anew(scene: Scene) -> None:
    scene.play(8)
    scene.move(1, "10.0.0.9")
    assert scene.play(8).count("1") == 4
    assert scene.told == []


# --- probation


def test_on_probation_one_request_is_tried_and_a_success_ends_it(scene: Scene) -> None:
    scene.say(ON_PROBATION)
    scene.ill = False
    assert scene.begin() == 1
    waiting = scene.upstream
    assert scene.play(5) == "22222"
    waiting.receive(OK)
    scene.settle()
    assert [type(one) for one in scene.told] == [Recovered]
    assert "1" in scene.play(2)


def test_on_probation_one_failure_is_enough(scene: Scene) -> None:
    scene.say(ON_PROBATION)
    assert scene.play(10) == "1222222222"
    assert [(one.count, one.on_probation) for one in scene.only_told(Eject)] == [(1, True)]


def test_a_trial_that_its_client_left_is_repeated(scene: Scene) -> None:
    scene.say(ON_PROBATION)
    assert scene.begin() == 1
    scene.clients[-1].lose()
    scene.settle()
    assert scene.told == []
    assert scene.begin() == 1
    scene.answer(OK)


def test_a_trial_whose_connection_is_swallowed_has_failed(scene: Scene) -> None:
    scene.hold(1)
    scene.say(ON_PROBATION)
    assert scene.begin() == 1
    scene.advance(0.25)
    scene.answer(OK)
    assert status_of(scene.clients[-1].take()) == 200
    assert [(one.symptom, one.on_probation) for one in scene.only_told(Eject)] == [("failures", True)]


def test_no_trial_where_there_is_no_place(scene: Scene) -> None:
    while scene.begin() != 1:
        scene.answer(OK)
    scene.tell(upstream_message(1, max_inflight=1, **ON_PROBATION), upstream_message(2))
    scene.advance(1)
    assert scene.play(2) == "22"


def test_a_backup_on_probation_is_not_tried_while_it_stands_by(scene: Scene) -> None:
    scene.say({"backup": True, **ON_PROBATION})
    assert scene.play(3) == "222"
    scene.tell(upstream_message(1, backup=True, **ON_PROBATION), upstream_message(2, causes=["active_check"]))
    assert scene.play(1) == "1"


def test_backups_stand_in_for_one_on_probation(scene: Scene) -> None:
    scene.ill = False
    scene.tell(upstream_message(1, **ON_PROBATION), upstream_message(2, backup=True))
    assert scene.begin() == 1
    waiting = scene.upstream
    assert scene.play(2) == "22"
    waiting.receive(OK)
    scene.settle()
    assert scene.play(2) == "11"


def test_requests_that_cannot_be_sent_again_try_it_only_after_a_while(scene: Scene) -> None:
    scene.say(ON_PROBATION)
    scene.ill = False
    assert scene.play(3, POST) == "222"
    scene.advance(1)
    assert scene.one(POST) == 1


def test_what_runs_from_before_is_waited_for_but_not_for_long(scene: Scene) -> None:
    while scene.begin() != 1:
        scene.answer(OK)
    scene.say(OUTLIER)
    scene.say(ON_PROBATION)
    assert scene.play(3) == "222"
    scene.advance(1)
    assert scene.begin() == 1
    scene.answer(OK)


def test_what_ends_from_before_decides_nothing(scene: Scene) -> None:
    older = [scene.begin() for _ in range(2)].index(1)
    before = scene.loop.transports[older]
    scene.say(OUTLIER)
    scene.advance(10)
    scene.say(ON_PROBATION)
    before.receive(OK)
    scene.settle()
    assert scene.upstreams[0].on_probation
    assert scene.told == []
    scene.ill = False
    assert scene.one() == 1
    assert [type(one) for one in scene.told] == [Recovered]


def test_news_of_others_does_not_begin_a_probation_anew(scene: Scene) -> None:
    scene.say(ON_PROBATION)
    assert scene.begin() == 1
    waiting = scene.upstream
    scene.say(ON_PROBATION)
    assert scene.play(1) == "2"
    scene.advance(1)
    assert scene.play(3) == "222"
    waiting.receive(OK)
    scene.settle()
    assert [type(one) for one in scene.told] == [Recovered]


def test_what_ends_from_before_while_a_trial_runs_decides_nothing(scene: Scene) -> None:
    older = [scene.begin() for _ in range(4)].index(1)
    before = scene.loop.transports[older]
    before.receive(STREAM)
    scene.say(OUTLIER)
    scene.advance(10)
    scene.say(ON_PROBATION)
    assert scene.play(1) == "2"
    scene.advance(1)
    assert scene.begin() == 1
    trial = scene.upstream
    before.receive(b"123456789")
    scene.settle()
    assert scene.told == []
    assert scene.play(3) == "222"  # the trial still runs
    trial.receive(ERROR)
    scene.settle()
    assert [one.on_probation for one in scene.only_told(Eject)] == [True]


def test_a_trial_that_takes_long_is_joined_by_another(scene: Scene) -> None:
    scene.ill = False
    scene.say(ON_PROBATION)
    assert scene.begin() == 1
    scene.advance(4.9)
    assert scene.play(2) == "22"
    scene.advance(0.1)
    assert scene.one() == 1
    assert [type(one) for one in scene.told] == [Recovered]


def test_a_second_attempt_is_no_trial(scene: Scene) -> None:
    scene.tell(upstream_message(1, **ON_PROBATION), upstream_message(2), upstream_message(3))
    _, second, third = scene.upstreams
    chosen = scene.pool.choose(0, (second,), 0, None, b"GET")
    assert chosen is third
    scene.pool.finished(chosen, 0, Outcome.CANCELLED)


def test_alone_on_probation_it_serves_all(scene: Scene) -> None:
    scene.ill = False
    scene.tell(upstream_message(1, **ON_PROBATION), upstream_message(2, causes=["active_check"]))
    assert [scene.begin(), scene.begin()] == [1, 1]
    scene.answer(OK)
    assert [type(one) for one in scene.told] == [Recovered]


def test_clients_get_what_a_trial_brought(scene: Scene) -> None:
    scene.say(ON_PROBATION)
    scene.one()
    assert status_of(scene.clients[-1].take()) == 500


@pytest.mark.parametrize(
    ("hung", "out"),
    [((1,), [True, False]), ((2,), [False, True]), ((1, 2), [False, False])],
    ids=["the first", "the second", "all, as under overload"],
)
def test_who_does_not_answer_in_time_while_the_other_does(hung: tuple[int, ...], out: list[bool]) -> None:
    scene = Scene(timeouts={"first_byte": 1.0}, keepalive={"max_idle": 0})
    for time in range(40):
        before = list(scene.inflight)
        scene.ask(POST, scene.client(f"203.0.113.{time // 2 % 2}"))
        if next(n for n in (1, 2) if scene.inflight[n - 1] > before[n - 1]) not in hung:
            scene.answer(OK)
        scene.advance(0.2)
    assert [one.is_outlier() for one in scene.upstreams] == out
    reasons = {message.spared for message in scene.told if isinstance(message, Eject)}
    assert reasons == ({"pool_wide"} if len(hung) == 2 else {None})
