"""An upstream before its first check, by how it was added: the fleet's actions and reports."""

from collections.abc import Callable

import pytest

from balancer.runtime.states import UpstreamState
from balancer.upstreams.state import AdminState, FirstCheck
from tests.runtime.fleet_harness import CHECK, DNS, OUTLIER, Harness, member

DONE, AWAITED, REQUIRED = FirstCheck
NEW = "10.1.0.1:8000"


def found(harness: Harness) -> UpstreamState:
    harness.fleet.set_members("default", DNS, [member(1)])
    return harness.pool.upstreams[NEW]


def added(harness: Harness) -> UpstreamState:
    assert harness.fleet.add("default", member(1))
    return harness.pool.upstreams[NEW]


def found_again(harness: Harness) -> UpstreamState:
    harness.fleet.passed_first(found(harness), "200 on /")
    harness.fleet.set_members("default", DNS, [])
    return found(harness)


def moved(harness: Harness) -> UpstreamState:
    harness.fleet.set_address(harness.upstream(1), "10.0.0.9")
    return harness.upstream(1)


def resolved(harness: Harness) -> UpstreamState:
    harness.upstream(1).address = ""
    return moved(harness)


def back(harness: Harness) -> UpstreamState:
    harness.fleet.set_admin_state(harness.upstream(1), AdminState.MAINTENANCE)
    harness.fleet.set_admin_state(harness.upstream(1), AdminState.ACTIVE)
    return harness.upstream(1)


CAME: dict[str, Callable[[Harness], UpstreamState]] = {
    "found by discovery": found,
    "added by the operator": added,
    "found again after it had gone": found_again,
    "at another address": moved,
    "its name resolves at last": resolved,
    "back from maintenance": back,
}
came = pytest.mark.parametrize("come", CAME.values(), ids=CAME)


@came
def test_an_upstream_added_to_a_running_instance_serves_after_one_passed_check(
    harness: Harness, come: Callable[[Harness], UpstreamState]
) -> None:
    harness.fleet.established()
    one = come(harness)
    assert (one.first_check, one.unchecked, one.is_eligible()) == (REQUIRED, True, False)
    assert harness.pool.eligible() == len(harness.pool.upstreams) - 1
    assert [it.first_check for it in harness.told() or [] if it.id == one.id] == ["required"]
    harness.fleet.passed_first(one, "200 on /")
    assert (one.first_check, one.unchecked, one.is_eligible()) == (DONE, False, True)
    assert [it.first_check for it in harness.told() or [] if it.id == one.id] == ["done"]
    event = harness.events.after(0)[-1]
    assert (event.kind, event.cause) == ("checked", "active_check")
    assert event.text == f"{one.id} passed its first check: 200 on /"


@came
def test_one_failed_first_check_keeps_an_upstream_out(
    harness: Harness, come: Callable[[Harness], UpstreamState]
) -> None:
    harness.fleet.established()
    one = come(harness)
    harness.fleet.eject(one, CHECK, "its first check failed")
    assert (one.first_check, set(one.causes), one.is_eligible()) == (DONE, {CHECK}, False)
    harness.fleet.passed_first(one, "200 on /")
    harness.fleet.readmit(one, CHECK, "a check passed")
    assert one.is_eligible()


@came
def test_without_checks_a_new_upstream_serves_at_once(
    harness: Harness, come: Callable[[Harness], UpstreamState]
) -> None:
    harness.pool.is_checked = False
    harness.fleet.established()
    one = come(harness)
    assert (one.first_check, one.is_eligible()) == (DONE, True)
    assert not harness.pool.is_starting


@pytest.mark.parametrize("come", [found, resolved], ids=["found by discovery", "its name resolves"])
def test_upstreams_present_at_the_start_serve_before_their_first_check(
    harness: Harness, come: Callable[[Harness], UpstreamState]
) -> None:
    one = come(harness)
    harness.fleet.established()
    assert (one.first_check, one.unchecked, one.is_eligible()) == (AWAITED, True, True)
    harness.fleet.passed_first(harness.upstream(2), "200 on /")
    harness.told()
    kinds = harness.kinds()
    harness.fleet.passed_first(one, "200 on /")
    assert (one.first_check, one.is_eligible()) == (DONE, True)
    assert harness.told() is None, "nothing has changed for workers"
    assert harness.kinds() == kinds


@pytest.mark.parametrize("come", [moved, back], ids=["at another address", "back from maintenance"])
def test_after_a_new_address_earlier_check_results_are_forgotten(
    harness: Harness, come: Callable[[Harness], UpstreamState]
) -> None:
    harness.fleet.established()
    one = harness.upstream(1)
    harness.fleet.eject(one, CHECK, "it was ill")
    harness.fleet.eject(one, OUTLIER, "it was bad")
    assert come(harness) is one
    assert (one.first_check, set(one.causes)) == (REQUIRED, {OUTLIER}), (
        "what clients have met is not the checks'"
    )
    readmitted = [event for event in harness.events.after(0) if event.kind == "readmitted"]
    assert [event.cause for event in readmitted] == [CHECK]
    assert "so it is checked again" in readmitted[0].text


def test_after_a_new_address_an_announced_drain_is_forgotten(harness: Harness) -> None:
    harness.fleet.established()
    harness.fleet.announce(harness.upstream(1), True, "503 on /")
    one = moved(harness)
    assert (one.admin_state, one.first_check) == (AdminState.ACTIVE, REQUIRED)


@pytest.mark.parametrize("panic", [True, False], ids=["panic", "no panic"])
def test_if_no_other_is_eligible_an_unchecked_upstream_is_used(harness: Harness, panic: bool) -> None:
    harness.set(panic=panic)
    harness.fleet.established()
    for number in (1, 2):
        harness.fleet.eject(harness.upstream(number), CHECK, "x")
    assert (harness.pool.panics, harness.pool.out) == (panic, not panic)
    one = found(harness)
    assert (harness.pool.panics, harness.pool.out) == (False, False)
    assert (one.is_eligible(), harness.pool.eligible()) == (False, 0)
    before = len(harness.events.after(0))
    harness.fleet.passed_first(one, "200 on /")
    assert [event.kind for event in harness.events.after(0)[before:]] == ["checked"]


def test_a_failed_first_check_does_not_end_panic(harness: Harness) -> None:
    """It must not look healthy between unchecked and ejected."""
    harness.fleet.established()
    for number in (1, 2):
        harness.fleet.set_admin_state(harness.upstream(number), AdminState.MAINTENANCE)
    harness.fleet.eject(found(harness), CHECK, "x")
    before = len(harness.events.after(0))
    harness.fleet.set_members("default", DNS, [member(1), member(2)])
    harness.fleet.eject(harness.pool.upstreams["10.1.0.2:8000"], CHECK, "x")
    kinds = [event.kind for event in harness.events.after(0)[before:]]
    assert kinds == ["added", "panic_over", "ejected", "panic"]


def test_a_pool_is_starting_until_its_first_check_has_passed(harness: Harness) -> None:
    for number in (1, 2):
        harness.upstream(number).first_check = AWAITED
    harness.fleet.established()
    assert harness.pool.update(1).starting is True
    harness.fleet.eject(harness.upstream(1), CHECK, "its first check failed")
    harness.told()
    assert harness.sent[0].starting is True
    harness.fleet.passed_first(harness.upstream(2), "200 on /")
    harness.told()
    assert [message.starting for message in harness.sent] == [False]
    harness.fleet.eject(harness.upstream(2), CHECK, "two checks have failed")
    harness.told()
    assert [message.starting for message in harness.sent] == [False]


@came
def test_slow_start_begins_when_the_first_check_has_passed(
    harness: Harness, come: Callable[[Harness], UpstreamState]
) -> None:
    harness.set(slow_start_ns=10 * 10**9)
    harness.fleet.established()
    one = come(harness)
    assert one.ramp_since_ns == 0
    harness.clock.advance(60)
    harness.fleet.passed_first(one, "200 on /")
    assert one.ramp_since_ns == harness.clock.monotonic_ns()
    assert harness.fleet.effective_weight(one) == pytest.approx(0.1)
