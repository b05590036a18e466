"""What is watched changes while discovery runs: lookups of new names begin at once, others end at once."""

from balancer.discovery.lookup import Answer
from balancer.discovery.names import REFRESH
from tests.discovery.harness import Harness, Replica
from tests.discovery.test_dns import APP, dns

A, B = "10.0.0.1", "10.0.0.2"


def _asked(harness: Harness) -> list[str]:
    return [name for _, name in harness.resolver.asked]


def test_a_name_watched_later_is_looked_up_at_once(harness: Harness) -> None:
    harness.start()
    harness.advance(1.0)
    harness.resolver.answers["app"] = Answer((A,))
    replica = Replica("app")
    harness.discovery.watch(replica)
    harness.loop.settle()
    assert replica.address == A
    harness.advance(REFRESH)
    assert harness.starts == [1.0, 1.0 + REFRESH]


def test_an_upstream_with_a_known_name_gets_its_address_without_a_lookup(harness: Harness) -> None:
    harness.resolver.answers["app"] = Answer((B, A))
    first, second = Replica("app"), Replica("app")
    harness.discovery.watch(first)
    harness.start()
    harness.discovery.watch(second)
    assert (second.address, harness.fleet.others["app"]) == (B, (A,))
    harness.discovery.unanswered(second, "refused")
    assert (first.address, second.address) == (B, A)
    assert _asked(harness) == ["app"]


def test_an_upstream_with_a_name_that_has_no_answer_yet_waits_for_it(harness: Harness) -> None:
    first, second = Replica("app"), Replica("app")
    harness.discovery.watch(first)
    harness.start()
    harness.discovery.watch(second)
    harness.resolver.answer("app", Answer((A,)))
    harness.loop.settle()
    assert (first.address, second.address) == (A, A)


def test_watching_twice_is_watching_once(harness: Harness) -> None:
    harness.resolver.answers["app"] = Answer((A,))
    replica = Replica("app")
    harness.discovery.watch(replica)
    harness.discovery.watch(replica)
    harness.start()
    harness.discovery.watch(replica)
    assert harness.fleet.moves == [("app", A)]
    harness.discovery.forget(replica)
    harness.advance(REFRESH)
    assert _asked(harness) == ["app"]


def test_a_forgotten_upstream_keeps_its_address_and_is_not_moved(harness: Harness) -> None:
    harness.resolver.answers["app"] = Answer((A, B))
    first, second = Replica("app"), Replica("app")
    harness.discovery.watch(first)
    harness.discovery.watch(second)
    harness.start()
    harness.discovery.forget(first)
    harness.discovery.unanswered(first, "refused")
    harness.resolver.answers["app"] = Answer((B,))
    harness.advance(REFRESH)
    assert (first.address, second.address) == (A, B)


def test_lookups_of_a_name_end_with_its_last_upstream(harness: Harness) -> None:
    harness.resolver.answers["app"] = Answer((A,))
    first, second = Replica("app"), Replica("app")
    harness.discovery.watch(first)
    harness.discovery.watch(second)
    harness.start()
    harness.discovery.forget(first)
    harness.discovery.forget(first)
    harness.advance(REFRESH)
    assert len(_asked(harness)) == 2
    harness.discovery.forget(second)
    harness.advance(REFRESH)
    assert len(_asked(harness)) == 2
    assert harness.loop.armed_timers == 0


def test_what_was_never_watched_can_be_forgotten(harness: Harness) -> None:
    harness.discovery.forget(Replica("app"))
    harness.discovery.forget_entry("default", "dns://app:8000")
    harness.start()


def test_an_entry_watched_later_is_looked_up_at_once(harness: Harness) -> None:
    harness.start()
    harness.resolver.answers["app"] = Answer((A,))
    harness.discovery.watch_entry("default", APP)
    harness.loop.settle()
    assert harness.addresses() == [A]


def test_a_forgotten_entry_reports_nothing_and_its_members_stay(harness: Harness) -> None:
    harness.discovery.watch_entry("default", APP)
    harness.discovery.watch_entry("shop", APP)
    harness.resolver.answers["app"] = Answer((A,))
    harness.start()
    harness.discovery.forget_entry("default", APP.id)
    harness.resolver.answers["app"] = Answer((B,))
    harness.advance(2.0)
    assert harness.addresses() == [A]
    assert harness.addresses(pool="shop") == [B]


def test_an_answer_that_arrives_after_forgetting_is_ignored(harness: Harness) -> None:
    harness.discovery.watch_entry("default", APP)
    harness.start()
    harness.resolver.answer("app", Answer((A,)))
    harness.discovery.forget_entry("default", APP.id)
    harness.loop.settle()
    assert harness.fleet.told == []


def test_an_entry_forgotten_before_the_start_is_not_looked_up(harness: Harness) -> None:
    harness.discovery.watch_entry("default", APP)
    harness.discovery.forget_entry("default", APP.id)
    harness.start()
    assert harness.resolver.asked == []


def test_an_entry_watched_again_has_its_new_spec(harness: Harness) -> None:
    harness.resolver.answers["app"] = Answer((A,))
    harness.discovery.watch_entry("default", APP)
    harness.start()
    harness.discovery.watch_entry("default", dns("app", weight=5, refresh=10.0))
    harness.loop.settle()
    assert [member.weight for member in harness.fleet.members["default", APP.id]] == [5]
    harness.advance(9.0)
    assert len(harness.resolver.asked) == 2


def test_waiting_ends_when_what_is_waited_for_is_forgotten(harness: Harness) -> None:
    replica = Replica("hangs")
    harness.discovery.watch(replica)
    harness.discovery.watch_entry("default", APP)
    harness.start()
    harness.discovery.forget(replica)
    harness.loop.settle()
    assert not harness.asked.done()
    harness.discovery.forget_entry("default", APP.id)
    harness.loop.settle()
    assert harness.asked.done()


def test_waiting_includes_what_was_watched_later(harness: Harness) -> None:
    harness.start()
    harness.discovery.watch_entry("default", APP)
    asked = harness.loop.create_task(harness.discovery.asked())
    harness.loop.settle()
    assert not asked.done()
    harness.resolver.answer("app", Answer((A,)))
    harness.loop.settle()
    assert asked.done()
