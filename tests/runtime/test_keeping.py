"""What is kept beyond an instance is in force again in the next one, as far as its settings still have it."""

import logging
from collections.abc import Callable, Iterator

import pytest

from balancer.admin.view import Change, GateWish, LiveChange, SplitChange
from balancer.runtime.keeping import AWAITED, Keeping
from balancer.runtime.kept import Kept, KeptSplit, KeptUpstream, Learned
from balancer.runtime.operator import GRACE, LATEST
from balancer.runtime.outliers import Outliers
from balancer.runtime.splits import Splits
from balancer.runtime.states import UpstreamState
from balancer.spec.instance import EjectionSpec
from balancer.spec.part import replaced
from balancer.telemetry import columns as c
from balancer.telemetry.segment import Segment
from balancer.upstreams.state import Cause
from tests.fakes.splits import operator as operator_of
from tests.fakes.splits import splits
from tests.runtime.fleet_harness import DNS, Harness, member
from tests.runtime.test_splits import routes

WHO, AT = "alice at 10.0.0.9", "1994-11-06T08:49:37.000Z"


class Scene:
    """An instance, and what it has kept or is to restore."""

    def __init__(self, segment: Segment, split: Splits | None = None) -> None:
        self.harness = Harness(segment)
        self.segment = segment
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.failing: list[UpstreamState] = []
        self.waits: list[tuple[float, Callable[[], None]]] = []
        self.outliers = Outliers(
            self.harness.fleet,
            {"default": EjectionSpec(time=10, max_time=300, max_percent=50)},
            clock=self.harness.clock,
            call_later=lambda delay, callback: self.timers.append((delay, callback)),
        )
        self.operator = operator_of(self.harness.fleet, split, self.harness.clock)
        self.keeping = Keeping(
            self.operator,
            self.outliers,
            self.failing.append,
            self.harness.ledger,
            lambda delay, callback: self.waits.append((delay, callback)),
            logging.getLogger("balancer.test.keeping"),
        )
        self.harness.fleet.watchers += [self.outliers, self.keeping]

    def kept(self) -> Kept:
        return self.keeping.now(self.harness.fleet.upstreams())

    def handed(self) -> Kept:
        return self.keeping.handed(self.harness.fleet.upstreams())

    def restore(self, kept: Kept) -> None:
        self.keeping.restore(kept, self.harness.fleet)


@pytest.fixture
def segments() -> Iterator[tuple[Segment, Segment]]:
    made = Segment.create(1), Segment.create(1)
    yield made
    for segment in made:
        segment.close()


@pytest.fixture
def before(segments: tuple[Segment, Segment]) -> Scene:
    return Scene(segments[0], splits(routes()))


@pytest.fixture
def after(segments: tuple[Segment, Segment]) -> Scene:
    return Scene(segments[1], splits(routes()))


def test_changes_are_in_force_again_with_who_and_when(before: Scene, after: Scene) -> None:
    before.operator.change("default", "app1:8000", Change("draining", 3), WHO)
    before.operator.add("default", "10.0.0.9:8000?weight=2", WHO)
    before.operator.split("stable-canary", {"stable": 50, "canary": 50}, None, WHO)
    after.restore(before.kept())
    assert after.operator.live_changes() == before.operator.live_changes()
    assert after.operator.live_changes()[0] == LiveChange(
        "default", "app1:8000", "draining", 3, False, WHO, AT
    )
    assert replaced(after.kept(), revision=0) == replaced(before.kept(), revision=0)
    assert after.kept().revision > before.kept().revision


def test_without_changes_nothing_is_kept(before: Scene) -> None:
    assert before.kept() == Kept()


def test_a_change_waits_for_an_upstream_that_discovery_finds_later(before: Scene, after: Scene) -> None:
    before.harness.fleet.set_members("default", DNS, [member(1)])
    before.operator.change("default", "10.1.0.1:8000", Change("maintenance"), WHO)
    kept = before.kept()
    after.restore(kept)
    assert (after.operator.live_changes(), after.kept().upstreams) == ([], kept.upstreams)
    after.harness.fleet.set_members("default", DNS, [member(1)])
    (change,) = after.operator.live_changes()
    assert isinstance(change, LiveChange)
    assert (change.upstream, change.admin_state, change.by) == ("10.1.0.1:8000", "maintenance", WHO)
    assert after.kept().upstreams == kept.upstreams


def test_what_the_settings_no_longer_have_is_named_and_left_out(
    after: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    after.restore(
        Kept(
            upstreams=(KeptUpstream(pool="gone", id="app1:8000", weight=2),),
            splits=(KeptSplit(route="gone", weights={"stable": 1}),),
        )
    )
    assert after.operator.live_changes() == []
    assert "there is no pool gone" in caplog.text
    assert "route gone is not split" in caplog.text


def test_forgetting_makes_all_as_in_the_settings(before: Scene) -> None:
    before.operator.change("default", "app1:8000", Change("draining", 3), WHO)
    before.operator.add("default", "10.0.0.9:8000", WHO)
    before.operator.split("stable-canary", {"stable": 50, "canary": 50}, None, WHO)
    before.restore(Kept(upstreams=(KeptUpstream(pool="default", id="later:8000", weight=2),)))
    assert SplitChange in {type(one) for one in before.operator.live_changes()}
    revision = before.operator.revision
    before.operator.forget(WHO)
    assert (before.operator.live_changes(), replaced(before.kept(), revision=0)) == ([], Kept())
    assert set(before.harness.pool.upstreams) == {"app1:8000", "app2:8000"}
    assert before.operator.revision > revision


def test_a_registration_goes_on_for_the_rest_of_its_time(before: Scene, after: Scene) -> None:
    from balancer.runtime.additions import register

    register(before.harness.fleet, "default", "10.0.0.7:8000", 60, by_app=True)
    before.harness.clock.advance(10)
    after.harness.clock.advance(10)
    after.restore(before.kept())
    upstream = after.harness.pool.upstreams["10.0.0.7:8000"]
    assert upstream.expires_ns - after.harness.clock.monotonic_ns() == pytest.approx(50e9, abs=1e9)
    late = before.kept()
    after.harness.fleet.remove(upstream)
    after.harness.clock.advance(60 + LATEST)
    after.restore(late)
    assert "10.0.0.7:8000" not in after.harness.pool.upstreams


def test_a_registration_that_has_just_ended_gets_a_moment_more(before: Scene, after: Scene) -> None:
    from balancer.runtime.additions import register

    register(before.harness.fleet, "default", "10.0.0.7:8000", 5, by_app=True)
    kept = before.kept()
    after.harness.clock.advance(20)  # after a crash: the last renewals are not in the file
    after.restore(kept)
    upstream = after.harness.pool.upstreams["10.0.0.7:8000"]
    assert upstream.expires_ns - after.harness.clock.monotonic_ns() == GRACE * 10**9


def test_what_waits_for_an_upstream_is_forgotten_in_the_end(before: Scene, after: Scene) -> None:
    before.harness.fleet.set_members("default", DNS, [member(1)])
    before.operator.change("default", "10.1.0.1:8000", Change("maintenance"), WHO)
    after.restore(before.kept())
    ((delay, give_up),) = after.waits
    assert delay == AWAITED
    give_up()
    after.harness.fleet.set_members("default", DNS, [member(1)])
    assert (after.operator.live_changes(), after.kept().upstreams) == ([], ())


def test_of_weights_that_are_being_watched_those_before_are_kept(before: Scene) -> None:
    before.operator.split("stable-canary", {"stable": 80, "canary": 20}, None, WHO)
    before.operator.split("stable-canary", {"stable": 50, "canary": 50}, GateWish(600, "errors>1%"), WHO)
    (split,) = before.kept().splits
    assert split.weights == {"stable": 80, "canary": 20}


def test_ejections_are_handed_over_with_their_terms(before: Scene, after: Scene) -> None:
    checked, outlier = before.harness.upstream(1), before.harness.upstream(2)
    before.harness.fleet.eject(checked, Cause.ACTIVE_CHECK, "it is down")
    before.harness.fleet.eject(outlier, Cause.OUTLIER, "it fails")
    before.outliers.resume(outlier, 7.0, 3)
    before.harness.clock.advance(2)
    assert before.kept().ejected == ()
    after.restore(before.handed())
    one, two = after.harness.upstream(1), after.harness.upstream(2)
    assert [*one.causes, *two.causes] == [Cause.ACTIVE_CHECK, Cause.OUTLIER]
    assert after.failing == [one]
    assert after.outliers.term_left(two) == (5.0, 3)
    ((delay, over),) = after.timers
    assert delay == 5.0
    over()
    assert (two.causes, two.on_probation) == (frozenset(), True)


def test_an_upstream_that_has_moved_is_not_ejected_for_its_old_address(before: Scene, after: Scene) -> None:
    before.harness.fleet.eject(before.harness.upstream(1), Cause.ACTIVE_CHECK, "it is down")
    after.harness.fleet.set_address(after.harness.upstream(1), "10.0.0.77")
    after.restore(before.handed())
    assert after.harness.upstream(1).causes == frozenset()


def test_what_workers_have_learned_seeds_a_page_for_the_first_ones(before: Scene, after: Scene) -> None:
    for limit in (5, 7):
        cells = before.segment.page(before.harness.ledger.take_page()).row(before.harness.upstream(1).row)
        cells[c.UPSTREAM_INFLIGHT_LIMIT] = limit
        cells[c.UPSTREAM_SERVICE_NS] = 1_000_000 * limit
        cells[c.UPSTREAM_IDLE_TIMEOUT_NS] = 2_000_000_000
    kept = before.kept()
    assert kept.learned == (
        Learned(
            pool="default",
            id="app1:8000",
            limit=12,
            service_ns=7_000_000,
            idle_timeout_ns=2_000_000_000,
        ),
    )
    page = after.keeping.seed(kept, after.harness.fleet)
    assert page is not None
    seeded = after.segment.page(page).row(after.harness.upstream(1).row)
    assert (seeded[c.UPSTREAM_INFLIGHT_LIMIT], seeded[c.UPSTREAM_SERVICE_NS]) == (12, 7_000_000)
    assert after.keeping.seed(Kept(), after.harness.fleet) is None
