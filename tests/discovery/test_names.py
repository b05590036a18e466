"""Names of upstreams: addresses are kept current, and a resolver's troubles change nothing that works."""

import pytest

from balancer.discovery.lookup import Answer
from balancer.discovery.names import AGAIN, MOST_OTHERS, REFRESH
from tests.discovery.harness import NOT_KNOWN, Replica, Scene


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


# --- several addresses

A, B, C = "10.0.0.1", "10.0.0.2", "10.0.0.3"


def several(scene: Scene, *addresses: str) -> Replica:
    replica = Replica("app")
    scene.discovery.watch_names([replica])
    scene.resolver.answers["app"] = Answer(addresses)
    scene.start()
    scene.fleet.moves.clear()
    scene.fleet.reasons.clear()
    return replica


def test_one_that_does_not_answer_moves_to_the_next_address_at_once(scene: Scene) -> None:
    replica = several(scene, B, A, C)
    assert replica.address == B
    scene.discovery.unanswered(replica, "connection refused")
    assert scene.fleet.moves == [("app", C)]
    assert scene.fleet.reasons == ["which does not answer: connection refused"]


def test_it_stays_there_when_the_first_one_is_listed_and_well_again(scene: Scene) -> None:
    replica = several(scene, A, B)
    scene.discovery.unanswered(replica, "refused")
    for _ in range(10):
        scene.advance(REFRESH)
    assert scene.fleet.moves == [("app", B)]


def test_where_none_answers_each_is_tried_and_then_no_more_than_every_30_s(scene: Scene) -> None:
    replica = several(scene, A, B, C)
    tried = [(0.0, A)]
    for second in range(100):
        before = replica.address
        scene.discovery.unanswered(replica, "refused")
        if replica.address != before:
            tried.append((second, replica.address))
        scene.advance(1.0)
    assert [address for _, address in tried[:3]] == [A, B, C]
    assert tried[2][0] < 3
    again = [second for second, _ in tried[3:]]
    assert again[0] >= AGAIN
    assert len(tried) <= 3 + 3 * 100 / AGAIN


def test_one_with_a_single_address_stays(scene: Scene) -> None:
    replica = several(scene, A)
    scene.discovery.unanswered(replica, "refused")
    assert (scene.fleet.moves, scene.fleet.others) == ([], {"app": ()})


def test_where_it_is_known_to_answer_it_is_moved_there(scene: Scene) -> None:
    replica = several(scene, A, B, C)
    scene.discovery.unanswered(replica, "refused", C)
    assert replica.address == C
    scene.discovery.unanswered(replica, "refused", A)
    assert replica.address == A, "it was seen to answer"
    scene.discovery.unanswered(replica, "refused", "10.0.0.9")
    assert replica.address == A, "that is not listed any more"


def test_an_address_that_did_not_answer_is_the_last_choice_when_its_own_is_gone(scene: Scene) -> None:
    replica = several(scene, A, B)
    scene.discovery.unanswered(replica, "refused")
    scene.resolver.answers["app"] = Answer((A, C))
    scene.advance(REFRESH)
    assert replica.address == C
    scene.resolver.answers["app"] = Answer((A,))
    scene.advance(REFRESH)
    assert replica.address == A, "there is no other"


def test_the_others_are_told_from_its_own_on_and_rotation_is_no_news(scene: Scene) -> None:
    replica = several(scene, B, A, C)
    assert scene.fleet.others == {"app": (C, A)}
    scene.resolver.answers["app"] = Answer((A, C, B))
    scene.advance(REFRESH)
    assert scene.fleet.others == {"app": (C, A)}
    scene.discovery.unanswered(replica, "refused")
    assert scene.fleet.others == {"app": (A, B)}
    scene.resolver.answers["app"] = Answer(tuple(f"10.0.0.{number}" for number in range(1, 10)))
    scene.advance(REFRESH)
    assert len(scene.fleet.others["app"]) == MOST_OTHERS


def test_upstreams_of_one_name_move_each_for_itself(scene: Scene) -> None:
    first, second = Replica("app"), Replica("app")  # two ports
    scene.discovery.watch_names([first, second])
    scene.resolver.answers["app"] = Answer((A, B))
    scene.start()
    scene.discovery.unanswered(first, "refused")
    assert (first.address, second.address) == (B, A)


def test_what_has_no_name_is_left_alone(scene: Scene) -> None:
    several(scene, A)
    scene.discovery.unanswered(Replica("10.0.0.1", "10.0.0.1"), "refused")
    assert scene.fleet.moves == []


def test_an_address_of_our_own_is_passed_over(scene: Scene) -> None:
    scene.fleet.ours = frozenset([A, C])
    replica = several(scene, A, B, C)
    assert (replica.address, scene.fleet.others) == (B, {"app": ()})
    scene.discovery.unanswered(replica, "refused")
    assert replica.address == B
