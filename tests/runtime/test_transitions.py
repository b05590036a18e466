"""State changes of a whole pool: panic, backups in use, no upstream at all."""

from balancer.telemetry.segment import Segment
from balancer.upstreams.state import AdminState
from tests.runtime.fleet_harness import CHECK, Harness


def test_panic_begins_and_ends_with_an_event(harness: Harness) -> None:
    harness.fleet.eject(harness.upstream(1), CHECK, "x")
    assert not harness.pool.panics
    harness.fleet.eject(harness.upstream(2), CHECK, "x")
    assert harness.pool.panics
    harness.fleet.readmit(harness.upstream(1), CHECK, "y")
    assert not harness.pool.panics
    assert [kind for kind, upstream, _ in harness.kinds() if upstream is None] == ["panic", "panic_over"]
    assert harness.pool.eligible() == 1


def test_if_all_apps_announce_a_drain_all_are_used(harness: Harness) -> None:
    """A database that is down makes every replica answer DRAIN_STATUS: that must not be an outage."""
    for number in (1, 2):
        harness.fleet.announce(harness.upstream(number), True, "its check answered 503")
    assert harness.pool.panics
    assert not harness.pool.out


def test_a_pool_without_any_upstream_to_serve_is_logged(segment: Segment) -> None:
    harness = Harness(segment, panic=False)
    for number in (1, 2):
        harness.fleet.eject(harness.upstream(number), CHECK, "x")
    assert harness.pool.out
    harness.fleet.readmit(harness.upstream(1), CHECK, "y")
    assert not harness.pool.out
    assert [kind for kind, upstream, _ in harness.kinds() if upstream is None] == ["out", "out_over"]


def test_without_panic_there_is_no_panic_event(segment: Segment) -> None:
    harness = Harness(segment, panic=False)
    for number in (1, 2):
        harness.fleet.eject(harness.upstream(number), CHECK, "x")
    assert (harness.pool.panics, harness.pool.eligible()) == (False, 0)


def test_backup_upstreams_take_over_with_an_event(harness: Harness) -> None:
    harness.upstream(2).backup = True
    harness.fleet.eject(harness.upstream(1), CHECK, "gone")
    assert harness.pool.on_backup
    assert not harness.pool.panics
    harness.fleet.readmit(harness.upstream(1), CHECK, "back")
    assert not harness.pool.on_backup
    assert [kind for kind, _, _ in harness.kinds()] == ["ejected", "backup", "readmitted", "backup_over"]
    told = harness.told()
    assert told is not None
    assert [one.backup for one in told] == [False, True]


def test_in_panic_an_operators_drain_holds_whatever_the_app_announces(harness: Harness) -> None:
    upstream = harness.upstream(1)
    harness.fleet.announce(upstream, True, "its check answered 503")
    assert upstream.leaves_by_itself
    harness.fleet.set_admin_state(upstream, AdminState.DRAINING)
    assert not upstream.leaves_by_itself
