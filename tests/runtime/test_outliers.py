"""The supervisor's verdict on outliers: which are ejected, for how long, and the reports to workers and
people."""

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
from balancer.upstreams.traffic_history import SkipReason, Symptom
from tests.fakes.loop import FakeClock
from tests.fakes.specs import pool_spec

CHECK, OUTLIER = Cause.ACTIVE_CHECK, Cause.OUTLIER


class Harness:
    """A pool of four, at most half of which are ejected; 10 s the first time, 25 s at most."""

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
            {"default": EjectionSpec(time=10, max_time=25, max_percent=50)},
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
        seen = {"symptom": Symptom.SERVER_ERRORS, "count": 5, "on_probation": False, "skip_reason": None}
        return Eject(**{**self.about(number), **seen, **changes})

    def doubted(self, number: int, **changes: Any) -> Doubt:
        seen = {"symptom": Symptom.FAILURES, "count": 3, "on_probation": False, "skip_reason": None}
        return Doubt(**{**self.about(number), **seen, **changes})

    def suspect(self, number: int = 1, **changes: Any) -> int | None:
        """A worker suspects this upstream; returns the revision until which it is told to keep it ejected."""
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
        """The check requested last has this result."""
        _, asks = self.checks[-1]
        asks(CheckResult(0.0, result is Result.PASSED, result, 0, 0.0, "it was reset", ""))

    def recover(self, number: int = 1) -> None:
        self.outliers.recovered(Recovered(**self.about(number)))

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events.after(0)]


@pytest.fixture
def harness() -> Iterator[Harness]:
    segment = Segment.create(workers=1)
    yield Harness(segment)
    segment.close()


def test_a_suspect_is_ejected_and_the_worker_learns_the_revision(harness: Harness) -> None:
    assert harness.suspect(1) == harness.fleet.revision > 0
    assert harness.upstream(1).causes == {OUTLIER}
    assert harness.pool.ejections == {"outlier": 1}
    (event,) = harness.events.after(0)
    assert (event.kind, event.cause) == ("ejected", "outlier")
    assert "ejected for 10 s: 5 consecutive 5xx responses at worker 2" in event.text


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"symptom": Symptom.FAILURES, "count": 3}, "3 consecutive failed attempts"),
        ({"symptom": Symptom.FAILURES, "count": 1}, "a failed attempt at"),
        ({"count": 1}, "a 5xx response at"),
    ],
    ids=["failures", "one failure", "one 5xx"],
)
def test_the_cause_of_an_ejection_is_logged(harness: Harness, changes: dict[str, Any], text: str) -> None:
    harness.suspect(1, **changes)
    assert text in harness.events.after(0)[-1].text


def test_a_second_worker_that_suspects_the_same_is_confirmed(harness: Harness) -> None:
    first = harness.suspect(1)
    assert harness.suspect(1) == first
    assert harness.kinds() == ["ejected"]
    assert harness.pool.ejections == {"outlier": 1}


def test_suspects_beyond_the_limit_are_spared_and_the_worker_is_overruled(harness: Harness) -> None:
    for number in (1, 2):
        assert harness.suspect(number)
    assert harness.suspect(3) == 0
    assert harness.upstream(3).causes == frozenset()
    assert harness.pool.ejections_skipped == {"max_percent": 1}
    assert harness.kinds() == ["ejected", "ejected", "ejection_skipped"]
    assert "OUTLIER__MAX_EJECTION_PERCENT" in harness.events.after(0)[-1].text


def test_the_last_eligible_upstream_is_spared(harness: Harness) -> None:
    for number in (2, 3, 4):
        harness.fleet.eject(harness.upstream(number), CHECK, "x")
    assert harness.suspect(1) == 0
    assert harness.pool.ejections_skipped == {"last_eligible": 1}


@pytest.mark.parametrize("reason", ["pool_wide", "last_eligible"])
def test_an_upstream_spared_by_a_worker_stays_and_is_counted(harness: Harness, reason: str) -> None:
    assert harness.suspect(1, skip_reason=reason) is None
    assert harness.upstream(1).causes == frozenset()
    assert harness.pool.ejections_skipped == {reason: 1}


def test_skipped_ejections_are_counted_each_time_and_logged_once_a_minute(harness: Harness) -> None:
    for _ in range(120):
        harness.suspect(1, skip_reason=SkipReason.POOL_WIDE)
        harness.suspect(2, skip_reason=SkipReason.POOL_WIDE)
        harness.advance(1)
    assert harness.pool.ejections_skipped == {"pool_wide": 240}
    assert harness.kinds() == ["ejection_skipped", "ejection_skipped"]


def test_a_removed_or_returned_upstream_is_no_suspect(harness: Harness) -> None:
    assert harness.outliers.suspected(0, harness.found(1, id="app9:8000")) is not None
    assert harness.outliers.suspected(0, harness.found(1, pool="gone")) is not None
    verdict = harness.outliers.suspected(0, harness.found(1, row=99))
    assert verdict is not None
    assert verdict.until == 0
    assert harness.kinds() == []


def test_after_its_time_an_outlier_is_on_probation(harness: Harness) -> None:
    harness.suspect(1)
    harness.advance(9.9)
    assert harness.upstream(1).causes == {OUTLIER}
    harness.advance(0.1)
    assert (harness.upstream(1).causes, harness.upstream(1).on_probation) == (frozenset(), True)
    harness.recover(1)
    harness.recover(1)  # another worker's
    assert not harness.upstream(1).on_probation
    assert harness.kinds() == ["ejected", "probation", "readmitted"]
    assert harness.upstream(1).changes == {
        ("ejected", "outlier"): 1,
        ("probation", "outlier"): 1,
        ("readmitted", "outlier"): 1,
    }


def test_passed_checks_do_not_shorten_an_ejection(harness: Harness) -> None:
    harness.suspect(1)
    harness.fleet.eject(harness.upstream(1), CHECK, "x")
    harness.fleet.readmit(harness.upstream(1), CHECK, "passed")
    assert harness.upstream(1).causes == {OUTLIER}


def test_the_end_of_an_ejection_does_not_end_what_checks_found(harness: Harness) -> None:
    harness.suspect(1)
    harness.fleet.eject(harness.upstream(1), CHECK, "x")
    harness.advance(10)
    assert (harness.upstream(1).causes, harness.upstream(1).on_probation) == (frozenset([CHECK]), True)


def test_a_failure_on_probation_ejects_for_longer(harness: Harness) -> None:
    harness.suspect(1)
    harness.advance(10)
    assert harness.suspect(1, count=1, on_probation=True)
    assert (harness.upstream(1).causes, harness.upstream(1).on_probation) == (frozenset([OUTLIER]), False)
    assert (
        "for 20 s (2nd in a row): a 5xx response at worker 2 while on probation"
        in harness.events.after(0)[-1].text
    )
    harness.advance(19.9)
    assert harness.upstream(1).causes == {OUTLIER}
    harness.advance(0.1)
    assert harness.upstream(1).on_probation


def test_a_failure_after_probation_counts_like_any_other(harness: Harness) -> None:
    harness.suspect(1)
    harness.advance(10)
    harness.recover(1)
    assert harness.suspect(1, count=1, on_probation=True) == 0
    assert harness.upstream(1).causes == frozenset()


def test_at_a_new_address_an_upstream_is_another_one(harness: Harness) -> None:
    upstream = harness.upstream(1)
    harness.suspect(1)
    harness.fleet.set_address(upstream, "10.0.0.9")
    assert (upstream.causes, upstream.on_probation) == (frozenset(), False)
    harness.suspect(1)
    harness.advance(5)
    assert upstream.causes == {OUTLIER}
    assert "for 10 s" in harness.events.after(0)[-1].text
    harness.advance(5)
    harness.fleet.set_address(upstream, "10.0.0.1")
    assert not upstream.on_probation


def test_reports_about_a_former_address_are_ignored(harness: Harness) -> None:
    harness.fleet.set_address(harness.upstream(1), "10.0.0.9")
    assert harness.suspect(1, host="10.0.0.1") == 0
    assert harness.kinds() == ["address"]
    assert harness.suspect(1) != 0


def test_the_ejection_time_of_a_former_address_ends_nothing(harness: Harness) -> None:
    harness.suspect(1)
    harness.advance(9)
    harness.fleet.set_address(harness.upstream(1), "10.0.0.9")
    harness.suspect(1)
    harness.advance(1)
    assert harness.upstream(1).causes == {OUTLIER}


def test_a_removed_upstream_comes_back_afresh(harness: Harness) -> None:
    upstream = harness.upstream(1)
    harness.suspect(1)
    harness.outliers.removed(upstream)
    harness.advance(10)
    assert "probation" not in harness.kinds()
    assert harness.outliers.ejection_term(upstream) is None


def test_end_and_number_of_the_ejection_can_be_queried(harness: Harness) -> None:
    upstream = harness.upstream(1)
    assert harness.outliers.ejection_term(upstream) is None
    harness.suspect(1)
    assert harness.outliers.ejection_term(upstream) == (harness.clock.wall() + 10, 1)
    harness.advance(10)
    harness.suspect(1, on_probation=True)
    harness.advance(5)
    assert harness.outliers.ejection_term(upstream) == (harness.clock.wall() + 15, 2)
    harness.advance(15)
    assert harness.outliers.ejection_term(upstream) == (harness.clock.wall(), 2)
    harness.recover(1)
    assert harness.outliers.ejection_term(upstream) is None


# --- doubts decided by a check


def test_a_doubted_upstream_is_checked_at_once_and_ejected_if_the_check_fails(harness: Harness) -> None:
    harness.doubt()
    assert [upstream for upstream, _ in harness.checks] == [harness.upstream(1)]
    assert harness.kinds() == []
    harness.check(Result.CLOSED)
    assert harness.upstream(1).causes == {OUTLIER}
    text = harness.events.after(0)[-1].text
    assert "ejected for 10 s: 3 consecutive failed attempts at worker 2" in text
    assert text.endswith(", and an immediate check failed (it was reset)")
    harness.advance(10)
    assert harness.upstream(1).on_probation


@pytest.mark.parametrize("result", [Result.PASSED, Result.SLOW, Result.LATE, Result.NOT_MADE])
def test_an_inconclusive_check_ejects_nothing(harness: Harness, result: Result) -> None:
    harness.doubt()
    harness.check(result)
    assert harness.kinds() == []


def test_a_doubt_spares_as_many_as_any_suspicion(harness: Harness) -> None:
    for number in (1, 2, 3):
        harness.doubt(number)
        harness.check(Result.TIMEOUT)
    assert harness.kinds() == ["ejected", "ejected", "ejection_skipped"]


def test_a_check_of_a_former_address_is_ignored(harness: Harness) -> None:
    harness.doubt()
    harness.fleet.set_address(harness.upstream(1), "10.0.0.9")
    harness.check(Result.CLOSED)
    assert harness.upstream(1).causes == frozenset()


def test_an_ejected_or_removed_upstream_is_not_checked_for_a_doubt(harness: Harness) -> None:
    harness.suspect(1)
    harness.doubt(1)
    harness.outliers.doubted(2, harness.doubted(2, row=99))
    assert harness.checks == []


def test_without_active_checks_a_doubt_changes_nothing(harness: Harness) -> None:
    settings = {"default": EjectionSpec(time=10, max_time=25, max_percent=50)}
    outliers = Outliers(harness.fleet, settings, clock=harness.clock, call_later=lambda delay, callback: None)
    outliers.doubted(2, harness.doubted(1))
    assert harness.kinds() == []
