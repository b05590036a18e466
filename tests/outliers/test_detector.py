"""OutlierDetector: which upstreams it suspects, by the outcomes of attempts, and which it spares."""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

from collections.abc import Sequence

import pytest

from balancer.errors import Outcome
from balancer.outliers.detector import OutlierDetector, Suspicion
from balancer.spec.worker import OutlierSpec
from balancer.telemetry.columns import CELLS_PER_ROW
from balancer.upstreams.fault import Fault
from balancer.upstreams.state import AdminState, Cause
from balancer.upstreams.traffic_history import SkipReason, Symptom
from balancer.upstreams.upstream import Upstream
from tests.fakes.loop import FakeClock

OUTCOMES = {
    "+": Outcome.SUCCESS,
    "5": Outcome.SERVER_ERROR,
    "c": Outcome.CONNECT_FAILED,
    "f": Outcome.FAILED,
    "g": Outcome.CLIENT_GONE,
    "x": Outcome.CANCELLED,
    "t": Outcome.TIMED_OUT,
}
SERVER_ERRORS, FAILURES = Symptom
OUTLIER = frozenset([Cause.OUTLIER])


class Harness:
    """A pool of three; five 5xx or three failures in a row are too many."""

    def __init__(self, count: int = 3) -> None:
        self.clock = FakeClock()
        self.detector = OutlierDetector(OutlierSpec(consecutive_5xx=5, consecutive_failures=3), self.clock)
        cells = memoryview(bytearray(CELLS_PER_ROW * 8)).cast("q")
        self.members = [
            Upstream(f"app{number}:8000", f"10.0.0.{number}", 8000, 1, cells, number)
            for number in range(1, count + 1)
        ]

    def play(self, outcomes: str, number: int = 1) -> list[Suspicion]:
        """Play these outcomes of attempts at one upstream; `.` is 100 ms. Returns the suspicions."""
        upstream = self.members[number - 1]
        found = []
        for one in outcomes:
            if one == ".":
                self.clock.advance(0.1)
                continue
            outcome = OUTCOMES[one]
            if outcome is Outcome.SUCCESS:
                upstream.history.succeeded(self.clock.monotonic_ns())
            elif (suspicion := self.detector.ended(upstream, Fault(outcome), self.members)) is not None:
                found.append(suspicion)
        return found


def symptoms(found: Sequence[Suspicion]) -> list[tuple[Symptom, int]]:
    return [(one.symptom, one.count) for one in found]


# The outcomes of attempts at one upstream, and the suspicions.
RUNS: dict[str, tuple[str, list[tuple[Symptom, int]]]] = {
    "nothing": ("", []),
    "four": ("5555", []),
    "five": ("55555", [(SERVER_ERRORS, 5)]),
    "a success between": ("5555+5555", []),
    "five after a success": ("5555+55555", [(SERVER_ERRORS, 5)]),
    "many successes between": ("5555" + "+" * 1000 + "5555", []),
    "two failures": ("ff", []),
    "three failures": ("fff", [(FAILURES, 3)]),
    "three refused": ("ccc", [(FAILURES, 3)]),
    "refused and reset mixed": ("cfc", [(FAILURES, 3)]),
    "failures with a success between": ("ff+f", []),
    "a failure does not end a run of 5xx": ("5555f5", [(SERVER_ERRORS, 5)]),
    "a 5xx does not end a run of failures": ("ff5f", [(FAILURES, 3)]),
    "three timeouts in one sweep": ("tttttt", []),
    "timeouts in more than one": ("t...tt", [(FAILURES, 3)]),
    "timeouts in two, fewer than three": ("t...t", []),
    "timeouts with a success between": ("ttt.+..ttt", []),
    "refused, then timed out": ("c...tt", [(FAILURES, 3)]),
    "timed out, then refused": ("ttc", [(FAILURES, 3)]),
    "clients that leave": ("ggggggggg", []),
    "given up here": ("xxxxxxxxx", []),
    "clients that leave end no run": ("55g55x5", [(SERVER_ERRORS, 5)]),
}


@pytest.mark.parametrize("case", RUNS)
def test_consecutive_failures_make_a_suspect(case: str) -> None:
    outcomes, expected = RUNS[case]
    assert symptoms(Harness().play(outcomes)) == expected


@pytest.mark.parametrize(("answered_after", "left"), [(-1.0, 3), (0.5, 1)], ids=["before", "between"])
def test_a_success_counts_from_the_begin_of_its_response(answered_after: float, left: int) -> None:
    """A success whose response began before the run does not end it; one that began later does."""
    harness = Harness()
    history = harness.members[0].history
    answered = harness.clock.monotonic_ns() + round(answered_after * 1e9)
    harness.play("5")
    harness.clock.advance(1)
    harness.play("5")
    history.succeeded(answered)
    run = history.failed(SERVER_ERRORS, Fault(Outcome.SERVER_ERROR), 5, harness.clock.monotonic_ns())
    assert run.length == left


def test_each_upstream_is_counted_separately() -> None:
    harness = Harness()
    assert harness.play("5555", 1) == []
    assert harness.play("5555", 2) == []
    assert harness.play("5", 1) != []


def test_requests_that_still_ran_at_an_ejected_upstream_change_nothing() -> None:
    harness = Harness()
    harness.members[0].causes = OUTLIER
    assert harness.play("5555555555") == []


def test_one_failure_on_probation_makes_a_suspect() -> None:
    harness = Harness()
    first = harness.members[0]
    assert harness.detector.ended(first, Fault(Outcome.CLIENT_GONE), harness.members, on_trial=True) is None
    suspicion = harness.detector.ended(first, Fault(Outcome.SERVER_ERROR), harness.members, on_trial=True)
    assert suspicion == Suspicion(SERVER_ERRORS, 1, True, None)


# What the others answered meanwhile, and whether the app rather than the replica is to blame. The suspect
# answered ten requests well and then five with 5xx: a third of its responses.
POOL_WIDE: dict[str, tuple[list[str], bool]] = {
    "nothing at all": (["", ""], False),
    "well": (["+" * 15, "+" * 15], False),
    "a few 5xx": (["+" * 15, "+" * 10 + "5"], False),
    "just under half of the suspect's share": (["+" * 17 + "5555", ""], True),
    "half of it, and one more good": (["+" * 21 + "5555", ""], False),
    "just as many": (["+" * 10 + "5555", "+" * 10 + "5555"], True),
    "nothing but 5xx": (["5", ""], True),
    "failures, which are no 5xx": (["ff", "ff"], False),
}


@pytest.mark.parametrize("case", POOL_WIDE)
def test_if_the_others_answer_5xx_too_the_app_is_to_blame(case: str) -> None:
    others, expected = POOL_WIDE[case]
    harness = Harness()
    for number, outcomes in enumerate(others, 2):
        harness.play(outcomes, number)
    harness.play("+" * 10)
    (suspicion,) = harness.play("55555")
    assert suspicion.skip_reason is (SkipReason.POOL_WIDE if expected else None)


@pytest.mark.parametrize("failures", ["fff", "ccc"], ids=["reset", "refused"])
def test_connection_failures_are_never_blamed_on_the_app(failures: str) -> None:
    harness = Harness()
    harness.play("ffttt", 2)
    harness.play("5555tt", 3)
    (suspicion,) = harness.play(failures)
    assert suspicion.skip_reason is None


# How attempts at the others ended while the suspect answered ten requests well and was then late with five: a
# third of all.
ALL_LATE: dict[str, tuple[list[str], bool]] = {
    "well": (["+" * 15, "+" * 15], False),
    "a little late": (["+" * 15, "+" * 10 + "t"], False),
    "half as late": (["+" * 20 + "tttt", ""], True),
    "just as late": (["+" * 10 + "ttttt"] * 2, True),
    "not at all": (["ttttt", "ttttt"], True),
    "with 5xx": (["+" * 10 + "555", "+" * 10 + "555"], False),
    "reset": (["ff", "ff"], False),
}


@pytest.mark.parametrize("case", ALL_LATE)
def test_if_the_others_are_late_too_the_load_is_to_blame(case: str) -> None:
    others, expected = ALL_LATE[case]
    harness = Harness()
    for number, outcomes in enumerate(others, 2):
        harness.play(outcomes, number)
    (suspicion,) = harness.play("+" * 10 + "tttt...t")
    assert suspicion.skip_reason is (SkipReason.POOL_WIDE if expected else None)


def test_old_errors_of_the_others_do_not_count() -> None:
    harness = Harness()
    harness.play("5555", 2)
    harness.clock.advance(60)
    (suspicion,) = harness.play("55555")
    assert suspicion.skip_reason is None


def test_old_successes_do_not_hide_that_all_fail_now() -> None:
    harness = Harness()
    for number in (1, 2, 3):
        harness.play("+" * 100_000, number)
    harness.clock.advance(60)
    harness.play("5555", 2)
    harness.play("5555", 3)
    (suspicion,) = harness.play("55555")
    assert suspicion.skip_reason is SkipReason.POOL_WIDE


LAST = {
    "ejected": (OUTLIER, AdminState.ACTIVE, False),
    "failing their checks": (frozenset([Cause.ACTIVE_CHECK]), AdminState.ACTIVE, False),
    "draining": (frozenset[Cause](), AdminState.DRAINING, False),
    "on probation": (frozenset[Cause](), AdminState.ACTIVE, True),
}


@pytest.mark.parametrize("outcomes", ["55555", "fff"])
@pytest.mark.parametrize("case", LAST)
def test_the_last_upstream_is_spared_once_the_others_are_ejected(case: str, outcomes: str) -> None:
    harness = Harness()
    for other in harness.members[1:]:
        other.causes, other.admin_state, other.on_probation = LAST[case]
    (suspicion,) = harness.play(outcomes)
    assert suspicion.skip_reason is SkipReason.LAST_ELIGIBLE


def test_a_single_upstream_is_spared() -> None:
    (suspicion,) = Harness(count=1).play("fff")
    assert suspicion.skip_reason is SkipReason.LAST_ELIGIBLE


@pytest.mark.parametrize("by_whom", ["here", "by the supervisor"])
def test_a_spared_upstream_is_not_judged_again_at_once(by_whom: str) -> None:
    harness = Harness(count=1 if by_whom == "here" else 2)
    assert len(harness.play("fff")) == 1
    if by_whom != "here":
        harness.detector.overruled(harness.members[0])
    assert harness.play("f" * 100) == []
    harness.clock.advance(1)
    assert len(harness.play("f")) == 1
