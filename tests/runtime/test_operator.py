"""Live changes on top of the settings are shown, exported, and removed with the upstream."""

import pytest
import yaml

from balancer.admin.view import Change, LiveChange, RefusedError
from balancer.config.exported import Exported, as_file
from balancer.runtime.operator import Operator
from tests.fakes.splits import splits
from tests.runtime.fleet_harness import DNS, Harness, member

TREE = {"listen": "0.0.0.0:8080", "upstreams": ["app1:8000", "app2:8000?backup=true", "dns://app:8000"]}
CONFIG = Exported(TREE, {}, as_file(TREE))


def test_without_changes_there_is_nothing_to_show(harness: Harness) -> None:
    operator = Operator(harness.fleet, splits())
    assert operator.live_changes() == []
    assert operator.exported(CONFIG) is CONFIG


def test_changes_are_shown_until_they_are_reverted(harness: Harness) -> None:
    operator = Operator(harness.fleet, splits())
    operator.change("default", "app1:8000", Change("draining", 3))
    operator.change("default", "app2:8000", Change(weight=2))
    assert operator.live_changes() == [
        LiveChange("default", "app1:8000", "draining", 3, False),
        LiveChange("default", "app2:8000", None, 2, False),
    ]
    operator.change("default", "app1:8000", Change("active", 1))
    operator.change("default", "app2:8000", Change(weight=1))
    assert operator.live_changes() == []


CHANGES = [
    pytest.param(Change("draining"), LiveChange("default", "app1:8000", "draining", None, False), id="state"),
    pytest.param(Change(weight=3), LiveChange("default", "app1:8000", None, 3, False), id="weight"),
]


@pytest.mark.parametrize(("change", "shown"), CHANGES)
def test_a_change_leaves_the_rest_as_it_is(harness: Harness, change: Change, shown: LiveChange) -> None:
    operator = Operator(harness.fleet, splits())
    operator.change("default", "app1:8000", change)
    assert operator.live_changes() == [shown]


def test_the_exported_file_has_the_weights_and_mentions_the_rest(harness: Harness) -> None:
    harness.fleet.set_members("default", DNS, [member(1), member(2)])
    operator = Operator(harness.fleet, splits())
    operator.change("default", "app1:8000", Change("maintenance", 3))
    operator.change("default", "app2:8000", Change(weight=2))
    operator.change("default", "10.1.0.1:8000", Change(weight=5))
    operator.change("default", "10.1.0.2:8000", Change("draining"))
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
    operator = Operator(harness.fleet, splits())
    harness.fleet.set_members("default", DNS, [member(1)])
    operator.change("default", "10.1.0.1:8000", Change("draining", 3))
    harness.fleet.set_members("default", DNS, [])
    harness.fleet.set_members("default", DNS, [member(1)])
    assert operator.live_changes() == []


@pytest.mark.parametrize(("pool", "upstream"), [("x", "app1:8000"), ("default", "app3:8000")])
def test_an_unknown_upstream_is_an_error(harness: Harness, pool: str, upstream: str) -> None:
    with pytest.raises(KeyError):
        Operator(harness.fleet, splits()).change(pool, upstream, Change("draining"))


def test_an_added_upstream_is_shown_and_can_be_removed(harness: Harness) -> None:
    operator = Operator(harness.fleet, splits())
    assert operator.add("default", "10.0.0.9:8000?weight=2&backup=true") == "10.0.0.9:8000"
    told = harness.told()
    assert told is not None
    assert [(one.id, one.weight, one.backup) for one in told[2:]] == [("10.0.0.9:8000", 2, True)]
    assert operator.live_changes() == [LiveChange("default", "10.0.0.9:8000", None, None, True)]
    operator.change("default", "10.0.0.9:8000", Change(weight=3))
    assert operator.live_changes() == [LiveChange("default", "10.0.0.9:8000", None, 3, True)]
    file = yaml.safe_load(operator.exported(CONFIG).yaml)
    assert file["upstreams"] == [*TREE["upstreams"], "10.0.0.9:8000?weight=3&backup=true"]
    operator.remove("default", "10.0.0.9:8000")
    assert operator.live_changes() == []
    assert harness.watcher.seen == [("added", "10.0.0.9:8000"), ("removed", "10.0.0.9:8000")]
    assert len(harness.told() or []) == 2
    assert TREE["upstreams"] == ["app1:8000", "app2:8000?backup=true", "dns://app:8000"]


REFUSED = [
    pytest.param("app9:8000", "has no IP address; names can be used only in UPSTREAMS", id="name"),
    pytest.param("dns://app:8000", "has no IP address", id="discovery"),
    pytest.param("10.0.0.9", "has no port; write 10.0.0.9:8000", id="no port"),
    pytest.param("10.1.0.1:8000", "has 10.1.0.1:8000 already; PATCH changes it", id="there already"),
]


@pytest.mark.parametrize(("text", "problem"), REFUSED)
def test_invalid_additions_are_refused(harness: Harness, text: str, problem: str) -> None:
    harness.fleet.set_members("default", DNS, [member(1)])
    with pytest.raises(RefusedError, match=problem):
        Operator(harness.fleet, splits()).add("default", text)


@pytest.mark.parametrize(("upstream", "whose"), [("app1:8000", "the settings"), ("10.1.0.1:8000", DNS)])
def test_only_added_upstreams_can_be_removed(harness: Harness, upstream: str, whose: str) -> None:
    harness.fleet.set_members("default", DNS, [member(1)])
    with pytest.raises(RefusedError, match=f"comes from {whose}; PATCH .*maintenance"):
        Operator(harness.fleet, splits()).remove("default", upstream)
    assert upstream in harness.pool.upstreams
