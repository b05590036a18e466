"""The supervisor's word on outliers: who is ejected, for how long, and what workers and people are told."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from balancer.health.result import CheckResult, Result
from balancer.messages import Doubt, Eject, Recovered, Verdict
from balancer.runtime.fleet import Fleet
from balancer.runtime.outliers import Outliers
from balancer.runtime.states import PoolState, UpstreamState
from balancer.spec.instance import EjectionSpec
from balancer.telemetry.columns import Kind
from balancer.telemetry.events import EventLog
from balancer.telemetry.ledger import Ledger
from balancer.telemetry.segment import Segment
from balancer.upstreams.state import Cause
from balancer.upstreams.traffic_history import Spared, Symptom
from tests.fakes.loop import FakeClock
from tests.fakes.specs import pool_spec

CHECK, OUTLIER = Cause.ACTIVE_CHECK, Cause.OUTLIER


class Scene:
    """A pool of four, at most half of which are ejected; 10 s for the first time, 25 s at most."""

    def __init__(self, segment: Segment) -> None:
        self.clock = FakeClock()
        self.ledger = Ledger(segment)
        self.events = EventLog()
        self.timers: list[tuple[float, Callable[[], None]]] = []
        row = self.ledger.row(Kind.POOL, "default")
        self.pool = PoolState(pool_spec(), row, is_checked=False)
        for number in range(1, 5):
            name = f"app{number}:8000"
            row = self.ledger.row(Kind.UPSTREAM, "default", name)
            self.pool.upstreams[name] = UpstreamState(
                "default", name, "app", 8000, 1, row, f"10.0.0.{number}"
            )
        self.fleet = Fleet(
            [self.pool],
            ledger=self.ledger,
            events=self.events,
            clock=self.clock,
            log=logging.getLogger("balancer.test.outliers"),
            call_later=lambda delay, callback: None,
            broadcast=lambda message: None,
        )
        self.checks: list[tuple[UpstreamState, Callable[[CheckResult], None]]] = []
        self.outliers = Outliers(
            self.fleet,
            EjectionSpec(time=10, max_time=25, max_percent=50),
            clock=self.clock,
            call_later=self._call_later,
            check_now=lambda upstream, asks: self.checks.append((upstream, asks)),
        )
        self.fleet.watchers.append(self.outliers)

    def _call_later(self, delay: float, callback: Callable[[], None]) -> None:
        self.timers.append((self.clock.monotonic_ns() / 1e9 + delay, callback))

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        now = self.clock.monotonic_ns() / 1e9
        due = [callback for at, callback in self.timers if at <= now]
        self.timers = [timer for timer in self.timers if timer[0] > now]
        for callback in due:
            callback()

    def upstream(self, number: int = 1) -> UpstreamState:
        return self.pool.upstreams[f"app{number}:8000"]

    def about(self, number: int) -> dict[str, Any]:
        upstream = self.upstream(number)
        return {"pool": "default", "id": upstream.id, "row": upstream.row, "host": upstream.address}

    def found(self, number: int, **changes: Any) -> Eject:
        seen = {"symptom": Symptom.SERVER_ERRORS, "count": 5, "on_probation": False, "spared": None}
        return Eject(**{**self.about(number), **seen, **changes})

    def doubted(self, number: int, **changes: Any) -> Doubt:
        seen = {"symptom": Symptom.FAILURES, "count": 3, "on_probation": False, "spared": None}
        return Doubt(**{**self.about(number), **seen, **changes})

    def suspect(self, number: int = 1, **changes: Any) -> int | None:
        """A worker suspects this upstream; until which revision it is told to hold it."""
        verdict = self.outliers.suspected(2, self.found(number, **changes))
        if verdict is None:
            return None
        row = self.upstream(number).row
        assert verdict == Verdict(pool="default", row=row, until=verdict.until)
        return verdict.until

    def doubt(self, number: int = 1) -> None:
        """A worker has seen failures that a client may have caused."""
        self.outliers.doubted(2, self.doubted(number))

    def check(self, result: Result) -> None:
        """The check that was asked for last ends so."""
        _, asks = self.checks[-1]
        asks(CheckResult(0.0, result is Result.PASSED, result, 0, 0.0, "it was reset", ""))

    def recover(self, number: int = 1) -> None:
        self.outliers.recovered(Recovered(**self.about(number)))

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events.after(0)]


@pytest.fixture
def scene() -> Iterator[Scene]:
    segment = Segment.create(workers=1)
    yield Scene(segment)
    segment.close()


def test_a_suspect_is_ejected_and_the_worker_is_told_by_which_revision(scene: Scene) -> None:
    assert scene.suspect(1) == scene.fleet.revision > 0
    assert scene.upstream(1).causes == {OUTLIER}
    assert scene.pool.ejections == {"outlier": 1}
    (event,) = scene.events.after(0)
    assert (event.kind, event.cause) == ("ejected", "outlier")
    assert "5 responses in a row with 5xx at worker 2; for 10 s" in event.text


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"symptom": Symptom.FAILURES, "count": 3}, "3 failed attempts in a row"),
        ({"symptom": Symptom.FAILURES, "count": 1}, "1 failed attempt at"),
        ({"count": 1}, "1 response with 5xx at"),
    ],
    ids=["failures", "one failure", "one 5xx"],
)
def test_people_are_told_what_was_seen(scene: Scene, changes: dict[str, Any], text: str) -> None:
    scene.suspect(1, **changes)
    assert text in scene.events.after(0)[-1].text


def test_of_two_workers_the_second_hears_that_it_is_right(scene: Scene) -> None:
    first = scene.suspect(1)
    assert scene.suspect(1) == first
    assert scene.kinds() == ["ejected"]
    assert scene.pool.ejections == {"outlier": 1}


def test_too_many_are_spared_and_the_worker_is_overruled(scene: Scene) -> None:
    for number in (1, 2):
        assert scene.suspect(number)
    assert scene.suspect(3) == 0
    assert scene.upstream(3).causes == frozenset()
    assert scene.pool.ejections_skipped == {"max_percent": 1}
    assert scene.kinds() == ["ejected", "ejected", "spared"]
    assert "OUTLIER__MAX_EJECTION_PERCENT" in scene.events.after(0)[-1].text


def test_the_last_eligible_one_is_spared(scene: Scene) -> None:
    for number in (2, 3, 4):
        scene.fleet.eject(scene.upstream(number), CHECK, "x")
    assert scene.suspect(1) == 0
    assert scene.pool.ejections_skipped == {"last_eligible": 1}


@pytest.mark.parametrize("reason", ["pool_wide", "last_eligible"])
def test_whom_the_worker_has_spared_stays_and_is_counted(scene: Scene, reason: str) -> None:
    assert scene.suspect(1, spared=reason) is None
    assert scene.upstream(1).causes == frozenset()
    assert scene.pool.ejections_skipped == {reason: 1}


def test_why_suspects_stay_is_counted_each_time_and_said_once_a_minute(scene: Scene) -> None:
    for _ in range(120):
        scene.suspect(1, spared=Spared.POOL_WIDE)
        scene.suspect(2, spared=Spared.POOL_WIDE)
        scene.advance(1)
    assert scene.pool.ejections_skipped == {"pool_wide": 240}
    assert scene.kinds() == ["spared", "spared"]


def test_what_has_left_or_came_back_is_no_suspect(scene: Scene) -> None:
    assert scene.outliers.suspected(0, scene.found(1, id="app9:8000")) is not None
    assert scene.outliers.suspected(0, scene.found(1, pool="gone")) is not None
    verdict = scene.outliers.suspected(0, scene.found(1, row=99))
    assert verdict is not None
    assert verdict.until == 0
    assert scene.kinds() == []


def test_when_its_time_is_over_it_is_on_probation(scene: Scene) -> None:
    scene.suspect(1)
    scene.advance(9.9)
    assert scene.upstream(1).causes == {OUTLIER}
    scene.advance(0.1)
    assert (scene.upstream(1).causes, scene.upstream(1).on_probation) == (frozenset(), True)
    scene.recover(1)
    scene.recover(1)  # another worker's
    assert not scene.upstream(1).on_probation
    assert scene.kinds() == ["ejected", "probation", "readmitted"]
    assert scene.upstream(1).changes == {
        ("ejected", "outlier"): 1,
        ("probation", "outlier"): 1,
        ("readmitted", "outlier"): 1,
    }


def test_checks_do_not_shorten_it(scene: Scene) -> None:
    scene.suspect(1)
    scene.fleet.eject(scene.upstream(1), CHECK, "x")
    scene.fleet.readmit(scene.upstream(1), CHECK, "passed")
    assert scene.upstream(1).causes == {OUTLIER}


def test_nor_does_its_end_end_what_checks_found(scene: Scene) -> None:
    scene.suspect(1)
    scene.fleet.eject(scene.upstream(1), CHECK, "x")
    scene.advance(10)
    assert (scene.upstream(1).causes, scene.upstream(1).on_probation) == (frozenset([CHECK]), True)


def test_a_failure_on_probation_ejects_for_longer(scene: Scene) -> None:
    scene.suspect(1)
    scene.advance(10)
    assert scene.suspect(1, count=1, on_probation=True)
    assert (scene.upstream(1).causes, scene.upstream(1).on_probation) == (frozenset([OUTLIER]), False)
    assert "while on probation; for 20 s, time 2 in a row" in scene.events.after(0)[-1].text
    scene.advance(19.9)
    assert scene.upstream(1).causes == {OUTLIER}
    scene.advance(0.1)
    assert scene.upstream(1).on_probation


def test_a_failure_on_a_probation_that_is_over_is_one_of_five(scene: Scene) -> None:
    scene.suspect(1)
    scene.advance(10)
    scene.recover(1)
    assert scene.suspect(1, count=1, on_probation=True) == 0
    assert scene.upstream(1).causes == frozenset()


def test_at_another_address_it_is_another(scene: Scene) -> None:
    upstream = scene.upstream(1)
    scene.suspect(1)
    scene.fleet.set_address(upstream, "10.0.0.9")
    assert (upstream.causes, upstream.on_probation) == (frozenset(), False)
    scene.suspect(1)
    scene.advance(5)
    assert upstream.causes == {OUTLIER}
    assert "for 10 s" in scene.events.after(0)[-1].text
    scene.advance(5)
    scene.fleet.set_address(upstream, "10.0.0.1")
    assert not upstream.on_probation


def test_what_a_worker_saw_at_the_address_before_says_nothing_of_this_one(scene: Scene) -> None:
    scene.fleet.set_address(scene.upstream(1), "10.0.0.9")
    assert scene.suspect(1, host="10.0.0.1") == 0
    assert scene.kinds() == ["address"]
    assert scene.suspect(1) != 0


def test_the_time_of_another_address_ends_nothing(scene: Scene) -> None:
    scene.suspect(1)
    scene.advance(9)
    scene.fleet.set_address(scene.upstream(1), "10.0.0.9")
    scene.suspect(1)
    scene.advance(1)
    assert scene.upstream(1).causes == {OUTLIER}


def test_one_that_has_left_comes_back_anew(scene: Scene) -> None:
    upstream = scene.upstream(1)
    scene.suspect(1)
    scene.outliers.removed(upstream)
    scene.advance(10)
    assert "probation" not in scene.kinds()
    assert scene.outliers.sentence(upstream) is None


def test_until_when_and_for_which_time_can_be_asked(scene: Scene) -> None:
    upstream = scene.upstream(1)
    assert scene.outliers.sentence(upstream) is None
    scene.suspect(1)
    assert scene.outliers.sentence(upstream) == (scene.clock.wall() + 10, 1)
    scene.advance(10)
    scene.suspect(1, on_probation=True)
    scene.advance(5)
    assert scene.outliers.sentence(upstream) == (scene.clock.wall() + 15, 2)
    scene.advance(15)
    assert scene.outliers.sentence(upstream) == (scene.clock.wall(), 2)
    scene.recover(1)
    assert scene.outliers.sentence(upstream) is None


# --- what a check is to prove


def test_who_is_doubted_is_checked_at_once_and_ejected_if_that_fails(scene: Scene) -> None:
    scene.doubt()
    assert [upstream for upstream, _ in scene.checks] == [scene.upstream(1)]
    assert scene.kinds() == []
    scene.check(Result.CLOSED)
    assert scene.upstream(1).causes == {OUTLIER}
    seen = "3 failed attempts in a row at worker 2, and a check at once has failed (it was reset); for 10 s"
    assert seen in scene.events.after(0)[-1].text
    scene.advance(10)
    assert scene.upstream(1).on_probation


@pytest.mark.parametrize("result", [Result.PASSED, Result.SLOW, Result.LATE, Result.NOT_MADE])
def test_a_check_that_proves_nothing_ejects_nobody(scene: Scene, result: Result) -> None:
    scene.doubt()
    scene.check(result)
    assert scene.kinds() == []


def test_a_doubt_spares_as_many_as_any_suspicion(scene: Scene) -> None:
    for number in (1, 2, 3):
        scene.doubt(number)
        scene.check(Result.TIMEOUT)
    assert scene.kinds() == ["ejected", "ejected", "spared"]


def test_a_check_of_the_address_before_says_nothing_of_this_one(scene: Scene) -> None:
    scene.doubt()
    scene.fleet.set_address(scene.upstream(1), "10.0.0.9")
    scene.check(Result.CLOSED)
    assert scene.upstream(1).causes == frozenset()


def test_who_is_out_or_has_left_is_not_checked_for_it(scene: Scene) -> None:
    scene.suspect(1)
    scene.doubt(1)
    scene.outliers.doubted(2, scene.doubted(2, row=99))
    assert scene.checks == []


def test_without_active_checks_a_doubt_changes_nothing(scene: Scene) -> None:
    settings = EjectionSpec(time=10, max_time=25, max_percent=50)
    outliers = Outliers(scene.fleet, settings, clock=scene.clock, call_later=lambda delay, callback: None)
    outliers.doubted(2, scene.doubted(1))
    assert scene.kinds() == []
