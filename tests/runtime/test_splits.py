"""The weights of split routes in the supervisor: changes, what workers are told, and what is shown."""

import pytest
import yaml

from balancer.admin.view import GateEnd, GateWish, RefusedError, SplitChange
from balancer.config.exported import Exported, as_file
from balancer.config.loader import load
from balancer.edges import CELLS
from balancer.messages import SplitUpdate
from balancer.runtime.blueprint import instance_spec
from balancer.runtime.splits import Splits
from balancer.runtime.tally import Tally
from balancer.spec.part import replaced
from balancer.spec.slo import SloSpec
from balancer.spec.worker import RouteSpec
from tests.fakes.splits import FakeNotes, operator, splits
from tests.runtime.fleet_harness import Harness

ENVIRON = {
    "BALANCER_POOLS__STABLE__UPSTREAMS": "s:80",
    "BALANCER_POOLS__CANARY__UPSTREAMS": "c:80",
    "BALANCER_ROUTES": "/api=stable, /=stable:90|canary:10",
}


def routes() -> tuple[RouteSpec, ...]:
    return instance_spec(load(ENVIRON), via="", max_connections=10).worker.routes


def made(notes: FakeNotes) -> Splits:
    return splits(routes(), notes)


def test_a_change_is_told_with_its_revision_and_noted() -> None:
    notes = FakeNotes()
    split = made(notes)
    split.set("stable-canary", {"stable": 50, "canary": 50})
    assert split.weights("stable-canary") == {"stable": 50, "canary": 50}
    assert notes.told == [
        SplitUpdate(route="stable-canary", revision=1, weights={"stable": 50, "canary": 50})
    ]
    assert notes.texts == [
        "route stable-canary is split stable 50, canary 50 (before: stable 90, canary 10): operator request"
    ]


def test_a_side_that_is_not_named_keeps_its_weight() -> None:
    notes = FakeNotes()
    split = made(notes)
    split.set("stable-canary", {"canary": 30})
    assert notes.told[-1].weights == {"stable": 90, "canary": 30}


def test_the_same_weights_are_no_change() -> None:
    notes = FakeNotes()
    made(notes).set("stable-canary", {"canary": 10})
    assert (notes.told, notes.texts) == ([], [])


def test_a_new_worker_gets_the_weights_that_are_not_those_of_the_settings() -> None:
    split = made(FakeNotes())
    assert split.updates() == ()
    split.set("stable-canary", {"stable": 0}, by="alice")
    assert [update.weights for update in split.updates()] == [{"stable": 0, "canary": 10}]
    assert split.changes() == [SplitChange("stable-canary", {"stable": 0, "canary": 10}, "alice", AT)]
    split.set("stable-canary", {"stable": 90})
    assert (split.updates(), split.changes()) == ((), [])


@pytest.mark.parametrize(
    ("route", "weights", "text"),
    [
        ("stable", {"stable": 1}, "route stable is not split; split are: stable-canary"),
        ("x", {"stable": 1}, "route x is not split"),
        ("stable-canary", {"blue": 1}, "route stable-canary has no side blue; it has stable, canary"),
        ("stable-canary", {"stable": -1}, "the weight of stable is not a whole number from 0 to 1000000"),
        ("stable-canary", {}, "no weight is given; route stable-canary has the sides stable, canary"),
        ("stable-canary", {"stable": 0, "canary": 0}, "would have no side with a weight above 0"),
    ],
)
def test_an_impossible_change_is_refused(route: str, weights: dict[str, int], text: str) -> None:
    notes = FakeNotes()
    with pytest.raises(RefusedError, match=text):
        made(notes).set(route, weights)
    assert notes.told == []


def test_the_exported_file_has_the_present_weights(harness: Harness) -> None:
    tree = load(ENVIRON).model_dump(mode="json", exclude={"config"})
    changes = operator(harness.fleet, made(FakeNotes()))
    changes.split("stable-canary", {"stable": 1, "canary": 3}, None, "alice")
    file = yaml.safe_load(changes.exported(Exported(tree, {}, as_file(tree))).yaml)
    assert [route.get("split") for route in file["routes"]] == [None, {"sides": {"stable": 1, "canary": 3}}]
    assert tree["routes"][1]["split"] == {"sides": {"stable": 90, "canary": 10}}


def test_a_breach_is_a_change_of_what_operators_have_set(harness: Harness) -> None:
    notes = FakeNotes()
    split = made(notes)
    changes = operator(harness.fleet, split)
    changes.split("stable-canary", {"canary": 90}, WISH, "alice")
    assert changes.revision == 1
    notes.tallies = {"stable": counted(0, 0), "canary": counted(0, 0)}
    split.look()
    notes.clock.advance(0.5)
    notes.tallies = {"stable": counted(500, 1), "canary": counted(500, 100)}
    split.look()
    assert changes.revision == 2


# --- gates

WISH = GateWish(hold=10.0, abort_if="errors>+0.5%")
AT = "1994-11-06T08:49:37.000Z"


def counted(requests: int, errors: int) -> Tally:
    return Tally(requests, errors, (0, requests, *[0] * (CELLS - 2)))


def test_a_breach_gives_the_weights_back_and_says_why() -> None:
    notes = FakeNotes()
    split = made(notes)
    split.set("stable-canary", {"canary": 90}, WISH)
    assert notes.texts[-1].endswith(": operator request; watched for 10 s, back if errors>+0.5%")
    gate = split.gate("stable-canary")
    assert gate is not None
    assert (gate.abort_if, gate.hold, gate.back_to) == (["errors>+0.5%"], 10.0, {"stable": 90, "canary": 10})
    notes.tallies = {"stable": counted(0, 0), "canary": counted(0, 0)}
    split.look()
    notes.clock.advance(0.5)
    notes.tallies = {"stable": counted(500, 1), "canary": counted(500, 100)}
    split.look()
    assert notes.told[-1].weights == {"stable": 90, "canary": 10}
    assert notes.texts[-1] == (
        "route stable-canary is split stable 90, canary 10 (before: stable 90, canary 90): errors>+0.5%: "
        "20.0% of its requests failed, 0.2% of the others"
    )
    assert split.gate("stable-canary") is None
    assert split.last_gate("stable-canary") == GateEnd(
        1, "breached", "errors>+0.5%: 20.0% of its requests failed, 0.2% of the others"
    )


def test_a_change_that_has_held_stays() -> None:
    notes = FakeNotes()
    split = made(notes)
    split.set("stable-canary", {"canary": 90}, WISH)
    for second in range(24):
        notes.tallies = {pool: counted(300 * second, second) for pool in ("stable", "canary")}
        split.look()
        notes.clock.advance(0.5)
    assert notes.texts[-1] == "route stable-canary has held stable 90, canary 90 for its time"
    assert split.weights("stable-canary") == {"stable": 90, "canary": 90}
    assert len(notes.told) == 1
    assert split.last_gate("stable-canary") == GateEnd(1, "held", "")


def test_a_new_change_ends_the_watch_and_that_is_noted() -> None:
    notes = FakeNotes()
    split = made(notes)
    split.set("stable-canary", {"canary": 90}, WISH)
    split.set("stable-canary", {"canary": 10})
    assert split.gate("stable-canary") is None
    assert split.last_gate("stable-canary") == GateEnd(
        1, "replaced", "an operator has set stable 90, canary 10 meanwhile"
    )
    assert notes.texts[-1].endswith("(before: stable 90, canary 90): operator request; no longer watched")


@pytest.mark.parametrize("second", [{"stable": 10, "canary": 90}, {"canary": 60}, {"canary": 30}])
def test_a_second_watched_change_is_taken_back_to_the_last_weights_that_have_held(
    second: dict[str, int],
) -> None:
    notes = FakeNotes()
    split = made(notes)
    split.set("stable-canary", {"stable": 50, "canary": 50}, WISH)
    split.set("stable-canary", second, WISH)
    gate = split.gate("stable-canary")
    assert gate is not None
    assert (gate.number, gate.back_to) == (2, {"stable": 90, "canary": 10})
    assert notes.texts[-1].endswith(
        ": operator request; the watch goes on for another 10 s, back to stable 90, canary 10 if errors>+0.5%"
    )
    notes.tallies = {"stable": counted(0, 0), "canary": counted(0, 0)}
    split.look()
    notes.clock.advance(0.5)
    notes.tallies = {"stable": counted(500, 1), "canary": counted(500, 100)}
    split.look()
    assert split.weights("stable-canary") == {"stable": 90, "canary": 10}


def test_the_same_watched_change_again_changes_nothing() -> None:
    notes = FakeNotes()
    split = made(notes)
    assert split.set("stable-canary", {"canary": 50}, WISH)
    assert not split.set("stable-canary", {"canary": 50}, WISH)
    gate = split.gate("stable-canary")
    assert gate is not None
    assert (gate.number, len(notes.texts)) == (1, 1)
    assert split.set("stable-canary", {"canary": 50}, GateWish(20.0, WISH.abort_if))


def test_after_a_watch_that_has_ended_a_new_one_has_the_present_weights_to_go_back_to() -> None:
    split = made(FakeNotes())
    split.set("stable-canary", {"stable": 50, "canary": 50}, WISH)
    split.set("stable-canary", {"stable": 40, "canary": 60})
    split.set("stable-canary", {"stable": 10, "canary": 90}, WISH)
    gate = split.gate("stable-canary")
    assert gate is not None
    assert gate.back_to == {"stable": 40, "canary": 60}


def test_the_view_says_what_the_watch_waits_for() -> None:
    notes = FakeNotes()
    split = made(notes)
    split.set("stable-canary", {"canary": 90}, WISH)
    notes.tallies = {"stable": counted(0, 0), "canary": counted(0, 0)}
    split.look()
    notes.clock.advance(0.5)
    notes.tallies = {"stable": counted(300, 0), "canary": counted(3, 0)}
    split.look()
    gate = split.gate("stable-canary")
    assert gate is not None
    assert gate.waiting == "canary 3 of 100 requests"


def test_the_same_weights_end_the_watch_and_that_is_noted() -> None:
    notes = FakeNotes()
    split = made(notes)
    split.set("stable-canary", {"canary": 90}, WISH)
    split.set("stable-canary", {"canary": 90})
    assert split.gate("stable-canary") is None
    assert notes.texts[-1] == (
        "route stable-canary keeps stable 90, canary 90: operator request; no longer watched"
    )
    assert len(notes.told) == 1


@pytest.mark.parametrize(
    ("weights", "wish", "text"),
    [
        (
            {"canary": 90},
            GateWish(0.0, "errors>1%"),
            "time to hold is not above 0 and at most 604800",
        ),
        ({"canary": 90}, GateWish(604801.0, "errors>1%"), "the time to hold is not above 0 and at most"),
        ({"canary": 90}, GateWish(float("nan"), "errors>1%"), "the time to hold is not above 0 and at most"),
        ({"canary": 90}, GateWish(1.0, "errors"), "abort_if 'errors' has a condition that is not known"),
        ({"canary": 10}, WISH, "can be watched only if a side grows"),
        ({"stable": 0}, WISH, "another one still gets requests"),
    ],
)
def test_an_impossible_watch_is_refused(weights: dict[str, int], wish: GateWish, text: str) -> None:
    notes = FakeNotes()
    with pytest.raises(RefusedError, match=text):
        made(notes).set("stable-canary", weights, wish)
    assert notes.told == []


def after_reload(routes: str) -> tuple[RouteSpec, ...]:
    """Those of other settings."""
    return instance_spec(
        load({**ENVIRON, "BALANCER_ROUTES": routes}), via="", max_connections=10
    ).worker.routes


RELOADS = [
    pytest.param("/=stable:80|canary:20", False, {"stable": 80, "canary": 20}, id="other weights"),
    pytest.param("/=stable:80|canary:20", True, {"stable": 50, "canary": 50}, id="an operator has set some"),
    pytest.param("/=canary:20|stable:80", True, {"canary": 50, "stable": 50}, id="in another order"),
]


@pytest.mark.parametrize(("routes", "operator_has_set", "weights"), RELOADS)
def test_a_reload_sets_the_weights_unless_an_operator_has(
    routes: str, operator_has_set: bool, weights: dict[str, int]
) -> None:
    split = splits(after_reload("/=stable:90|canary:10"))
    (name,) = (route.name for route in after_reload("/=stable:90|canary:10"))
    new = [replaced(one, name=name) for one in after_reload(routes)]
    if operator_has_set:
        split.set(name, {"stable": 50, "canary": 50})
    split.settle(new)
    assert split.weights(name) == weights
    assert bool(split.updates()) == operator_has_set


def test_a_watched_change_goes_on_over_a_reload_and_ends_with_its_route() -> None:
    notes = FakeNotes()
    split = splits(routes(), notes)
    split.set("stable-canary", {"stable": 50, "canary": 50}, GateWish(600.0, "errors>1%"))
    split.settle(routes())
    gate = split.gate("stable-canary")
    assert gate is not None
    assert gate.back_to == {"stable": 90, "canary": 10}
    split.settle(after_reload("/=stable"))
    assert split.gate("stable-canary") is None
    split.look()
    with pytest.raises(RefusedError, match="is not split"):
        split.set("stable-canary", {"stable": 1})


def test_a_watch_for_the_slo_needs_a_promise_for_every_side_that_grows() -> None:
    notes = FakeNotes()
    split = made(notes)
    wish = GateWish(10.0, "slo")
    with pytest.raises(RefusedError) as caught:
        split.set("stable-canary", {"canary": 90}, wish)
    assert str(caught.value) == (
        "abort_if 'slo' asks for an SLO, and nothing is promised for requests of route stable-canary at "
        "canary; set SLO__LATENCY of the pool, or slo of the route"
    )
    notes.slos["canary"] = SloSpec(
        route="stable-canary", pool="canary", latency=0.5, percentile=0.95, errors=0.01, window=3600.0
    )
    assert split.set("stable-canary", {"canary": 90}, wish)


def test_what_is_promised_now_counts_for_a_watch_that_is_under_way() -> None:
    notes = FakeNotes()
    notes.slos["canary"] = slo = SloSpec(
        route="stable-canary", pool="canary", latency=0.5, percentile=0.95, errors=0.5, window=3600.0
    )
    split = made(notes)
    split.set("stable-canary", {"canary": 90}, GateWish(10.0, "slo"))
    notes.tallies = {"stable": counted(0, 0), "canary": counted(0, 0)}
    split.look()
    notes.clock.advance(0.5)
    notes.tallies = {"stable": counted(500, 0), "canary": counted(500, 100)}
    notes.slos["canary"] = replaced(slo, errors=0.01)
    split.look()
    assert split.last_gate("stable-canary") == GateEnd(
        1, "breached", "slo: canary: 20.00% of its requests failed (promised: 1% at most)"
    )
