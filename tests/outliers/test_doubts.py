"""Faults that a client may have caused: which upstreams they make suspect, check or spare."""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.errors import Outcome
from balancer.outliers.detector import OutlierDetector, Suspicion
from balancer.spec.worker import OutlierSpec
from balancer.telemetry.columns import CELLS_PER_ROW
from balancer.upstreams.fault import Fault, Proof
from balancer.upstreams.state import Cause
from balancer.upstreams.traffic_history import SkipReason, Symptom
from balancer.upstreams.upstream import Upstream
from tests.fakes.loop import FakeClock

UNTRIED, ALIKE, SURE = Proof.UNTRIED, Proof.ALIKE, Proof.SURE
DOUBT = Suspicion(Symptom.FAILURES, 3, on_probation=False, skip_reason=None, doubted=True)


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

    def fail(
        self, client: str = "a", proven: Proof = UNTRIED, number: int = 1, outcome: Outcome = Outcome.FAILED,
        held: bool = False, on_trial: bool = False,
    ) -> Suspicion | None:  # fmt: skip
        fault = Fault(outcome, proven, client, held)
        return self.detector.ended(self.members[number - 1], fault, self.members, on_trial)

    def serve(self, number: int = 1, times: int = 1) -> None:
        for _ in range(times):
            self.members[number - 1].history.succeeded(self.clock.monotonic_ns())


def test_failures_of_one_client_request_a_check_and_make_no_suspect() -> None:
    harness = Harness()
    found = []
    for _ in range(100):
        found.append(harness.fail())
        harness.clock.advance(0.1)
    asked = [one for one in found if one is not None]
    assert asked[0] == DOUBT
    assert all(one.doubted for one in asked)
    assert len(asked) == 10  # once a second


def test_a_success_ends_a_doubt() -> None:
    harness = Harness()
    for _ in range(30):
        assert harness.fail() is None
        assert harness.fail("b") is None
        harness.clock.advance(1)
        harness.serve()


def test_failures_of_two_clients_for_over_a_second_make_a_suspect() -> None:
    harness = Harness()
    for _ in range(2):
        harness.fail("a")
    assert harness.fail("b") == DOUBT
    harness.clock.advance(0.99)
    assert harness.fail("a") is None
    harness.clock.advance(0.01)
    assert harness.fail("a") == Suspicion(Symptom.FAILURES, 5, on_probation=False, skip_reason=None)


# How many requests of all clients failed at the others meanwhile, and how many they answered; the suspect
# answered ten before. Whether the request rather than the replica is to blame.
OTHERS = {
    "none fail": (0, 20, False),
    "half as many fail": (4, 20, True),
    "few fail": (1, 20, False),
    "as many fail": (10, 20, True),
}


@pytest.mark.parametrize("alike", [True, False], ids=["at several of them", "at one each"])
@pytest.mark.parametrize("case", OTHERS)
def test_if_the_others_do_no_better_the_request_is_to_blame(case: str, alike: bool) -> None:
    failed, served, spared = OTHERS[case]
    harness = Harness()
    harness.serve(1, 10)
    harness.serve(2, served // 2)
    harness.serve(3, served // 2)
    for number in range(failed):
        harness.fail("ab"[number % 2], ALIKE if alike else UNTRIED, number=2 + number % 2)
    for client in "abab":
        harness.fail(client)
    harness.clock.advance(1)
    suspicion = harness.fail()
    assert suspicion is not None
    assert suspicion.skip_reason is (SkipReason.POOL_WIDE if spared else None)


def test_a_request_that_failed_everywhere_starts_no_run() -> None:
    harness = Harness()
    for _ in range(50):
        assert harness.fail("a", ALIKE) is None
        assert harness.fail("b", ALIKE) is None
        harness.clock.advance(0.1)
    assert not harness.members[0].history.watched


def test_for_clients_that_chose_their_upstream_the_check_decides() -> None:
    harness = Harness()
    found = []
    for number in range(100):
        found.append(harness.fail(f"203.0.113.{number % 10}", held=True))
        harness.clock.advance(0.1)
    assert {one.doubted for one in found if one is not None} == {True}


def test_each_client_that_chose_its_upstream_counts_once() -> None:
    harness = Harness()
    error = Outcome.SERVER_ERROR
    found = [harness.fail(client, SURE, outcome=error, held=True) for client in "aaaaabbbbcccd"]
    assert [one for one in found if one is not None and not one.doubted] == []
    assert harness.fail("e", SURE, outcome=error, held=True) == Suspicion(
        Symptom.SERVER_ERRORS, 14, False, None
    )


def test_certain_failures_need_no_second_client() -> None:
    harness = Harness()
    assert harness.fail(proven=SURE) is None
    assert harness.fail(proven=SURE) is None
    assert harness.fail(proven=SURE) == Suspicion(Symptom.FAILURES, 3, False, None)


@pytest.mark.parametrize("case", ["alone", "the others are ejected"])
def test_the_last_upstream_is_not_doubted(case: str) -> None:
    harness = Harness(1 if case == "alone" else 3)
    for other in harness.members[1:]:
        other.causes = frozenset([Cause.OUTLIER])
    assert [harness.fail() for _ in range(10)] == [None] * 10


def test_if_all_are_late_no_check_is_requested_for_lateness() -> None:
    """Under overload checks are late, too."""
    harness = Harness()
    for _ in range(10):
        assert [harness.fail(number=number, outcome=Outcome.TIMED_OUT) for number in (1, 2, 3)] == [None] * 3
        harness.clock.advance(0.5)


def test_a_trial_that_failed_everywhere_decides_nothing() -> None:
    harness = Harness()
    assert harness.fail(proven=ALIKE, on_trial=True) is None
    suspicion = harness.fail(proven=UNTRIED, on_trial=True)
    assert suspicion == Suspicion(Symptom.FAILURES, 1, on_probation=True, skip_reason=None)


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["untried", "alike", "held", "served", "time"]),
        st.integers(1, 3),
        st.sampled_from([Outcome.FAILED, Outcome.TIMED_OUT]),
    ),
    max_size=80,
)


@given(EVENTS)
def test_no_single_client_makes_a_suspect_in_any_order(events: list[tuple[str, int, Outcome]]) -> None:
    """Whatever one client does, as long as no other upstream answers a request that one has failed."""
    harness = Harness()
    for kind, number, outcome in events:
        if kind == "time":
            harness.clock.advance(0.4)
        elif kind == "served":
            harness.serve(number)
        else:
            proven = ALIKE if kind == "alike" else UNTRIED
            suspicion = harness.fail("a", proven, number, outcome, held=kind == "held")
            assert suspicion is None or suspicion.doubted
