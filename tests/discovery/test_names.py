"""Names of upstreams: addresses are kept current, and a resolver's troubles change nothing that works."""

import pytest

from balancer.discovery.lookup import Answer
from balancer.discovery.names import REFRESH
from tests.discovery.scene import NOT_KNOWN, Replica, Scene


@pytest.fixture
def replicas(scene: Scene) -> list[Replica]:
    """Three upstreams behind two names, watched."""
    replicas = [Replica("app1"), Replica("app2"), Replica("app1")]
    scene.discovery.watch_names(replicas)
    scene.resolver.answers = {"app1": Answer(("10.0.0.1",)), "app2": Answer(("10.0.0.2",))}
    return replicas


def _addresses(replicas: list[Replica]) -> list[str]:
    return [replica.address for replica in replicas]


def test_every_upstream_of_a_name_gets_its_address(scene: Scene, replicas: list[Replica]) -> None:
    scene.start()
    assert _addresses(replicas) == ["10.0.0.1", "10.0.0.2", "10.0.0.1"]
    assert [name for _, name in scene.resolver.asked] == ["app1", "app2"]


def test_only_a_change_is_told(scene: Scene, replicas: list[Replica]) -> None:
    scene.start()
    scene.fleet.moves.clear()
    scene.advance(REFRESH)
    assert scene.fleet.moves == []
    scene.resolver.answers["app2"] = Answer(("10.0.0.9",))
    scene.advance(REFRESH)
    assert scene.fleet.moves == [("app2", "10.0.0.9")]


def test_rotating_answers_do_not_move_an_upstream(scene: Scene, replicas: list[Replica]) -> None:
    scene.resolver.answers["app1"] = Answer(("10.0.0.1", "10.0.0.3"))
    scene.start()
    scene.resolver.answers["app1"] = Answer(("10.0.0.3", "10.0.0.1"))
    scene.advance(REFRESH)
    assert len(scene.resolver.asked) == 4
    assert _addresses(replicas) == ["10.0.0.1", "10.0.0.2", "10.0.0.1"]


def test_the_last_good_address_is_kept(
    scene: Scene, replicas: list[Replica], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    scene.start()
    scene.resolver.answers["app1"] = NOT_KNOWN
    for _ in range(3):
        scene.advance(REFRESH)
    assert _addresses(replicas) == ["10.0.0.1", "10.0.0.2", "10.0.0.1"]
    scene.resolver.answers["app1"] = Answer(("10.0.0.1",))
    scene.advance(REFRESH)
    assert caplog.messages == [
        "the name app1 does not resolve (Name or service not known); keeping 10.0.0.1",
        "the name app1 resolves now",
    ]


def test_a_name_that_does_not_resolve_at_start_is_a_warning(
    scene: Scene, replicas: list[Replica], caplog: pytest.LogCaptureFixture
) -> None:
    scene.resolver.answers["app2"] = NOT_KNOWN
    scene.start()
    assert scene.asked.done()
    assert _addresses(replicas) == ["10.0.0.1", "", "10.0.0.1"]
    assert caplog.messages == [
        "the name app2 does not resolve (Name or service not known); it gets no requests until it resolves"
    ]


def test_a_resolver_that_hangs_holds_up_nobody_and_is_not_asked_twice(
    scene: Scene, replicas: list[Replica]
) -> None:
    del scene.resolver.answers["app2"]
    scene.start()
    for _ in range(3):
        scene.advance(REFRESH)
    assert _addresses(replicas) == ["10.0.0.1", "", "10.0.0.1"]
    names = [name for _, name in scene.resolver.asked]
    assert (names.count("app1"), names.count("app2")) == (4, 1)
    scene.resolver.answer("app2", Answer(("10.0.0.2",)))
    scene.loop.settle()
    assert _addresses(replicas) == ["10.0.0.1", "10.0.0.2", "10.0.0.1"]


def test_without_names_there_is_nothing_to_do() -> None:
    scene = Scene()
    scene.start()
    assert scene.task.done()
    assert scene.asked.done()
    assert scene.resolver.closed
