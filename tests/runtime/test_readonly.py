"""Routes that serve no changes for a while: what workers are told, and how it ends."""

import pytest

from balancer.admin.view import RefusedError
from balancer.messages import ReadOnly
from tests.fakes.specs import route_spec
from tests.fakes.splits import FakeNotes, readonly

SECOND = 1_000_000_000


def test_it_ends_by_itself() -> None:
    notes = FakeNotes()
    routes = readonly([route_spec("web")], notes)
    until = notes.clock.monotonic_ns() + 60 * SECOND
    routes.set("web", 60)
    assert notes.readonly == [ReadOnly(route="web", until_ns=until)]
    assert routes.updates() == (ReadOnly(route="web", until_ns=until),)
    notes.clock.advance(20)
    assert routes.left("web") == pytest.approx(40)
    ((seconds, end),) = notes.timers
    assert seconds == 60
    notes.clock.advance(40)
    end()
    assert notes.readonly[-1] == ReadOnly(route="web", until_ns=0)
    assert (routes.left("web"), routes.updates()) == (0, ())
    assert notes.texts == [
        "route web is read-only for 60 s: operator request",
        "route web serves changes again: its time is over",
    ]


def test_a_second_request_replaces_the_first() -> None:
    notes = FakeNotes()
    routes = readonly([route_spec("web")], notes)
    routes.set("web", 60)
    notes.clock.advance(30)
    routes.set("web", 60)
    notes.timers[0][1]()
    assert routes.left("web") == pytest.approx(60)


def test_0_seconds_end_it() -> None:
    notes = FakeNotes()
    routes = readonly([route_spec("web")], notes)
    routes.set("web", 0)
    assert notes.texts == []
    routes.set("web", 60)
    routes.set("web", 0)
    assert notes.texts[-1] == "route web serves changes again: operator request"
    notes.timers[0][1]()
    assert len(notes.texts) == 2


@pytest.mark.parametrize(("route", "seconds"), [("x", 1), ("web", -1), ("web", 3601), ("web", float("nan"))])
def test_an_impossible_request_is_refused(route: str, seconds: float) -> None:
    with pytest.raises(RefusedError):
        readonly([route_spec("web")]).set(route, seconds)


def test_a_reload_keeps_it_for_routes_that_stay() -> None:
    notes = FakeNotes()
    routes = readonly([route_spec("web"), route_spec("api")], notes)
    routes.set("web", 60)
    routes.set("api", 60)
    routes.settle(["web", "other"])
    assert routes.left("web") == pytest.approx(60)
    assert [one.route for one in routes.updates()] == ["web"]
    notes.timers[1][1]()  # the end of that of the route that is gone
    assert notes.texts[2:] == []
    routes.set("other", 60)
    with pytest.raises(RefusedError):
        routes.set("api", 60)
