"""An upstream before its first check, by how it came: what the fleet does, and whom it tells."""

from collections.abc import Callable

import pytest

from balancer.runtime.states import UpstreamState
from balancer.upstreams.state import AdminState, FirstCheck
from tests.runtime.fleet_harness import CHECK, DNS, OUTLIER, Scene, member

DONE, AWAITED, REQUIRED = FirstCheck
NEW = "10.1.0.1:8000"


def found(scene: Scene) -> UpstreamState:
    scene.fleet.set_members("default", DNS, [member(1)])
    return scene.pool.upstreams[NEW]


def added(scene: Scene) -> UpstreamState:
    assert scene.fleet.add("default", member(1))
    return scene.pool.upstreams[NEW]


def found_again(scene: Scene) -> UpstreamState:
    scene.fleet.passed_first(found(scene), "200 on /")
    scene.fleet.set_members("default", DNS, [])
    return found(scene)


def moved(scene: Scene) -> UpstreamState:
    scene.fleet.set_address(scene.upstream(1), "10.0.0.9")
    return scene.upstream(1)


def resolved(scene: Scene) -> UpstreamState:
    scene.upstream(1).address = ""
    return moved(scene)


def back(scene: Scene) -> UpstreamState:
    scene.fleet.set_admin_state(scene.upstream(1), AdminState.MAINTENANCE)
    scene.fleet.set_admin_state(scene.upstream(1), AdminState.ACTIVE)
    return scene.upstream(1)


CAME: dict[str, Callable[[Scene], UpstreamState]] = {
    "found by discovery": found,
    "added by the operator": added,
    "found again after it had gone": found_again,
    "at another address": moved,
    "its name resolves at last": resolved,
    "back from maintenance": back,
}
came = pytest.mark.parametrize("come", CAME.values(), ids=CAME)


@came
def test_who_comes_to_an_instance_that_runs_serves_after_one_passed_check(
    scene: Scene, come: Callable[[Scene], UpstreamState]
) -> None:
    scene.fleet.established()
    one = come(scene)
    assert (one.first_check, one.unchecked, one.is_eligible()) == (REQUIRED, True, False)
    assert scene.pool.eligible() == len(scene.pool.upstreams) - 1
    assert [it.first_check for it in scene.told() or [] if it.id == one.id] == ["required"]
    scene.fleet.passed_first(one, "200 on /")
    assert (one.first_check, one.unchecked, one.is_eligible()) == (DONE, False, True)
    assert [it.first_check for it in scene.told() or [] if it.id == one.id] == ["done"]
    event = scene.events.after(0)[-1]
    assert (event.kind, event.cause) == ("checked", "active_check")
    assert event.text == f"{one.id} has passed its first check: 200 on /"


@came
def test_one_failed_first_check_keeps_it_out(scene: Scene, come: Callable[[Scene], UpstreamState]) -> None:
    scene.fleet.established()
    one = come(scene)
    scene.fleet.eject(one, CHECK, "its first check has failed")
    assert (one.first_check, set(one.causes), one.is_eligible()) == (DONE, {CHECK}, False)
    scene.fleet.passed_first(one, "200 on /")
    scene.fleet.readmit(one, CHECK, "a check has passed")
    assert one.is_eligible()


@came
def test_where_nobody_is_checked_it_serves_at_once(
    scene: Scene, come: Callable[[Scene], UpstreamState]
) -> None:
    scene.pool.is_checked = False
    scene.fleet.established()
    one = come(scene)
    assert (one.first_check, one.is_eligible()) == (DONE, True)
    assert not scene.pool.is_starting


@pytest.mark.parametrize("come", [found, resolved], ids=["found by discovery", "its name resolves"])
def test_who_is_there_at_the_start_serves_meanwhile(
    scene: Scene, come: Callable[[Scene], UpstreamState]
) -> None:
    one = come(scene)
    scene.fleet.established()
    assert (one.first_check, one.unchecked, one.is_eligible()) == (AWAITED, True, True)
    scene.fleet.passed_first(scene.upstream(2), "200 on /")
    scene.told()
    kinds = scene.kinds()
    scene.fleet.passed_first(one, "200 on /")
    assert (one.first_check, one.is_eligible()) == (DONE, True)
    assert scene.told() is None, "nothing has changed for workers"
    assert scene.kinds() == kinds


@pytest.mark.parametrize("come", [moved, back], ids=["at another address", "back from maintenance"])
def test_what_checks_had_shown_before_is_forgotten(
    scene: Scene, come: Callable[[Scene], UpstreamState]
) -> None:
    scene.fleet.established()
    one = scene.upstream(1)
    scene.fleet.eject(one, CHECK, "it was ill")
    scene.fleet.eject(one, OUTLIER, "it was bad")
    assert come(scene) is one
    assert (one.first_check, set(one.causes)) == (REQUIRED, {OUTLIER}), (
        "what clients have met is not the checks'"
    )
    readmitted = [event for event in scene.events.after(0) if event.kind == "readmitted"]
    assert [event.cause for event in readmitted] == [CHECK]
    assert "so it is checked anew" in readmitted[0].text


def test_an_announcement_was_of_the_machine_before(scene: Scene) -> None:
    scene.fleet.established()
    scene.fleet.announce(scene.upstream(1), True, "503 on /")
    one = moved(scene)
    assert (one.admin_state, one.first_check) == (AdminState.ACTIVE, REQUIRED)


@pytest.mark.parametrize("panic", [True, False], ids=["panic", "no panic"])
def test_where_no_other_is_eligible_it_is_used_unchecked(scene: Scene, panic: bool) -> None:
    scene.set(panic=panic)
    scene.fleet.established()
    for number in (1, 2):
        scene.fleet.eject(scene.upstream(number), CHECK, "x")
    assert (scene.pool.panics, scene.pool.out) == (panic, not panic)
    one = found(scene)
    assert (scene.pool.panics, scene.pool.out) == (False, False)
    assert (one.is_eligible(), scene.pool.eligible()) == (False, 0)
    before = len(scene.events.after(0))
    scene.fleet.passed_first(one, "200 on /")
    assert [event.kind for event in scene.events.after(0)[before:]] == ["checked"]


def test_a_first_check_that_fails_is_no_end_of_panic(scene: Scene) -> None:
    """Between unchecked and ejected it must not look well."""
    scene.fleet.established()
    for number in (1, 2):
        scene.fleet.set_admin_state(scene.upstream(number), AdminState.MAINTENANCE)
    scene.fleet.eject(found(scene), CHECK, "x")
    before = len(scene.events.after(0))
    scene.fleet.set_members("default", DNS, [member(1), member(2)])
    scene.fleet.eject(scene.pool.upstreams["10.1.0.2:8000"], CHECK, "x")
    kinds = [event.kind for event in scene.events.after(0)[before:]]
    assert kinds == ["added", "panic_over", "ejected", "panic"]


def test_a_pool_is_starting_until_its_first_check_has_passed(scene: Scene) -> None:
    for number in (1, 2):
        scene.upstream(number).first_check = AWAITED
    scene.fleet.established()
    assert scene.pool.update(1).starting is True
    scene.fleet.eject(scene.upstream(1), CHECK, "its first check has failed")
    scene.told()
    assert scene.sent[0].starting is True
    scene.fleet.passed_first(scene.upstream(2), "200 on /")
    scene.told()
    assert [message.starting for message in scene.sent] == [False]
    scene.fleet.eject(scene.upstream(2), CHECK, "two checks have failed")
    scene.told()
    assert [message.starting for message in scene.sent] == [False]


@came
def test_its_slow_start_begins_when_it_first_serves(
    scene: Scene, come: Callable[[Scene], UpstreamState]
) -> None:
    scene.set(slow_start_ns=10 * 10**9)
    scene.fleet.established()
    one = come(scene)
    assert one.ramp_since_ns == 0
    scene.clock.advance(60)
    scene.fleet.passed_first(one, "200 on /")
    assert one.ramp_since_ns == scene.clock.monotonic_ns()
    assert scene.fleet.effective_weight(one) == pytest.approx(0.1)
