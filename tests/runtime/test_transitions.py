"""What a pool as a whole comes into, and leaves: panic, its backups, nobody at all."""

from balancer.telemetry.segment import Segment
from balancer.upstreams.state import AdminState
from tests.runtime.fleet_harness import CHECK, Scene


def test_panic_begins_and_ends_with_an_event(scene: Scene) -> None:
    scene.fleet.eject(scene.upstream(1), CHECK, "x")
    assert not scene.pool.panics
    scene.fleet.eject(scene.upstream(2), CHECK, "x")
    assert scene.pool.panics
    scene.fleet.readmit(scene.upstream(1), CHECK, "y")
    assert not scene.pool.panics
    assert [kind for kind, upstream, _ in scene.kinds() if upstream is None] == ["panic", "panic_over"]
    assert scene.pool.eligible() == 1


def test_when_all_leave_of_their_own_accord_they_are_used_all_the_same(scene: Scene) -> None:
    """A database that is down makes every replica answer DRAIN_STATUS: that must not be an outage."""
    for number in (1, 2):
        scene.fleet.announce(scene.upstream(number), True, "its check answered 503")
    assert scene.pool.panics
    assert not scene.pool.out


def test_a_pool_that_nobody_serves_is_told_of(segment: Segment) -> None:
    scene = Scene(segment, panic=False)
    for number in (1, 2):
        scene.fleet.eject(scene.upstream(number), CHECK, "x")
    assert scene.pool.out
    scene.fleet.readmit(scene.upstream(1), CHECK, "y")
    assert not scene.pool.out
    assert [kind for kind, upstream, _ in scene.kinds() if upstream is None] == ["out", "out_over"]


def test_without_panic_there_is_none(segment: Segment) -> None:
    scene = Scene(segment, panic=False)
    for number in (1, 2):
        scene.fleet.eject(scene.upstream(number), CHECK, "x")
    assert (scene.pool.panics, scene.pool.eligible()) == (False, 0)


def test_backup_upstreams_take_over_with_an_event(scene: Scene) -> None:
    scene.upstream(2).backup = True
    scene.fleet.eject(scene.upstream(1), CHECK, "gone")
    assert scene.pool.on_backup
    assert not scene.pool.panics
    scene.fleet.readmit(scene.upstream(1), CHECK, "back")
    assert not scene.pool.on_backup
    assert [kind for kind, _, _ in scene.kinds()] == ["ejected", "backup", "readmitted", "backup_over"]
    told = scene.told()
    assert told is not None
    assert [one.backup for one in told] == [False, True]


def test_an_operators_word_holds_in_panic_whatever_the_app_says(scene: Scene) -> None:
    upstream = scene.upstream(1)
    scene.fleet.announce(upstream, True, "its check answered 503")
    assert upstream.leaves_by_itself
    scene.fleet.set_admin_state(upstream, AdminState.DRAINING)
    assert not upstream.leaves_by_itself
