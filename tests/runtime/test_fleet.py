"""The fleet's methods: the state change of each, and the reports to workers, watchers and people."""

import logging
from collections.abc import Callable

import pytest

from balancer.runtime.pool_updates import TELL_EVERY, PoolUpdates
from balancer.runtime.states import PoolState, UpstreamState
from balancer.telemetry.columns import Kind
from balancer.telemetry.segment import ROWS
from balancer.upstreams.state import AdminState, Cause
from balancer.upstreams.traffic_history import SkipReason
from tests.fakes.loop import FakeClock
from tests.fakes.specs import pool_spec
from tests.runtime.fleet_harness import CHECK, DNS, OUTLIER, Harness, member


def test_discovered_upstreams_get_the_pools_cap(harness: Harness) -> None:
    harness.pool.max_inflight = 20
    harness.fleet.set_members("default", DNS, [member(1)])
    told = harness.told()
    assert told is not None
    assert [one.max_inflight for one in told] == [0, 0, 20]


def test_an_ejection_is_broadcast_with_its_cause(harness: Harness) -> None:
    harness.fleet.eject(harness.upstream(1), CHECK, "GET / answered 500")
    told = harness.told()
    assert told is not None
    assert [(one.id, one.causes, one.admin_state) for one in told] == [
        ("app1:8000", {CHECK}, "active"),
        ("app2:8000", frozenset(), "active"),
    ]
    (event,) = harness.events.after(0)
    assert (event.kind, event.upstream, event.cause, event.revision) == (
        *("ejected", "app1:8000", "active_check"),
        harness.fleet.revision,
    )
    assert "GET / answered 500" in event.text
    assert harness.upstream(1).changes == {("ejected", "active_check"): 1}
    assert harness.pool.ejections == {"active_check": 1}


def test_a_change_to_the_present_state_is_none(harness: Harness) -> None:
    upstream = harness.upstream(1)
    harness.fleet.eject(upstream, CHECK, "x")
    harness.told()
    before = harness.fleet.revision
    harness.fleet.eject(upstream, CHECK, "again")
    harness.fleet.readmit(upstream, OUTLIER, "never had it")
    harness.fleet.announce(upstream, False, "not draining anyhow")
    harness.fleet.set_address(upstream, "10.0.0.1")
    assert harness.fleet.revision == before
    assert harness.told() is None


def test_readmitting_removes_only_its_own_cause(harness: Harness) -> None:
    upstream = harness.upstream(1)
    harness.fleet.eject(upstream, CHECK, "x")
    harness.fleet.eject(upstream, OUTLIER, "y")
    harness.fleet.readmit(upstream, CHECK, "passed twice")
    assert (upstream.causes, upstream.is_eligible()) == (frozenset([OUTLIER]), False)
    assert "still ejected for outlier" in harness.events.after(0)[-1].text
    harness.fleet.readmit(upstream, OUTLIER, "time is up")
    assert (upstream.causes, upstream.is_eligible()) == (frozenset(), True)


def test_the_first_change_is_broadcast_at_once_and_later_ones_are_combined(harness: Harness) -> None:
    upstream = harness.upstream(1)
    harness.fleet.eject(upstream, CHECK, "x")
    assert harness.delays == [0.0]
    harness.told()
    harness.clock.advance(0.02)
    harness.fleet.readmit(upstream, CHECK, "y")
    harness.fleet.eject(upstream, OUTLIER, "z")
    assert harness.delays == [pytest.approx(TELL_EVERY - 0.02)]
    told = harness.told()
    assert told is not None
    assert told[0].causes == {OUTLIER}
    harness.clock.advance(1.0)
    harness.fleet.readmit(upstream, OUTLIER, "y")
    assert harness.delays == [0.0]


def test_large_pools_are_broadcast_less_often() -> None:
    clock, delays = FakeClock(), list[float]()
    tells: list[Callable[[], None]] = []

    def call_later(delay: float, callback: Callable[[], None]) -> None:
        delays.append(delay)
        tells.append(callback)

    news = PoolUpdates(lambda: 1, clock=clock, call_later=call_later, broadcast=lambda _: None)
    pool = PoolState(pool_spec(), 0, is_checked=False)
    for number in range(4000):
        pool.upstreams[str(number)] = UpstreamState("default", str(number), "10.0.0.1", 80, 1, 0, "10.0.0.1")
    news.changed(pool)
    tells.pop()()
    news.changed(pool)
    assert delays == [0.0, pytest.approx(4 * TELL_EVERY)]


def test_an_upstream_removed_before_workers_heard_of_it_is_broadcast_all_the_same(harness: Harness) -> None:
    """Workers would never release a row that they have never heard of."""
    harness.fleet.set_members("default", DNS, [member(1)])
    harness.fleet.set_members("default", DNS, [])
    (message,) = harness.sent
    assert [one.id for one in message.members] == ["app1:8000", "app2:8000", "10.1.0.1:8000"]
    told = harness.told()
    assert told is not None
    assert [one.id for one in told] == ["app1:8000", "app2:8000"]


def test_changes_within_one_turn_are_broadcast_together(harness: Harness) -> None:
    harness.fleet.eject(harness.upstream(1), CHECK, "x")
    harness.fleet.set_address(harness.upstream(2), "10.0.0.9")
    told = harness.told()
    assert told is not None
    assert [(one.host, one.causes) for one in told] == [
        ("10.0.0.1", {CHECK}),
        ("10.0.0.9", frozenset()),
    ]
    assert harness.told() is None
    assert len(harness.events.after(0)) == 2


def test_a_drain_announced_by_the_app(harness: Harness) -> None:
    upstream = harness.upstream(1)
    harness.fleet.announce(upstream, True, "its check answered 503")
    assert (upstream.admin_state, upstream.is_eligible()) == (AdminState.DRAINING, False)
    told = harness.told()
    assert told is not None
    assert told[0].admin_state == "draining"
    harness.fleet.announce(upstream, False, "its check answered 200")
    assert upstream.is_eligible()
    assert harness.kinds() == [("draining", "app1:8000", "announced"), ("active", "app1:8000", "announced")]


@pytest.mark.parametrize("state", [AdminState.DRAINING, AdminState.MAINTENANCE])
def test_an_operators_change_is_broadcast_to_all(harness: Harness, state: AdminState) -> None:
    upstream = harness.upstream(1)
    harness.fleet.set_admin_state(upstream, state)
    harness.fleet.set_admin_state(upstream, state)
    assert (upstream.admin_state, upstream.is_eligible()) == (state, False)
    told = harness.told()
    assert told is not None
    assert told[0].admin_state == state
    harness.fleet.set_admin_state(upstream, AdminState.ACTIVE)
    assert upstream.is_eligible()
    assert harness.kinds() == [(state, "app1:8000", "operator"), ("active", "app1:8000", "operator")]
    assert harness.watcher.seen == [("wanted", "app1:8000")] * 2


def test_the_operator_does_not_overrule_an_app_that_drains(harness: Harness) -> None:
    upstream = harness.upstream(1)
    harness.fleet.announce(upstream, True, "its check answered 503")
    harness.fleet.set_admin_state(upstream, AdminState.MAINTENANCE)
    states = [upstream.admin_state]
    assert not upstream.leaves_by_itself
    harness.fleet.set_admin_state(upstream, AdminState.ACTIVE)
    states.append(upstream.admin_state)
    assert states == [AdminState.MAINTENANCE, AdminState.DRAINING]
    assert upstream.leaves_by_itself


def test_a_weight_set_by_the_operator(harness: Harness) -> None:
    upstream = harness.upstream(1)
    harness.fleet.set_weight(upstream, 3)
    harness.fleet.set_weight(upstream, 3)
    assert (upstream.weight, upstream.settings_weight) == (3, 1)
    told = harness.told()
    assert told is not None
    assert told[0].weight == 3
    assert harness.kinds() == [("weight", "app1:8000", "operator")]


ENDED = [
    pytest.param(DNS, CHECK, AdminState.ACTIVE, id="found by discovery"),
    pytest.param(DNS, OUTLIER, AdminState.DRAINING, id="not by live traffic"),
    pytest.param("", CHECK, AdminState.DRAINING, id="not one of the settings"),
]


@pytest.mark.parametrize(("source", "cause", "state"), ENDED)
def test_operator_changes_end_with_a_discovered_replica(
    harness: Harness, source: str, cause: Cause, state: AdminState
) -> None:
    """Its address may next belong to another replica."""
    upstream = harness.upstream(1)
    upstream.source = source
    harness.fleet.set_admin_state(upstream, AdminState.DRAINING)
    harness.fleet.eject(upstream, cause, "x")
    assert upstream.admin_state is state


def test_a_new_address_is_broadcast_to_all(harness: Harness) -> None:
    harness.fleet.set_address(harness.upstream(1), "10.0.0.9")
    assert harness.watcher.seen == [("moved", "app1:8000")]
    assert harness.kinds() == [("address", "app1:8000", None)]
    assert [one.host for one in harness.told() or []] == ["10.0.0.9", "10.0.0.2"]


def test_a_move_because_the_former_address_does_not_answer(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    harness.fleet.set_address(harness.upstream(1), "10.0.0.9", "which does not answer: refused")
    text = "is at 10.0.0.9 (before: 10.0.0.1, which does not answer: refused)"
    assert harness.events.after(0)[-1].text == f"app1:8000 {text}"
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage() == f"upstream app1:8000 of pool default {text}"


def test_other_addresses_of_a_name_are_broadcast_when_they_change(harness: Harness) -> None:
    harness.fleet.set_other_addresses(harness.upstream(1), ("10.0.0.8", "10.0.0.9"))
    assert [one.other_hosts for one in harness.told() or []] == [("10.0.0.8", "10.0.0.9"), ()]
    harness.fleet.set_other_addresses(harness.upstream(1), ("10.0.0.8", "10.0.0.9"))
    assert harness.told() is None
    assert harness.kinds() == []


def spare(harness: Harness) -> None:
    harness.fleet.skip_ejection(harness.upstream(1), SkipReason.POOL_WIDE, "all fail", say=True)


# a state change -> the event's kind and text; the log has both the upstream's name and the reason
SAID: dict[str, tuple[Callable[[Harness], object], str, str]] = {
    "eject": (lambda s: s.fleet.eject(s.upstream(1), CHECK, "it fails"), "ejected", "ejected: it fails"),
    "announce": (lambda s: s.fleet.announce(s.upstream(1), True, "503"), "draining", "draining: 503"),
    "state": (
        lambda s: s.fleet.set_admin_state(s.upstream(1), AdminState.MAINTENANCE),
        "maintenance",
        "in maintenance: operator request",
    ),
    "weight": (lambda s: s.fleet.set_weight(s.upstream(1), 3), "weight", "weight changed from 1 to 3"),
    "address": (
        lambda s: s.fleet.set_address(s.upstream(1), "10.0.0.9"),
        "address",
        "is at 10.0.0.9 (before: 10.0.0.1)",
    ),
    "spare": (spare, "ejection_skipped", "not ejected: all fail"),
}


@pytest.mark.parametrize("case", SAID)
def test_each_state_change_is_an_event_and_a_log_line(
    harness: Harness, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    act, kind, text = SAID[case]
    act(harness)
    (event,) = harness.events.after(0)
    assert (event.kind, event.upstream) == (kind, "app1:8000")
    assert event.text.startswith(f"app1:8000 {text}")
    (record,) = caplog.records
    assert "app1:8000" in record.getMessage()
    assert text in record.getMessage()


def test_each_membership_change_is_an_event_and_a_log_line(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    harness.fleet.set_members("default", DNS, [member(1)])
    harness.fleet.set_members("default", DNS, [])
    texts = [f"added: found by {DNS}", f"removed: {DNS} no longer lists it"]
    assert harness.kinds() == [("added", "10.1.0.1:8000", None), ("removed", "10.1.0.1:8000", None)]
    assert [event.text for event in harness.events.after(0)] == [f"10.1.0.1:8000 {text}" for text in texts]
    assert [record.getMessage() for record in caplog.records] == [
        f"upstream 10.1.0.1:8000 of pool default {text}" for text in texts
    ]


def test_members_are_added_and_removed_and_those_of_the_settings_stay(harness: Harness) -> None:
    harness.fleet.set_members("default", DNS, [member(1), member(2)])
    harness.fleet.set_members("default", DNS, [member(2), member(3)])
    assert list(harness.pool.upstreams) == ["app1:8000", "app2:8000", "10.1.0.2:8000", "10.1.0.3:8000"]
    assert harness.watcher.seen == [
        ("added", "10.1.0.1:8000"),
        ("added", "10.1.0.2:8000"),
        ("removed", "10.1.0.1:8000"),
        ("added", "10.1.0.3:8000"),
    ]
    new = harness.pool.upstreams["10.1.0.3:8000"]
    assert (new.source, new.unchecked, new.address) == (DNS, True, "10.1.0.3")
    told = harness.told()
    assert told is not None
    assert len(told) == 4


def test_reporting_the_same_members_again_changes_nothing(harness: Harness) -> None:
    harness.fleet.set_members("default", DNS, [member(1)])
    harness.told()
    harness.fleet.set_members("default", DNS, [member(1)])
    assert harness.told() is None


def test_a_rediscovered_upstream_keeps_its_state_while_others_come_and_go(harness: Harness) -> None:
    harness.fleet.set_members("default", DNS, [member(1), member(2)])
    upstream = harness.pool.upstreams["10.1.0.1:8000"]
    harness.fleet.set_admin_state(upstream, AdminState.DRAINING)
    harness.fleet.eject(upstream, OUTLIER, "x")
    before = upstream.for_workers()
    assert (before.admin_state, before.causes) == (AdminState.DRAINING, frozenset([OUTLIER]))
    harness.told()
    for found in ([member(3), member(1)], [member(1)]):
        harness.fleet.set_members("default", DNS, found)
        assert harness.pool.upstreams["10.1.0.1:8000"] is upstream
        assert before in (harness.told() or [])
    assert ("removed", "10.1.0.1:8000") not in harness.watcher.seen


def test_an_upstream_that_comes_back_starts_afresh(harness: Harness) -> None:
    harness.ledger.take_page()  # a worker that has not released it
    harness.fleet.set_members("default", DNS, [member(1)])
    before = harness.pool.upstreams["10.1.0.1:8000"]
    harness.fleet.eject(before, CHECK, "x")
    harness.fleet.set_members("default", DNS, [])
    harness.fleet.set_members("default", DNS, [member(1)])
    after = harness.pool.upstreams["10.1.0.1:8000"]
    assert after is not before
    assert (after.causes, after.changes) == (frozenset(), {})
    assert after.row != before.row


def test_an_address_in_two_sources_belongs_to_the_first(harness: Harness) -> None:
    other = "dns://other:8000"
    harness.fleet.set_members("default", DNS, [member(1)])
    harness.fleet.set_members("default", other, [member(1)])
    assert harness.pool.upstreams["10.1.0.1:8000"].source == DNS
    harness.fleet.set_members("default", DNS, [])
    harness.fleet.set_members("default", other, [member(1)])
    assert harness.pool.upstreams["10.1.0.1:8000"].source == other


def test_surplus_members_are_left_out_and_logged_once(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(ROWS - 4):
        harness.ledger.row(Kind.UPSTREAM, "other", str(number))
    for _ in range(3):
        harness.fleet.set_members("default", DNS, [member(1), member(2)])
    assert list(harness.pool.upstreams) == ["app1:8000", "app2:8000", "10.1.0.1:8000"]
    errors = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 1
    assert DNS in errors[0]


def test_an_unresolved_source_is_shown_until_it_resolves(harness: Harness) -> None:
    harness.fleet.set_problem("default", DNS, "no such name")
    assert harness.pool.problems == {DNS: "no such name"}
    harness.fleet.set_problem("default", DNS, "")
    harness.fleet.set_problem("default", DNS, "")
    assert harness.pool.problems == {}
    assert [event.text for event in harness.events.after(0)] == [
        f"{DNS} does not resolve: no such name",
        f"{DNS} resolves now",
    ]
    assert harness.told() is None
