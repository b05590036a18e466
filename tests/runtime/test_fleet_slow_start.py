"""When a slow start begins, by what has become of an upstream."""

import pytest

from balancer.upstreams.state import AdminState
from tests.runtime.fleet_harness import CHECK, DNS, OUTLIER, Scene, member


def ramps(scene: Scene) -> list[float]:
    return [scene.fleet.effective_weight(one) for one in scene.pool.upstreams.values()]


def slow(scene: Scene) -> None:
    scene.set(slow_start_ns=10 * 10**9)
    scene.fleet.established()


SLOWLY = [
    pytest.param(AdminState.MAINTENANCE, 0.1, id="after maintenance"),
    pytest.param(AdminState.DRAINING, 1.0, id="not after a drain: the process went on"),
]


@pytest.mark.parametrize(("state", "share"), SLOWLY)
def test_slow_start_after_what_the_operator_wanted(scene: Scene, state: AdminState, share: float) -> None:
    slow(scene)
    scene.fleet.set_admin_state(scene.upstream(1), state)
    scene.fleet.set_admin_state(scene.upstream(1), AdminState.ACTIVE)
    if scene.upstream(1).unchecked:
        scene.fleet.passed_first(scene.upstream(1), "200 on /")
    assert ramps(scene) == [share, 1.0]


def test_a_readmitted_one_starts_slowly(scene: Scene) -> None:
    slow(scene)
    scene.fleet.eject(scene.upstream(1), CHECK, "gone")
    scene.clock.advance(60)
    scene.fleet.readmit(scene.upstream(1), CHECK, "back")
    began = scene.clock.monotonic_ns()
    assert ramps(scene) == [0.1, 1.0]
    told = scene.told()
    assert told is not None
    assert [one.ramp_since_ns for one in told] == [began, 0]
    scene.clock.advance(5)
    assert ramps(scene) == [0.5, 1.0]
    # A worker that is started now goes on with the ramp.
    assert [one.ramp_since_ns for one in scene.pool.update(1).members] == [began, 0]
    scene.clock.advance(5)
    assert ramps(scene) == [1.0, 1.0]


def test_it_starts_when_its_last_cause_is_over(scene: Scene) -> None:
    slow(scene)
    scene.fleet.eject(scene.upstream(1), CHECK, "gone")
    scene.fleet.eject(scene.upstream(1), OUTLIER, "bad")
    scene.fleet.readmit(scene.upstream(1), CHECK, "back")
    assert ramps(scene) == [1.0, 1.0]
    scene.fleet.readmit(scene.upstream(1), OUTLIER, "good")
    assert ramps(scene) == [0.1, 1.0]


def test_an_outlier_starts_slowly_when_its_probation_is_over(scene: Scene) -> None:
    """Not with the probation, in which it gets one request at a time whatever its weight."""
    slow(scene)
    upstream = scene.upstream(1)
    scene.fleet.eject(upstream, OUTLIER, "bad")
    scene.fleet.put_on_probation(upstream, "10 s are over")
    assert ramps(scene) == [1.0, 1.0]
    scene.clock.advance(60)
    scene.fleet.trust(upstream, "a request has succeeded")
    assert ramps(scene) == [0.1, 1.0]
    assert [one.ramp_since_ns for one in scene.told() or []] == [scene.clock.monotonic_ns(), 0]


def test_an_outlier_that_fails_its_checks_too_starts_slowly_when_these_pass(scene: Scene) -> None:
    slow(scene)
    upstream = scene.upstream(1)
    scene.fleet.eject(upstream, OUTLIER, "bad")
    scene.fleet.put_on_probation(upstream, "10 s are over")
    scene.fleet.eject(upstream, CHECK, "gone")
    scene.fleet.trust(upstream, "a request has succeeded")
    assert ramps(scene) == [1.0, 1.0]
    scene.fleet.readmit(upstream, CHECK, "back")
    assert ramps(scene) == [0.1, 1.0]


def test_who_is_there_at_the_start_starts_at_once_and_who_comes_later_slowly(scene: Scene) -> None:
    scene.set(slow_start_ns=10 * 10**9)
    scene.fleet.set_members("default", DNS, [member(1)])
    scene.fleet.established()
    scene.fleet.set_members("default", DNS, [member(1), member(2)])
    assert ramps(scene) == [1.0, 1.0, 1.0, 1.0], "it does not serve yet"
    scene.fleet.passed_first(scene.pool.upstreams["10.1.0.2:8000"], "200 on /")
    assert ramps(scene) == [1.0, 1.0, 1.0, 0.1]


@pytest.mark.parametrize("before", ["", "10.0.0.1"], ids=["its name resolves", "it moves"])
def test_one_with_a_new_address_starts_slowly(scene: Scene, before: str) -> None:
    slow(scene)
    scene.upstream(1).address = before
    scene.fleet.set_address(scene.upstream(1), "10.0.0.9")
    scene.fleet.passed_first(scene.upstream(1), "200 on /")
    assert ramps(scene) == [0.1, 1.0]


def test_without_slow_start_there_is_no_ramp(scene: Scene) -> None:
    scene.fleet.established()
    scene.fleet.eject(scene.upstream(1), CHECK, "gone")
    scene.fleet.readmit(scene.upstream(1), CHECK, "back")
    assert scene.upstream(1).ramp_since_ns == 0
    assert ramps(scene) == [1.0, 1.0]
