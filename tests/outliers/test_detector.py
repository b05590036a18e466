"""OutlierDetector: whom it suspects, by how attempts ended, and whom it spares."""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

from collections.abc import Sequence

import pytest

from balancer.errors import Outcome
from balancer.outliers.detector import OutlierDetector, Suspicion
from balancer.spec.worker import OutlierSpec
from balancer.telemetry.columns import CELLS_PER_ROW
from balancer.upstreams.fault import Fault
from balancer.upstreams.state import AdminState, Cause
from balancer.upstreams.traffic_history import Spared, Symptom
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


class Scene:
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
        """What becomes of it when attempts at one upstream end so, one after the other; `.` is 100 ms."""
        upstream = self.members[number - 1]
        found = []
        for one in outcomes:
            if one == ".":
                self.clock.advance(0.1)
                continue
            outcome = OUTCOMES[one]
            if outcome is Outcome.SUCCESS:
                upstream.conduct.succeeded(self.clock.monotonic_ns())
            elif (suspicion := self.detector.ended(upstream, Fault(outcome), self.members)) is not None:
                found.append(suspicion)
        return found


def symptoms(found: Sequence[Suspicion]) -> list[tuple[Symptom, int]]:
    return [(one.symptom, one.count) for one in found]


# How attempts at one upstream end, and what it is suspected for.
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
    "refused and reset alike": ("cfc", [(FAILURES, 3)]),
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
def test_runs_make_suspects(case: str) -> None:
    outcomes, expected = RUNS[case]
    assert symptoms(Scene().play(outcomes)) == expected


@pytest.mark.parametrize(("answered_after", "left"), [(-1.0, 3), (0.5, 1)], ids=["before", "between"])
def test_a_success_is_as_old_as_its_response(answered_after: float, left: int) -> None:
    """One whose response began before the run did does not end it; one that began since then does."""
    scene = Scene()
    conduct = scene.members[0].conduct
    answered = scene.clock.monotonic_ns() + round(answered_after * 1e9)
    scene.play("5")
    scene.clock.advance(1)
    scene.play("5")
    conduct.succeeded(answered)
    run = conduct.failed(SERVER_ERRORS, Fault(Outcome.SERVER_ERROR), 5, scene.clock.monotonic_ns())
    assert run.length == left


def test_upstreams_have_runs_of_their_own() -> None:
    scene = Scene()
    assert scene.play("5555", 1) == []
    assert scene.play("5555", 2) == []
    assert scene.play("5", 1) != []


def test_what_still_ran_at_an_ejected_one_changes_nothing() -> None:
    scene = Scene()
    scene.members[0].causes = OUTLIER
    assert scene.play("5555555555") == []


def test_one_failure_of_a_trial_is_too_many() -> None:
    scene = Scene()
    first = scene.members[0]
    assert scene.detector.ended(first, Fault(Outcome.CLIENT_GONE), scene.members, on_trial=True) is None
    suspicion = scene.detector.ended(first, Fault(Outcome.SERVER_ERROR), scene.members, on_trial=True)
    assert suspicion == Suspicion(SERVER_ERRORS, 1, True, None)


# What the others answered meanwhile, and whether it is the app rather than the replica. The suspect answered
# ten requests well and then five with 5xx: a third of its responses.
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
def test_where_the_others_answer_5xx_too_it_is_the_app(case: str) -> None:
    others, expected = POOL_WIDE[case]
    scene = Scene()
    for number, outcomes in enumerate(others, 2):
        scene.play(outcomes, number)
    scene.play("+" * 10)
    (suspicion,) = scene.play("55555")
    assert suspicion.spared is (Spared.POOL_WIDE if expected else None)


@pytest.mark.parametrize("failures", ["fff", "ccc"], ids=["reset", "refused"])
def test_failures_are_never_the_app(failures: str) -> None:
    scene = Scene()
    scene.play("ffttt", 2)
    scene.play("5555tt", 3)
    (suspicion,) = scene.play(failures)
    assert suspicion.spared is None


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
def test_where_the_others_are_late_too_it_is_the_load(case: str) -> None:
    others, expected = ALL_LATE[case]
    scene = Scene()
    for number, outcomes in enumerate(others, 2):
        scene.play(outcomes, number)
    (suspicion,) = scene.play("+" * 10 + "tttt...t")
    assert suspicion.spared is (Spared.POOL_WIDE if expected else None)


def test_errors_of_long_ago_are_not_held_against_the_others() -> None:
    scene = Scene()
    scene.play("5555", 2)
    scene.clock.advance(60)
    (suspicion,) = scene.play("55555")
    assert suspicion.spared is None


def test_successes_of_long_ago_do_not_hide_that_all_fail_now() -> None:
    scene = Scene()
    for number in (1, 2, 3):
        scene.play("+" * 100_000, number)
    scene.clock.advance(60)
    scene.play("5555", 2)
    scene.play("5555", 3)
    (suspicion,) = scene.play("55555")
    assert suspicion.spared is Spared.POOL_WIDE


LAST = {
    "ejected": (OUTLIER, AdminState.ACTIVE, False),
    "failing their checks": (frozenset([Cause.ACTIVE_CHECK]), AdminState.ACTIVE, False),
    "draining": (frozenset[Cause](), AdminState.DRAINING, False),
    "on probation": (frozenset[Cause](), AdminState.ACTIVE, True),
}


@pytest.mark.parametrize("outcomes", ["55555", "fff"])
@pytest.mark.parametrize("case", LAST)
def test_the_last_one_is_spared_where_the_others_are(case: str, outcomes: str) -> None:
    scene = Scene()
    for other in scene.members[1:]:
        other.causes, other.admin_state, other.on_probation = LAST[case]
    (suspicion,) = scene.play(outcomes)
    assert suspicion.spared is Spared.LAST_ELIGIBLE


def test_the_only_one_is_spared() -> None:
    (suspicion,) = Scene(count=1).play("fff")
    assert suspicion.spared is Spared.LAST_ELIGIBLE


@pytest.mark.parametrize("by_whom", ["here", "by the supervisor"])
def test_who_was_spared_is_not_judged_again_at_once(by_whom: str) -> None:
    scene = Scene(count=1 if by_whom == "here" else 2)
    assert len(scene.play("fff")) == 1
    if by_whom != "here":
        scene.detector.overruled(scene.members[0])
    assert scene.play("f" * 100) == []
    scene.clock.advance(1)
    assert len(scene.play("f")) == 1
