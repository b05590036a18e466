"""Other settings of a pool: what is found under the same identity keeps its state."""

from typing import Any

import pytest

from balancer.runtime.states import API
from balancer.spec.instance import CheckSpec, EjectionSpec, SupervisedPool, UpstreamSpec
from balancer.upstreams.state import AdminState, Cause, FirstCheck
from tests.fakes.specs import pool_spec
from tests.health.harness import SETTINGS as CHECK
from tests.runtime.fleet_harness import Harness, member

APP1, APP2 = "app1:8000", "app2:8000"
EJECTION = EjectionSpec(time=10.0, max_time=300.0, max_percent=50)


def entry(number: int, **changes: Any) -> UpstreamSpec:
    values: dict[str, Any] = {"weight": 1, "backup": False, "server_name": "", **changes}
    name = f"app{number}"
    return UpstreamSpec(id=f"{name}:8000", host=f"10.0.0.{number}", port=8000, **values)


def settle(
    harness: Harness, *upstreams: UpstreamSpec, check: CheckSpec | None = CHECK, cap: int = 0, **spec: Any
) -> None:
    supervised = SupervisedPool(
        name="default", upstreams=upstreams, names=(), check=check, ejection=EJECTION, max_inflight=cap
    )
    harness.fleet.settle(pool_spec(**spec), supervised)


def test_nothing_is_said_if_nothing_differs(harness: Harness) -> None:
    settle(harness, entry(1), entry(2))
    assert (harness.kinds(), harness.watcher.seen) == ([], [])


def test_upstreams_come_and_go_and_those_that_stay_keep_their_state(harness: Harness) -> None:
    stays = harness.upstream(1)
    harness.fleet.eject(stays, Cause.OUTLIER, "5 in a row")
    harness.fleet.set_admin_state(stays, AdminState.DRAINING)
    harness.fleet.put_on_probation(stays, "over")
    settle(harness, entry(1), entry(3))
    assert list(harness.pool.upstreams) == [APP1, "app3:8000"]
    assert harness.upstream(1) is stays
    assert (stays.on_probation, stays.admin_state) == (True, AdminState.DRAINING)
    assert harness.watcher.seen[-2:] == [("removed", APP2), ("added", "app3:8000")]
    told = harness.told()
    assert told is not None
    assert [one.id for one in told] == [APP1, "app3:8000"]


def test_a_new_upstream_of_a_running_instance_is_checked_first(harness: Harness) -> None:
    harness.fleet.established()
    settle(harness, entry(1), entry(2), entry(3))
    assert harness.upstream(3).first_check is FirstCheck.REQUIRED


@pytest.mark.parametrize(("operators", "weight"), [(None, 5), (7, 7)], ids=["settings", "operator"])
def test_a_weight_of_the_settings_applies_unless_an_operator_has_set_one(
    harness: Harness, operators: int | None, weight: int
) -> None:
    if operators:
        harness.fleet.set_weight(harness.upstream(1), operators)
    settle(harness, entry(1, weight=5, backup=True), entry(2))
    one = harness.upstream(1)
    assert (one.weight, one.settings_weight, one.backup) == (weight, 5, True)


def test_what_the_api_has_added_stays_and_may_be_named_later(harness: Harness) -> None:
    harness.fleet.add("default", member(3))
    harness.fleet.add("default", member(4))
    added = harness.pool.upstreams[member(3).id]
    harness.fleet.eject(added, Cause.OUTLIER, "5 in a row")
    spec = UpstreamSpec(id=added.id, host=added.host, port=added.port, weight=2, backup=False, server_name="")
    settle(harness, entry(1), entry(2), spec)
    assert harness.pool.upstreams[added.id] is added
    assert (added.source, added.weight, added.causes) == ("", 2, frozenset({Cause.OUTLIER}))
    assert harness.pool.upstreams[member(4).id].source == API
    settle(harness, entry(1), entry(2))
    assert added.id not in harness.pool.upstreams


def test_what_discovery_has_found_stays(harness: Harness) -> None:
    harness.fleet.set_members("default", "dns://app:8000", [member(3)])
    settle(harness, entry(1))
    assert list(harness.pool.upstreams) == [APP1, member(3).id]


def test_an_upstream_that_speaks_another_protocol_is_another_one(harness: Harness) -> None:
    harness.ledger.take_page()  # of a worker, which knows its row
    before = harness.upstream(1)
    settle(harness, entry(1, server_name="app1"), entry(2))
    assert harness.upstream(1) is not before
    assert harness.upstream(1).row != before.row


def test_without_checks_ejections_and_announcements_by_checks_are_over(harness: Harness) -> None:
    one = harness.upstream(1)
    one.first_check = FirstCheck.REQUIRED
    harness.fleet.eject(one, Cause.OUTLIER, "5 in a row")
    harness.fleet.eject(one, Cause.ACTIVE_CHECK, "2 checks failed")
    harness.fleet.announce(one, True, "its check says so")
    harness.fleet.set_silent(one, 5)
    settle(harness, entry(1), entry(2), check=None)
    assert (one.causes, one.announced, one.unchecked) == (frozenset({Cause.OUTLIER}), False, False)
    assert (one.silent_since_ns, harness.pool.checked_within_ns) == (0, 0)


def test_checks_that_are_new_do_not_stop_what_serves(harness: Harness) -> None:
    settle(harness, entry(1), entry(2), check=None)
    settle(harness, entry(1), entry(2))
    assert (harness.pool.is_checked, harness.pool.is_starting) == (True, False)
    assert harness.upstream(1).is_eligible()


def test_the_cap_is_that_of_the_settings(harness: Harness) -> None:
    settle(harness, entry(1), entry(2), cap=9)
    told = harness.told()
    assert told is not None
    assert [one.max_inflight for one in told] == [9, 9]


def test_a_slow_start_goes_on(harness: Harness) -> None:
    harness.fleet.established()
    harness.set(slow_start_ns=10_000_000_000)
    one = harness.upstream(1)
    harness.fleet.eject(one, Cause.OUTLIER, "5 in a row")
    harness.fleet.readmit(one, Cause.OUTLIER, "over")
    harness.clock.advance(4.0)
    settle(harness, entry(1, weight=2), entry(2), slow_start=20.0)
    assert harness.fleet.effective_weight(one) == pytest.approx(2 * 0.2)


DNS = "dns://app:8000"
OTHER = "dns://other:8000"


def test_members_of_an_entry_that_is_gone_leave_unless_they_are_named_now(harness: Harness) -> None:
    harness.fleet.set_members("default", DNS, [member(3), member(4)])
    kept = harness.pool.upstreams[member(3).id]
    supervised = SupervisedPool(
        name="default",
        upstreams=(UpstreamSpec(id=kept.id, host=kept.host, port=8000, weight=1, backup=False),),
        names=(),
        check=CHECK,
        ejection=EJECTION,
        max_inflight=0,
    )
    harness.fleet.settle(pool_spec(), supervised, gone=[DNS])
    assert list(harness.pool.upstreams.values()) == [kept]
    assert kept.source == ""


@pytest.mark.parametrize("found", [1, 3], ids=["that it finds too", "that it does not find"])
def test_a_new_entry_decides_about_upstreams_that_would_leave(harness: Harness, found: int) -> None:
    """Until then they serve: the pool does not stand empty while a name is looked up."""
    harness.fleet.set_members("default", DNS, [member(1)])
    before = harness.pool.upstreams[member(1).id]
    supervised = SupervisedPool(
        name="default", upstreams=(), names=(), check=CHECK, ejection=EJECTION, max_inflight=0
    )
    harness.fleet.settle(pool_spec(), supervised, gone=[DNS], heir=OTHER)
    assert list(harness.pool.upstreams) == [APP1, APP2, before.id]
    harness.fleet.set_members("default", OTHER, [member(found)])
    assert list(harness.pool.upstreams) == [member(found).id]
    assert (harness.pool.upstreams[member(found).id] is before) == (found == 1)
