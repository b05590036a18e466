"""Live changes over the settings: shown, exported, and gone with the upstream."""

from collections.abc import Iterator

import pytest
import yaml

from balancer.admin.view import Change, LiveChange
from balancer.config.export import Exported, as_file
from balancer.runtime.operator import Operator
from balancer.telemetry.segment import Segment
from tests.runtime.test_fleet import DNS, Scene, member


@pytest.fixture
def scene() -> Iterator[Scene]:
    segment = Segment.create(workers=1)
    yield Scene(segment)
    segment.close()


TREE = {"listen": "0.0.0.0:8080", "upstreams": ["app1:8000", "app2:8000?backup=true", "dns://app:8000"]}
CONFIG = Exported(TREE, {}, as_file(TREE))


def test_nothing_changed_is_nothing_to_show(scene: Scene) -> None:
    operator = Operator(scene.fleet)
    assert operator.live_changes() == []
    assert operator.exported(CONFIG) is CONFIG


def test_changes_show_until_they_are_taken_back(scene: Scene) -> None:
    operator = Operator(scene.fleet)
    operator.change("default", "app1:8000", Change("draining", 3))
    operator.change("default", "app2:8000", Change(weight=2))
    assert operator.live_changes() == [
        LiveChange("default", "app1:8000", "draining", 3),
        LiveChange("default", "app2:8000", None, 2),
    ]
    operator.change("default", "app1:8000", Change("active", 1))
    operator.change("default", "app2:8000", Change(weight=1))
    assert operator.live_changes() == []


def test_the_file_has_the_weights_and_tells_of_the_rest(scene: Scene) -> None:
    scene.fleet.set_members("default", DNS, [member(1)])
    operator = Operator(scene.fleet)
    operator.change("default", "app1:8000", Change("maintenance", 3))
    operator.change("default", "app2:8000", Change(weight=2))
    operator.change("default", "10.1.0.1:8000", Change(weight=5))
    text = operator.exported(CONFIG).yaml
    assert text.splitlines()[:2] == [
        "# not a setting: app1:8000 is maintenance",
        "# not a setting: 10.1.0.1:8000 has the weight 5",
    ]
    assert yaml.safe_load(text) == {
        "listen": "0.0.0.0:8080",
        "upstreams": ["app1:8000?weight=3", "app2:8000?weight=2&backup=true", "dns://app:8000"],
    }


def test_a_discovered_one_takes_its_changes_with_it(scene: Scene) -> None:
    operator = Operator(scene.fleet)
    scene.fleet.set_members("default", DNS, [member(1)])
    operator.change("default", "10.1.0.1:8000", Change("draining", 3))
    scene.fleet.set_members("default", DNS, [])
    scene.fleet.set_members("default", DNS, [member(1)])
    assert operator.live_changes() == []


@pytest.mark.parametrize(("pool", "upstream"), [("x", "app1:8000"), ("default", "app3:8000")])
def test_one_that_is_not_there(scene: Scene, pool: str, upstream: str) -> None:
    with pytest.raises(KeyError):
        Operator(scene.fleet).change(pool, upstream, Change("draining"))
