"""Live changes on top of the settings are shown, exported, and removed with the upstream."""

import pytest
import yaml

from balancer.admin.view import Change, LiveChange, RefusedError
from balancer.config.exported import Exported, as_file
from balancer.runtime.operator import Operator
from balancer.upstreams.state import Cause
from tests.fakes.specs import route_spec
from tests.fakes.splits import operator as operator_of
from tests.fakes.splits import readonly, splits
from tests.runtime.fleet_harness import DNS, Harness, member

TREE = {"listen": "0.0.0.0:8080", "upstreams": ["app1:8000", "app2:8000?backup=true", "dns://app:8000"]}
WHO = "alice at 127.0.0.1"
AT = "1994-11-06T08:49:37.000Z"
CONFIG = Exported(TREE, {}, as_file(TREE))


def test_without_changes_there_is_nothing_to_show(harness: Harness) -> None:
    operator = operator_of(harness.fleet)
    assert operator.live_changes() == []
    assert operator.exported(CONFIG) is CONFIG


def test_changes_are_shown_until_they_are_reverted(harness: Harness) -> None:
    operator = operator_of(harness.fleet)
    operator.change("default", "app1:8000", Change("draining", 3), WHO)
    operator.change("default", "app2:8000", Change(weight=2), WHO)
    assert operator.live_changes() == [
        LiveChange("default", "app1:8000", "draining", 3, False, WHO, AT),
        LiveChange("default", "app2:8000", None, 2, False, WHO, AT),
    ]
    operator.change("default", "app1:8000", Change("active", 1), WHO)
    operator.change("default", "app2:8000", Change(weight=1), WHO)
    assert operator.live_changes() == []


@pytest.mark.parametrize(
    ("change", "state", "weight"), [(Change("draining"), "draining", None), (Change(weight=3), None, 3)]
)
def test_a_change_leaves_the_rest_as_it_is(
    harness: Harness, change: Change, state: str | None, weight: int | None
) -> None:
    operator = operator_of(harness.fleet)
    operator.change("default", "app1:8000", change, WHO)
    assert operator.live_changes() == [LiveChange("default", "app1:8000", state, weight, False, WHO, AT)]


def test_the_exported_file_has_the_weights_and_mentions_the_rest(harness: Harness) -> None:
    harness.fleet.set_members("default", DNS, [member(1), member(2)])
    operator = operator_of(harness.fleet)
    operator.change("default", "app1:8000", Change("maintenance", 3), WHO)
    operator.change("default", "app2:8000", Change(weight=2), WHO)
    operator.change("default", "10.1.0.1:8000", Change(weight=5), WHO)
    operator.change("default", "10.1.0.2:8000", Change("draining"), WHO)
    text = operator.exported(CONFIG).yaml
    assert text.splitlines()[:3] == [
        "# not a setting: app1:8000 is in maintenance",
        "# not a setting: 10.1.0.1:8000 has the weight 5",
        "# not a setting: 10.1.0.2:8000 is draining",
    ]
    assert yaml.safe_load(text) == {
        "listen": "0.0.0.0:8080",
        "upstreams": ["app1:8000?weight=3", "app2:8000?weight=2&backup=true", "dns://app:8000"],
    }


def test_a_removed_discovered_upstream_takes_its_changes_with_it(harness: Harness) -> None:
    operator = operator_of(harness.fleet)
    harness.fleet.set_members("default", DNS, [member(1)])
    operator.change("default", "10.1.0.1:8000", Change("draining", 3), WHO)
    harness.fleet.set_members("default", DNS, [])
    harness.fleet.set_members("default", DNS, [member(1)])
    assert operator.live_changes() == []


@pytest.mark.parametrize(("pool", "upstream"), [("x", "app1:8000"), ("default", "app3:8000")])
def test_an_unknown_upstream_is_an_error(harness: Harness, pool: str, upstream: str) -> None:
    with pytest.raises(KeyError):
        operator_of(harness.fleet).change(pool, upstream, Change("draining"), WHO)


def test_an_added_upstream_is_shown_and_can_be_removed(harness: Harness) -> None:
    operator = operator_of(harness.fleet)
    assert operator.add("default", "10.0.0.9:8000?weight=2&backup=true", WHO) == "10.0.0.9:8000"
    told = harness.told()
    assert told is not None
    assert [(one.id, one.weight, one.backup) for one in told[2:]] == [("10.0.0.9:8000", 2, True)]
    assert operator.live_changes() == [LiveChange("default", "10.0.0.9:8000", None, None, True, WHO, AT)]
    operator.change("default", "10.0.0.9:8000", Change(weight=3), WHO)
    assert operator.live_changes() == [LiveChange("default", "10.0.0.9:8000", None, 3, True, WHO, AT)]
    file = yaml.safe_load(operator.exported(CONFIG).yaml)
    assert file["upstreams"] == [*TREE["upstreams"], "10.0.0.9:8000?weight=3&backup=true"]
    operator.remove("default", "10.0.0.9:8000", WHO)
    assert operator.live_changes() == []
    assert harness.watcher.seen == [("added", "10.0.0.9:8000"), ("removed", "10.0.0.9:8000")]
    assert len(harness.told() or []) == 2
    assert TREE["upstreams"] == ["app1:8000", "app2:8000?backup=true", "dns://app:8000"]


REFUSED = [
    pytest.param("app9:8000", "has no IP address; names can be used only in UPSTREAMS", id="name"),
    pytest.param("dns://app:8000", "has no IP address", id="discovery"),
    pytest.param("10.0.0.9", "has no port; write 10.0.0.9:8000", id="no port"),
    pytest.param(
        "10.1.0.1:8000?weight=2",
        "has 10.1.0.1:8000 already, as 10.1.0.1:8000; PATCH changes",
        id="other weight",
    ),
    pytest.param(
        "https://10.1.0.1:8000", "has 10.1.0.1:8000 already, as 10.1.0.1:8000; PATCH", id="with TLS"
    ),
]


@pytest.mark.parametrize(("text", "problem"), REFUSED)
def test_invalid_additions_are_refused(harness: Harness, text: str, problem: str) -> None:
    harness.fleet.set_members("default", DNS, [member(1)])
    with pytest.raises(RefusedError, match=problem):
        operator_of(harness.fleet).add("default", text, WHO)


@pytest.mark.parametrize(("upstream", "whose"), [("app1:8000", "the settings"), ("10.1.0.1:8000", DNS)])
def test_only_added_upstreams_can_be_removed(harness: Harness, upstream: str, whose: str) -> None:
    harness.fleet.set_members("default", DNS, [member(1)])
    with pytest.raises(RefusedError, match=f"comes from {whose}; PATCH .*maintenance"):
        operator_of(harness.fleet).remove("default", upstream, WHO)
    assert upstream in harness.pool.upstreams


def test_an_upstream_that_is_there_is_not_added_again(harness: Harness) -> None:
    harness.fleet.set_members("default", DNS, [member(1)])
    operator = operator_of(harness.fleet)
    operator.add("default", "10.0.0.9:8000?weight=2", WHO)
    seen, revision = list(harness.watcher.seen), operator.revision
    assert operator.add("default", "10.0.0.9:8000?weight=2", "bob") == "10.0.0.9:8000"
    assert operator.add("default", "10.1.0.1:8000", "bob") == "10.1.0.1:8000"
    assert (harness.watcher.seen, operator.revision) == (seen, revision)
    assert [one.by for one in operator.live_changes()] == [WHO]


def test_the_revision_is_of_what_operators_have_set(harness: Harness) -> None:
    operator = operator_of(harness.fleet)
    app1 = harness.pool.upstreams["app1:8000"]
    seen = [operator.revision]

    def note() -> None:
        seen.append(operator.revision)

    operator.change("default", app1.id, Change("draining", 3), WHO)
    note()
    operator.change("default", app1.id, Change("draining", 3), WHO)
    note()
    harness.fleet.eject(app1, Cause.ACTIVE_CHECK, "it fails")
    harness.fleet.readmit(app1, Cause.ACTIVE_CHECK, "it answers")
    note()
    operator.add("default", "10.0.0.9:8000", WHO)
    note()
    operator.remove("default", "10.0.0.9:8000", WHO)
    note()
    assert seen == [0, 1, 1, 1, 2, 3]


def test_only_a_read_only_time_that_changes_something_raises_the_revision(harness: Harness) -> None:
    routes = readonly([route_spec("web")])
    operator = Operator(harness.fleet, splits(), routes, harness.clock)
    operator.set_read_only("web", 0)
    assert operator.revision == 0
    operator.set_read_only("web", 60)
    operator.set_read_only("web", 0)
    assert operator.revision == 2


def test_an_audit_event_names_who_has_asked(harness: Harness) -> None:
    harness.fleet.audit("default", "app1:8000", WHO, f"{WHO} drains app1:8000: done")
    last = harness.events.after(0)[-1]
    assert (last.kind, last.pool, last.upstream, last.by) == ("audit", "default", "app1:8000", WHO)
