"""The fleet's doors: what each changes, and what workers, watchers and people are told of it."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from balancer.discovery.member import Member
from balancer.runtime.channel import Message
from balancer.runtime.fleet import Fleet
from balancer.runtime.news import TELL_EVERY
from balancer.runtime.states import PoolState, UpstreamState
from balancer.telemetry.columns import Kind
from balancer.telemetry.events import EventLog
from balancer.telemetry.ledger import Ledger
from balancer.telemetry.segment import ROWS, Segment
from balancer.upstreams.conduct import Spared
from balancer.upstreams.state import AdminState, Cause
from tests.fakes.loop import FakeClock

CHECK, OUTLIER = Cause.ACTIVE_CHECK, Cause.OUTLIER
DNS = "dns://app:8000"


class Watcher:
    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    def added(self, upstream: UpstreamState) -> None:
        self.seen.append(("added", upstream.id))

    def moved(self, upstream: UpstreamState) -> None:
        self.seen.append(("moved", upstream.id))

    def wanted(self, upstream: UpstreamState) -> None:
        self.seen.append(("wanted", upstream.id))

    def removed(self, upstream: UpstreamState) -> None:
        self.seen.append(("removed", upstream.id))


class Scene:
    """A fleet with one pool of app1 and app2 at 10.0.0.1 and 10.0.0.2."""

    def __init__(self, segment: Segment, panic: bool = True) -> None:
        self.ledger = Ledger(segment)
        self.events = EventLog()
        self.watcher = Watcher()
        self.sent: list[Message] = []
        self.clock = FakeClock()
        self.delays: list[float] = []  # of what is due
        self._due: list[Callable[[], None]] = []
        pool = PoolState("default", self.ledger.row(Kind.POOL, "default"), {}, panic, is_checked=True)
        for number in (1, 2):
            name = f"app{number}"
            row = self.ledger.row(Kind.UPSTREAM, "default", f"{name}:8000")
            pool.upstreams[f"{name}:8000"] = UpstreamState(
                "default", f"{name}:8000", name, 8000, 1, row, f"10.0.0.{number}"
            )
        self.fleet = Fleet(
            [pool],
            ledger=self.ledger,
            events=self.events,
            clock=self.clock,
            log=logging.getLogger("balancer.test.fleet"),
            call_later=self._call_later,
            broadcast=self.sent.append,
        )
        self.fleet.watchers.append(self.watcher)

    def _call_later(self, delay: float, callback: Callable[[], None]) -> None:
        self.delays.append(delay)
        self._due.append(callback)

    @property
    def pool(self) -> PoolState:
        return self.fleet.pools["default"]

    def upstream(self, number: int) -> UpstreamState:
        return self.pool.upstreams[f"app{number}:8000"]

    def told(self) -> list[dict[str, Any]] | None:
        """When what is due has run: what the workers are told of the pool's upstreams, if anything."""
        self.sent.clear()
        self.delays.clear()
        due, self._due[:] = list(self._due), []
        for each in due:
            each()
        assert len(self.sent) <= 1
        return self.sent[0]["upstreams"] if self.sent else None

    def kinds(self) -> list[tuple[str, str | None, str | None]]:
        return [(event.kind, event.upstream, event.cause) for event in self.events.after(0)]


@pytest.fixture
def segment() -> Iterator[Segment]:
    made = Segment.create(workers=1)
    yield made
    made.close()


@pytest.fixture
def scene(segment: Segment) -> Scene:
    return Scene(segment)


def test_the_pool_s_cap_is_told_of_those_that_discovery_finds_too(scene: Scene) -> None:
    scene.pool.max_inflight = 20
    scene.fleet.set_members("default", DNS, [member(1)])
    told = scene.told()
    assert told is not None
    assert [one["max_inflight"] for one in told] == [0, 0, 20]


def member(number: int, weight: int = 1) -> Member:
    address = f"10.1.0.{number}"
    return Member(f"{address}:8000", address, 8000, weight, address)


def test_an_ejected_one_is_told_with_its_cause(scene: Scene) -> None:
    scene.fleet.eject(scene.upstream(1), CHECK, "GET / answered 500")
    told = scene.told()
    assert told is not None
    assert [(one["id"], one["causes"], one["admin_state"]) for one in told] == [
        ("app1:8000", ["active_check"], "active"),
        ("app2:8000", [], "active"),
    ]
    (event,) = scene.events.after(0)
    assert (event.kind, event.upstream, event.cause, event.revision) == (
        *("ejected", "app1:8000", "active_check"),
        scene.fleet.revision,
    )
    assert "GET / answered 500" in event.text
    assert scene.upstream(1).changes == {("ejected", "active_check"): 1}
    assert scene.pool.ejections == {"active_check": 1}


def test_what_is_so_already_is_no_change(scene: Scene) -> None:
    upstream = scene.upstream(1)
    scene.fleet.eject(upstream, CHECK, "x")
    scene.told()
    before = scene.fleet.revision
    scene.fleet.eject(upstream, CHECK, "again")
    scene.fleet.readmit(upstream, OUTLIER, "never had it")
    scene.fleet.announce(upstream, False, "not draining anyhow")
    scene.fleet.set_address(upstream, "10.0.0.1")
    assert scene.fleet.revision == before
    assert scene.told() is None


def test_readmitting_takes_away_its_own_cause_only(scene: Scene) -> None:
    upstream = scene.upstream(1)
    scene.fleet.eject(upstream, CHECK, "x")
    scene.fleet.eject(upstream, OUTLIER, "y")
    scene.fleet.readmit(upstream, CHECK, "passed twice")
    assert (upstream.causes, upstream.is_eligible()) == (frozenset([OUTLIER]), False)
    assert "still ejected for outlier" in scene.events.after(0)[-1].text
    scene.fleet.readmit(upstream, OUTLIER, "time is up")
    assert (upstream.causes, upstream.is_eligible()) == (frozenset(), True)


def test_a_change_is_told_at_once_but_not_twenty_times_a_second(scene: Scene) -> None:
    upstream = scene.upstream(1)
    scene.fleet.eject(upstream, CHECK, "x")
    assert scene.delays == [0.0]
    scene.told()
    scene.clock.advance(0.02)
    scene.fleet.readmit(upstream, CHECK, "y")
    scene.fleet.eject(upstream, OUTLIER, "z")
    assert scene.delays == [pytest.approx(TELL_EVERY - 0.02)]
    told = scene.told()
    assert told is not None
    assert told[0]["causes"] == ["outlier"]
    scene.clock.advance(1.0)
    scene.fleet.readmit(upstream, OUTLIER, "y")
    assert scene.delays == [0.0]


def test_one_that_goes_before_workers_have_heard_of_it_is_told_all_the_same(scene: Scene) -> None:
    """A row that they have never heard of they would never give back."""
    scene.fleet.set_members("default", DNS, [member(1)])
    scene.fleet.set_members("default", DNS, [])
    (message,) = scene.sent
    assert [one["id"] for one in message["upstreams"]] == ["app1:8000", "app2:8000", "10.1.0.1:8000"]
    told = scene.told()
    assert told is not None
    assert [one["id"] for one in told] == ["app1:8000", "app2:8000"]


def test_changes_of_one_turn_are_told_together(scene: Scene) -> None:
    scene.fleet.eject(scene.upstream(1), CHECK, "x")
    scene.fleet.set_address(scene.upstream(2), "10.0.0.9")
    told = scene.told()
    assert told is not None
    assert [(one["host"], one["causes"]) for one in told] == [
        ("10.0.0.1", ["active_check"]),
        ("10.0.0.9", []),
    ]
    assert scene.told() is None
    assert len(scene.events.after(0)) == 2


def test_a_drain_that_the_app_announces(scene: Scene) -> None:
    upstream = scene.upstream(1)
    scene.fleet.announce(upstream, True, "its check answered 503")
    assert (upstream.admin_state, upstream.is_eligible()) == (AdminState.DRAINING, False)
    told = scene.told()
    assert told is not None
    assert told[0]["admin_state"] == "draining"
    scene.fleet.announce(upstream, False, "its check answered 200")
    assert upstream.is_eligible()
    assert scene.kinds() == [("draining", "app1:8000", "announced"), ("active", "app1:8000", "announced")]


@pytest.mark.parametrize("state", [AdminState.DRAINING, AdminState.MAINTENANCE])
def test_what_the_operator_wants_is_told_to_all(scene: Scene, state: AdminState) -> None:
    upstream = scene.upstream(1)
    scene.fleet.set_admin_state(upstream, state)
    scene.fleet.set_admin_state(upstream, state)
    assert (upstream.admin_state, upstream.is_eligible()) == (state, False)
    told = scene.told()
    assert told is not None
    assert told[0]["admin_state"] == state
    scene.fleet.set_admin_state(upstream, AdminState.ACTIVE)
    assert upstream.is_eligible()
    assert scene.kinds() == [(state, "app1:8000", "operator"), ("active", "app1:8000", "operator")]
    assert scene.watcher.seen == [("wanted", "app1:8000")] * 2


def test_the_operator_does_not_overrule_an_app_that_wants_to_end(scene: Scene) -> None:
    upstream = scene.upstream(1)
    scene.fleet.announce(upstream, True, "its check answered 503")
    scene.fleet.set_admin_state(upstream, AdminState.MAINTENANCE)
    states = [upstream.admin_state]
    assert not upstream.leaves_by_itself
    scene.fleet.set_admin_state(upstream, AdminState.ACTIVE)
    states.append(upstream.admin_state)
    assert states == [AdminState.MAINTENANCE, AdminState.DRAINING]
    assert upstream.leaves_by_itself


def test_a_weight_of_the_operators(scene: Scene) -> None:
    upstream = scene.upstream(1)
    scene.fleet.set_weight(upstream, 3)
    scene.fleet.set_weight(upstream, 3)
    assert (upstream.weight, upstream.settings_weight) == (3, 1)
    told = scene.told()
    assert told is not None
    assert told[0]["weight"] == 3
    assert scene.kinds() == [("weight", "app1:8000", "operator")]


SLOWLY = [
    pytest.param(AdminState.MAINTENANCE, 0.1, id="after maintenance"),
    pytest.param(AdminState.DRAINING, 1.0, id="not after a drain: the process went on"),
]


@pytest.mark.parametrize(("state", "share"), SLOWLY)
def test_slow_start_after_what_the_operator_wanted(scene: Scene, state: AdminState, share: float) -> None:
    slow(scene)
    scene.fleet.set_admin_state(scene.upstream(1), state)
    scene.fleet.set_admin_state(scene.upstream(1), AdminState.ACTIVE)
    assert ramps(scene) == [share, 1.0]


ENDED = [
    pytest.param(DNS, CHECK, AdminState.ACTIVE, id="found by discovery"),
    pytest.param(DNS, OUTLIER, AdminState.DRAINING, id="not by live traffic"),
    pytest.param("", CHECK, AdminState.DRAINING, id="not one of the settings"),
]


@pytest.mark.parametrize(("source", "cause", "state"), ENDED)
def test_what_the_operator_wanted_ends_with_a_discovered_replica(
    scene: Scene, source: str, cause: Cause, state: AdminState
) -> None:
    """Its address may be another's next."""
    upstream = scene.upstream(1)
    upstream.source = source
    scene.fleet.set_admin_state(upstream, AdminState.DRAINING)
    scene.fleet.eject(upstream, cause, "x")
    assert upstream.admin_state is state


def test_a_new_address_is_told_to_all(scene: Scene) -> None:
    scene.fleet.set_address(scene.upstream(1), "10.0.0.9")
    assert scene.watcher.seen == [("moved", "app1:8000")]
    assert scene.kinds() == [("address", "app1:8000", None)]
    assert [one["host"] for one in scene.told() or []] == ["10.0.0.9", "10.0.0.2"]


def spare(scene: Scene) -> None:
    scene.fleet.spare(scene.upstream(1), Spared.POOL_WIDE, "all fail", say=True)


# what is done by a door -> the event's kind, its text; the log has both the upstream's name and the reason
SAID: dict[str, tuple[Callable[[Scene], object], str, str]] = {
    "eject": (lambda s: s.fleet.eject(s.upstream(1), CHECK, "it fails"), "ejected", "is ejected: it fails"),
    "announce": (lambda s: s.fleet.announce(s.upstream(1), True, "503"), "draining", "is draining: 503"),
    "state": (
        lambda s: s.fleet.set_admin_state(s.upstream(1), AdminState.MAINTENANCE),
        "maintenance",
        "is maintenance: the operator wants it so",
    ),
    "weight": (lambda s: s.fleet.set_weight(s.upstream(1), 3), "weight", "has the weight 3 (before: 1)"),
    "address": (
        lambda s: s.fleet.set_address(s.upstream(1), "10.0.0.9"),
        "address",
        "is at 10.0.0.9 (before: 10.0.0.1)",
    ),
    "spare": (spare, "spared", "is not ejected: all fail"),
}


@pytest.mark.parametrize("case", SAID)
def test_what_a_door_changes_is_an_event_and_a_log_line(
    scene: Scene, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    act, kind, text = SAID[case]
    act(scene)
    (event,) = scene.events.after(0)
    assert (event.kind, event.upstream) == (kind, "app1:8000")
    assert event.text.startswith(f"app1:8000 {text}")
    (record,) = caplog.records
    assert "app1:8000" in record.getMessage()
    assert text in record.getMessage()


def test_who_comes_and_goes_is_an_event_and_a_log_line(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    scene.fleet.set_members("default", DNS, [member(1)])
    scene.fleet.set_members("default", DNS, [])
    texts = [f"is added: found by {DNS}", f"is removed: {DNS} does not list it any more"]
    assert scene.kinds() == [("added", "10.1.0.1:8000", None), ("removed", "10.1.0.1:8000", None)]
    assert [event.text for event in scene.events.after(0)] == [f"10.1.0.1:8000 {text}" for text in texts]
    assert [record.getMessage() for record in caplog.records] == [
        f"upstream 10.1.0.1:8000 of pool default {text}" for text in texts
    ]


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
    assert [one["backup"] for one in told] == [False, True]


def ramps(scene: Scene) -> list[float]:
    return [scene.fleet.effective_weight(one) for one in scene.pool.upstreams.values()]


def slow(scene: Scene) -> None:
    scene.pool.slow_start = 10.0
    scene.fleet.established()


def test_a_readmitted_one_starts_slowly(scene: Scene) -> None:
    slow(scene)
    scene.fleet.eject(scene.upstream(1), CHECK, "gone")
    scene.clock.advance(60)
    scene.fleet.readmit(scene.upstream(1), CHECK, "back")
    began = scene.clock.monotonic_ns()
    assert ramps(scene) == [0.1, 1.0]
    told = scene.told()
    assert told is not None
    assert [one["ramp_since_ns"] for one in told] == [began, 0]
    scene.clock.advance(5)
    assert ramps(scene) == [0.5, 1.0]
    # A worker that is started now goes on with the ramp.
    assert [one["ramp_since_ns"] for one in scene.fleet.snapshot()[0]["upstreams"]] == [began, 0]
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


def test_who_is_there_at_the_start_starts_at_once_and_who_comes_later_slowly(scene: Scene) -> None:
    scene.pool.slow_start = 10.0
    scene.fleet.set_members("default", DNS, [member(1)])
    scene.fleet.established()
    scene.fleet.set_members("default", DNS, [member(1), member(2)])
    assert ramps(scene) == [1.0, 1.0, 1.0, 0.1]


def test_one_whose_name_resolves_later_starts_slowly_and_one_that_moves_does_not(scene: Scene) -> None:
    slow(scene)
    scene.upstream(1).address = ""
    scene.fleet.set_address(scene.upstream(1), "10.0.0.9")
    scene.fleet.set_address(scene.upstream(2), "10.0.0.10")
    assert ramps(scene) == [0.1, 1.0]


def test_without_slow_start_there_is_no_ramp(scene: Scene) -> None:
    scene.fleet.established()
    scene.fleet.eject(scene.upstream(1), CHECK, "gone")
    scene.fleet.readmit(scene.upstream(1), CHECK, "back")
    assert scene.upstream(1).ramp_since_ns == 0
    assert ramps(scene) == [1.0, 1.0]


def test_members_come_and_go_and_the_settings_own_stay(scene: Scene) -> None:
    scene.fleet.set_members("default", DNS, [member(1), member(2)])
    scene.fleet.set_members("default", DNS, [member(2), member(3)])
    assert list(scene.pool.upstreams) == ["app1:8000", "app2:8000", "10.1.0.2:8000", "10.1.0.3:8000"]
    assert scene.watcher.seen == [
        ("added", "10.1.0.1:8000"),
        ("added", "10.1.0.2:8000"),
        ("removed", "10.1.0.1:8000"),
        ("added", "10.1.0.3:8000"),
    ]
    new = scene.pool.upstreams["10.1.0.3:8000"]
    assert (new.source, new.unchecked, new.address) == (DNS, True, "10.1.0.3")
    told = scene.told()
    assert told is not None
    assert len(told) == 4


def test_the_same_members_again_are_no_change(scene: Scene) -> None:
    scene.fleet.set_members("default", DNS, [member(1)])
    scene.told()
    scene.fleet.set_members("default", DNS, [member(1)])
    assert scene.told() is None


def test_one_that_comes_back_starts_afresh(scene: Scene) -> None:
    scene.ledger.take_page()  # a worker that has not let go
    scene.fleet.set_members("default", DNS, [member(1)])
    before = scene.pool.upstreams["10.1.0.1:8000"]
    scene.fleet.eject(before, CHECK, "x")
    scene.fleet.set_members("default", DNS, [])
    scene.fleet.set_members("default", DNS, [member(1)])
    after = scene.pool.upstreams["10.1.0.1:8000"]
    assert after is not before
    assert (after.causes, after.changes) == (frozenset(), {})
    assert after.row != before.row


def test_an_address_that_two_sources_have_belongs_to_the_first(scene: Scene) -> None:
    other = "dns://other:8000"
    scene.fleet.set_members("default", DNS, [member(1)])
    scene.fleet.set_members("default", other, [member(1)])
    assert scene.pool.upstreams["10.1.0.1:8000"].source == DNS
    scene.fleet.set_members("default", DNS, [])
    scene.fleet.set_members("default", other, [member(1)])
    assert scene.pool.upstreams["10.1.0.1:8000"].source == other


def test_more_members_than_fit_are_left_out_and_that_is_said_once(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(ROWS - 4):
        scene.ledger.row(Kind.UPSTREAM, "other", str(number))
    for _ in range(3):
        scene.fleet.set_members("default", DNS, [member(1), member(2)])
    assert list(scene.pool.upstreams) == ["app1:8000", "app2:8000", "10.1.0.1:8000"]
    errors = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 1
    assert DNS in errors[0]


def test_a_source_that_does_not_resolve_is_shown_until_it_does(scene: Scene) -> None:
    scene.fleet.set_problem("default", DNS, "no such name")
    assert scene.pool.problems == {DNS: "no such name"}
    scene.fleet.set_problem("default", DNS, "")
    scene.fleet.set_problem("default", DNS, "")
    assert scene.pool.problems == {}
    assert [event.text for event in scene.events.after(0)] == [
        f"{DNS} does not resolve: no such name",
        f"{DNS} resolves now",
    ]
    assert scene.told() is None


def test_the_first_check_changes_nothing_for_workers(scene: Scene) -> None:
    scene.fleet.set_members("default", DNS, [member(1)])
    scene.told()
    upstream = scene.pool.upstreams["10.1.0.1:8000"]
    scene.fleet.checked(upstream)
    assert not upstream.unchecked
    assert scene.told() is None


def test_an_operators_word_holds_in_panic_whatever_the_app_says(scene: Scene) -> None:
    upstream = scene.upstream(1)
    scene.fleet.announce(upstream, True, "its check answered 503")
    assert upstream.leaves_by_itself
    scene.fleet.set_admin_state(upstream, AdminState.DRAINING)
    assert not upstream.leaves_by_itself
