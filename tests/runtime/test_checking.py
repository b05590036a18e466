"""Which upstreams are checked, and the results. Maintenance ends checks; afterwards they start afresh."""

from typing import Any

import pytest

from balancer.runtime.checking import CheckedFleet, FleetCheckSink
from balancer.runtime.states import UpstreamState
from balancer.spec.instance import CheckSpec
from balancer.upstreams.state import AdminState, Cause, FirstCheck
from tests.runtime.fleet_harness import Harness

SETTINGS: Any = CheckSpec


class Recorder:
    """Stands in for `ActiveChecks`."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, bool]] = []

    def add(self, upstream: UpstreamState, settings: Any, *, draining: bool = False) -> None:
        self.calls.append(("add", draining))

    def remove(self, upstream: UpstreamState) -> None:
        self.calls.append(("remove", False))

    def moved(self, upstream: UpstreamState) -> None:
        self.calls.append(("moved", False))

    def change(self, upstream: UpstreamState, settings: Any) -> None:
        self.calls.append(("change", False))


def upstream(**changes: Any) -> UpstreamState:
    return UpstreamState("default", "app1:8000", "app1", 8000, 1, 4, "10.0.0.1", **changes)


BACK = [
    pytest.param({}, ("add", False), id="passing"),
    pytest.param({"announced": True}, ("add", True), id="announced its end"),
]


@pytest.mark.parametrize(("state", "call"), BACK)
def test_in_maintenance_an_upstream_is_not_checked(state: dict[str, Any], call: tuple[str, bool]) -> None:
    checks = Recorder()
    watcher = CheckedFleet(checks, {"default": SETTINGS})  # type: ignore[arg-type]  # it is asked for no more than this
    one = upstream(**state)
    one.wanted = AdminState.MAINTENANCE
    watcher.wanted(one)
    one.wanted = AdminState.ACTIVE
    watcher.wanted(one)
    assert checks.calls == [("remove", False), call]


def test_new_and_moved_upstreams_are_checked() -> None:
    checks = Recorder()
    watcher = CheckedFleet(checks, {"default": SETTINGS})  # type: ignore[arg-type]  # it is asked for no more than this
    one = upstream()
    watcher.added(one)
    watcher.moved(one)
    assert checks.calls == [("add", False), ("moved", False)]


def test_a_drain_changes_nothing_about_checks() -> None:
    checks = Recorder()
    watcher = CheckedFleet(checks, {"default": SETTINGS})  # type: ignore[arg-type]  # it is asked for no more than this
    one = upstream()
    for state in (AdminState.DRAINING, AdminState.ACTIVE):
        one.wanted = state
        watcher.wanted(one)
    assert checks.calls == []


def test_an_upstream_removed_in_maintenance_is_forgotten() -> None:
    checks = Recorder()
    watcher = CheckedFleet(checks, {"default": SETTINGS})  # type: ignore[arg-type]  # it is asked for no more than this
    one = upstream()
    one.wanted = AdminState.MAINTENANCE
    watcher.wanted(one)
    watcher.removed(one)
    one.wanted = AdminState.ACTIVE
    watcher.wanted(one)
    assert [name for name, _ in checks.calls] == ["remove", "remove"]


def test_results_of_checks_pass_through_the_fleet(harness: Harness) -> None:
    unanswered: list[tuple[str, str]] = []
    sink = FleetCheckSink(harness.fleet, harness.ledger, lambda one, why: unanswered.append((one.id, why)))
    one = harness.upstream(1)
    one.first_check = FirstCheck.REQUIRED
    sink.passed_first(one, "200 on /")
    assert not one.unchecked
    sink.failing(one, "it fails")
    assert one.causes == {Cause.ACTIVE_CHECK}
    sink.unanswered(one, "refused")
    assert unanswered == [("app1:8000", "refused")]
    sink.passing(one, "it passes")
    assert one.causes == set()
    sink.draining(one, True, "it says so")
    assert one.admin_state is AdminState.DRAINING
    assert [(kind, cause) for kind, _, cause in harness.kinds()] == [
        ("checked", "active_check"),
        ("ejected", "active_check"),
        ("readmitted", "active_check"),
        ("draining", "announced"),
    ]


OTHER: Any = object()
SETTLED = [
    pytest.param({"default": SETTINGS}, {"default": SETTINGS}, [], id="the same"),
    pytest.param({"default": SETTINGS}, {"default": OTHER}, [("change", False)], id="other checks"),
    pytest.param({"default": SETTINGS}, {}, [("remove", False)], id="none any more"),
    pytest.param({}, {"default": OTHER}, [("change", False)], id="checks that are new"),
]


@pytest.mark.parametrize(("before", "after", "calls"), SETTLED)
def test_checks_of_other_settings(
    before: dict[str, Any], after: dict[str, Any], calls: list[tuple[str, bool]]
) -> None:
    checks = Recorder()
    watcher = CheckedFleet(checks, before)  # type: ignore[arg-type]  # it is asked for no more than this
    watcher.settle(after, [upstream()])
    assert checks.calls == calls


def test_an_upstream_in_maintenance_gets_the_new_checks_when_it_is_back() -> None:
    checks = Recorder()
    watcher = CheckedFleet(checks, {"default": SETTINGS})  # type: ignore[arg-type]  # it is asked for no more than this
    one = upstream(wanted=AdminState.MAINTENANCE)
    watcher.wanted(one)
    watcher.settle({"default": OTHER}, [one])
    assert checks.calls == [("remove", False)]
    one.wanted = AdminState.ACTIVE
    watcher.wanted(one)
    assert checks.calls == [("remove", False), ("add", False)]


def test_upstreams_of_a_pool_that_is_gone_are_not_checked_any_more() -> None:
    """The settings have changed before: the pool's old workers were to end first."""
    checks = Recorder()
    watcher = CheckedFleet(checks, {"default": SETTINGS})  # type: ignore[arg-type]  # it is asked for no more than this
    one = upstream()
    watcher.settle({}, [])
    watcher.removed(one)
    assert checks.calls == [("remove", False)]
