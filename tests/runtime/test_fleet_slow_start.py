"""When a slow start begins, by the state changes of an upstream."""

import pytest

from balancer.upstreams.state import AdminState
from tests.runtime.fleet_harness import CHECK, DNS, OUTLIER, Harness, member


def ramps(harness: Harness) -> list[float]:
    return [harness.fleet.effective_weight(one) for one in harness.pool.upstreams.values()]


def slow(harness: Harness) -> None:
    harness.set(slow_start_ns=10 * 10**9)
    harness.fleet.established()


SLOWLY = [
    pytest.param(AdminState.MAINTENANCE, 0.1, id="after maintenance"),
    pytest.param(AdminState.DRAINING, 1.0, id="not after a drain: the process went on"),
]


@pytest.mark.parametrize(("state", "share"), SLOWLY)
def test_slow_start_after_an_operators_change(harness: Harness, state: AdminState, share: float) -> None:
    slow(harness)
    harness.fleet.set_admin_state(harness.upstream(1), state)
    harness.fleet.set_admin_state(harness.upstream(1), AdminState.ACTIVE)
    if harness.upstream(1).unchecked:
        harness.fleet.passed_first(harness.upstream(1), "200 on /")
    assert ramps(harness) == [share, 1.0]


def test_a_readmitted_upstream_starts_slowly(harness: Harness) -> None:
    slow(harness)
    harness.fleet.eject(harness.upstream(1), CHECK, "gone")
    harness.clock.advance(60)
    harness.fleet.readmit(harness.upstream(1), CHECK, "back")
    began = harness.clock.monotonic_ns()
    assert ramps(harness) == [0.1, 1.0]
    told = harness.told()
    assert told is not None
    assert [one.ramp_since_ns for one in told] == [began, 0]
    harness.clock.advance(5)
    assert ramps(harness) == [0.5, 1.0]
    # A worker that starts now continues the ramp.
    assert [one.ramp_since_ns for one in harness.pool.update(1).members] == [began, 0]
    harness.clock.advance(5)
    assert ramps(harness) == [1.0, 1.0]


def test_slow_start_begins_when_the_last_cause_ends(harness: Harness) -> None:
    slow(harness)
    harness.fleet.eject(harness.upstream(1), CHECK, "gone")
    harness.fleet.eject(harness.upstream(1), OUTLIER, "bad")
    harness.fleet.readmit(harness.upstream(1), CHECK, "back")
    assert ramps(harness) == [1.0, 1.0]
    harness.fleet.readmit(harness.upstream(1), OUTLIER, "good")
    assert ramps(harness) == [0.1, 1.0]


def test_an_outlier_starts_slowly_after_its_probation(harness: Harness) -> None:
    """Not with the probation, in which an upstream gets one request at a time whatever its weight."""
    slow(harness)
    upstream = harness.upstream(1)
    harness.fleet.eject(upstream, OUTLIER, "bad")
    harness.fleet.put_on_probation(upstream, "10 s are over")
    assert ramps(harness) == [1.0, 1.0]
    harness.clock.advance(60)
    harness.fleet.end_probation(upstream, "a request has succeeded")
    assert ramps(harness) == [0.1, 1.0]
    assert [one.ramp_since_ns for one in harness.told() or []] == [harness.clock.monotonic_ns(), 0]


def test_an_outlier_that_also_fails_its_checks_starts_slowly_when_they_pass(harness: Harness) -> None:
    slow(harness)
    upstream = harness.upstream(1)
    harness.fleet.eject(upstream, OUTLIER, "bad")
    harness.fleet.put_on_probation(upstream, "10 s are over")
    harness.fleet.eject(upstream, CHECK, "gone")
    harness.fleet.end_probation(upstream, "a request has succeeded")
    assert ramps(harness) == [1.0, 1.0]
    harness.fleet.readmit(upstream, CHECK, "back")
    assert ramps(harness) == [0.1, 1.0]


def test_upstreams_present_at_the_start_have_no_slow_start_and_later_ones_do(harness: Harness) -> None:
    harness.set(slow_start_ns=10 * 10**9)
    harness.fleet.set_members("default", DNS, [member(1)])
    harness.fleet.established()
    harness.fleet.set_members("default", DNS, [member(1), member(2)])
    assert ramps(harness) == [1.0, 1.0, 1.0, 1.0], "it does not serve yet"
    harness.fleet.passed_first(harness.pool.upstreams["10.1.0.2:8000"], "200 on /")
    assert ramps(harness) == [1.0, 1.0, 1.0, 0.1]


@pytest.mark.parametrize("before", ["", "10.0.0.1"], ids=["its name resolves", "it moves"])
def test_an_upstream_with_a_new_address_starts_slowly(harness: Harness, before: str) -> None:
    slow(harness)
    harness.upstream(1).address = before
    harness.fleet.set_address(harness.upstream(1), "10.0.0.9")
    harness.fleet.passed_first(harness.upstream(1), "200 on /")
    assert ramps(harness) == [0.1, 1.0]


def test_if_slow_start_is_off_there_is_no_ramp(harness: Harness) -> None:
    harness.fleet.established()
    harness.fleet.eject(harness.upstream(1), CHECK, "gone")
    harness.fleet.readmit(harness.upstream(1), CHECK, "back")
    assert harness.upstream(1).ramp_since_ns == 0
    assert ramps(harness) == [1.0, 1.0]
