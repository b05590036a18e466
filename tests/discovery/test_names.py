"""Names of upstreams: addresses are kept current, and a resolver's failures change nothing that works."""

import pytest

from balancer.discovery.lookup import Answer
from balancer.discovery.names import AGAIN, MOST_OTHERS, REFRESH
from tests.discovery.harness import NOT_KNOWN, Harness, Replica


@pytest.fixture
def replicas(harness: Harness) -> list[Replica]:
    """Three upstreams behind two names, watched."""
    replicas = [Replica("app1"), Replica("app2"), Replica("app1")]
    for replica in replicas:
        harness.discovery.watch(replica)
    harness.resolver.answers = {"app1": Answer(("10.0.0.1",)), "app2": Answer(("10.0.0.2",))}
    return replicas


def _addresses(replicas: list[Replica]) -> list[str]:
    return [replica.address for replica in replicas]


def test_every_upstream_of_a_name_gets_its_address(harness: Harness, replicas: list[Replica]) -> None:
    harness.start()
    assert _addresses(replicas) == ["10.0.0.1", "10.0.0.2", "10.0.0.1"]
    assert [name for _, name in harness.resolver.asked] == ["app1", "app2"]


def test_only_a_change_is_reported(harness: Harness, replicas: list[Replica]) -> None:
    harness.start()
    harness.fleet.moves.clear()
    harness.advance(REFRESH)
    assert harness.fleet.moves == []
    harness.resolver.answers["app2"] = Answer(("10.0.0.9",))
    harness.advance(REFRESH)
    assert harness.fleet.moves == [("app2", "10.0.0.9")]


def test_rotating_answers_do_not_move_an_upstream(harness: Harness, replicas: list[Replica]) -> None:
    harness.resolver.answers["app1"] = Answer(("10.0.0.1", "10.0.0.3"))
    harness.start()
    harness.resolver.answers["app1"] = Answer(("10.0.0.3", "10.0.0.1"))
    harness.advance(REFRESH)
    assert len(harness.resolver.asked) == 4
    assert _addresses(replicas) == ["10.0.0.1", "10.0.0.2", "10.0.0.1"]


def test_the_last_good_address_is_kept(
    harness: Harness, replicas: list[Replica], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    harness.start()
    harness.resolver.answers["app1"] = NOT_KNOWN
    for _ in range(3):
        harness.advance(REFRESH)
    assert _addresses(replicas) == ["10.0.0.1", "10.0.0.2", "10.0.0.1"]
    harness.resolver.answers["app1"] = Answer(("10.0.0.1",))
    harness.advance(REFRESH)
    assert caplog.messages == [
        "the name app1 does not resolve (Name or service not known); keeping 10.0.0.1",
        "the name app1 resolves now",
    ]


def test_an_unresolved_name_at_the_start_is_a_warning(
    harness: Harness, replicas: list[Replica], caplog: pytest.LogCaptureFixture
) -> None:
    harness.resolver.answers["app2"] = NOT_KNOWN
    harness.start()
    assert harness.asked.done()
    assert _addresses(replicas) == ["10.0.0.1", "", "10.0.0.1"]
    assert caplog.messages == [
        "the name app2 does not resolve (Name or service not known); it gets no requests until it resolves"
    ]


def test_a_hanging_resolver_blocks_nothing_and_is_not_asked_twice(
    harness: Harness, replicas: list[Replica]
) -> None:
    del harness.resolver.answers["app2"]
    harness.start()
    for _ in range(3):
        harness.advance(REFRESH)
    assert _addresses(replicas) == ["10.0.0.1", "", "10.0.0.1"]
    names = [name for _, name in harness.resolver.asked]
    assert (names.count("app1"), names.count("app2")) == (4, 1)
    harness.resolver.answer("app2", Answer(("10.0.0.2",)))
    harness.loop.settle()
    assert _addresses(replicas) == ["10.0.0.1", "10.0.0.2", "10.0.0.1"]


def test_without_names_there_is_nothing_to_wait_for(harness: Harness) -> None:
    harness.start()
    assert harness.asked.done()
    assert not harness.task.done()  # there may be names later


# --- several addresses

A, B, C = "10.0.0.1", "10.0.0.2", "10.0.0.3"


def several(harness: Harness, *addresses: str) -> Replica:
    replica = Replica("app")
    harness.discovery.watch(replica)
    harness.resolver.answers["app"] = Answer(addresses)
    harness.start()
    harness.fleet.moves.clear()
    harness.fleet.reasons.clear()
    return replica


def test_an_upstream_that_does_not_answer_moves_to_the_next_address_at_once(harness: Harness) -> None:
    replica = several(harness, B, A, C)
    assert replica.address == B
    harness.discovery.unanswered(replica, "connection refused")
    assert harness.fleet.moves == [("app", C)]
    assert harness.fleet.reasons == ["which does not answer: connection refused"]


def test_it_stays_there_when_the_first_address_is_listed_and_well_again(harness: Harness) -> None:
    replica = several(harness, A, B)
    harness.discovery.unanswered(replica, "refused")
    for _ in range(10):
        harness.advance(REFRESH)
    assert harness.fleet.moves == [("app", B)]


def test_if_no_address_answers_each_is_tried_once_and_then_one_every_30s_at_most(harness: Harness) -> None:
    replica = several(harness, A, B, C)
    tried = [(0.0, A)]
    for second in range(100):
        before = replica.address
        harness.discovery.unanswered(replica, "refused")
        if replica.address != before:
            tried.append((second, replica.address))
        harness.advance(1.0)
    assert [address for _, address in tried[:3]] == [A, B, C]
    assert tried[2][0] < 3
    again = [second for second, _ in tried[3:]]
    assert again[0] >= AGAIN
    assert len(tried) <= 3 + 3 * 100 / AGAIN


def test_an_upstream_with_one_address_stays(harness: Harness) -> None:
    replica = several(harness, A)
    harness.discovery.unanswered(replica, "refused")
    assert (harness.fleet.moves, harness.fleet.others) == ([], {"app": ()})


def test_an_upstream_moves_to_an_address_known_to_answer(harness: Harness) -> None:
    replica = several(harness, A, B, C)
    harness.discovery.unanswered(replica, "refused", C)
    assert replica.address == C
    harness.discovery.unanswered(replica, "refused", A)
    assert replica.address == A, "it was seen to answer"
    harness.discovery.unanswered(replica, "refused", "10.0.0.9")
    assert replica.address == A, "that is not listed any more"


def test_an_address_that_did_not_answer_is_the_last_choice(harness: Harness) -> None:
    replica = several(harness, A, B)
    harness.discovery.unanswered(replica, "refused")
    harness.resolver.answers["app"] = Answer((A, C))
    harness.advance(REFRESH)
    assert replica.address == C
    harness.resolver.answers["app"] = Answer((A,))
    harness.advance(REFRESH)
    assert replica.address == A, "there is no other"


def test_workers_get_the_other_addresses_in_order_and_rotation_is_not_reported(harness: Harness) -> None:
    replica = several(harness, B, A, C)
    assert harness.fleet.others == {"app": (C, A)}
    harness.resolver.answers["app"] = Answer((A, C, B))
    harness.advance(REFRESH)
    assert harness.fleet.others == {"app": (C, A)}
    harness.discovery.unanswered(replica, "refused")
    assert harness.fleet.others == {"app": (A, B)}
    harness.resolver.answers["app"] = Answer(tuple(f"10.0.0.{number}" for number in range(1, 10)))
    harness.advance(REFRESH)
    assert len(harness.fleet.others["app"]) == MOST_OTHERS


def test_upstreams_of_one_name_move_independently(harness: Harness) -> None:
    first, second = Replica("app"), Replica("app")  # two ports
    harness.discovery.watch(first)
    harness.discovery.watch(second)
    harness.resolver.answers["app"] = Answer((A, B))
    harness.start()
    harness.discovery.unanswered(first, "refused")
    assert (first.address, second.address) == (B, A)


def test_an_upstream_without_a_name_is_left_alone(harness: Harness) -> None:
    several(harness, A)
    harness.discovery.unanswered(Replica("10.0.0.1", "10.0.0.1"), "refused")
    assert harness.fleet.moves == []


def test_an_address_of_our_own_is_skipped(harness: Harness) -> None:
    harness.fleet.ours = frozenset([A, C])
    replica = several(harness, A, B, C)
    assert (replica.address, harness.fleet.others) == (B, {"app": ()})
    harness.discovery.unanswered(replica, "refused")
    assert replica.address == B
