"""What the metrics show of discovery: how many answers there were, and how old the last good one is."""

from pathlib import Path

from balancer.discovery.lookup import Answer
from balancer.discovery.members_file import LOOK
from balancer.discovery.names import REFRESH
from balancer.discovery.source import TIMEOUT
from balancer.spec.instance import MembersFileSpec
from balancer.telemetry.samples import DiscoverySample
from tests.discovery.harness import NOT_KNOWN, Harness, Replica
from tests.discovery.test_dns import APP, dns

HERE = Answer(("10.0.0.1",))


def test_a_name_that_resolves_is_not_stale(harness: Harness) -> None:
    harness.discovery.watch_entry("shop", APP)
    harness.resolver.answers["app"] = HERE
    harness.start()
    harness.advance(APP.refresh)
    assert harness.discovery.samples() == [DiscoverySample("shop", APP.id, 0.0, ok=2, failed=0)]


def test_the_age_is_that_of_the_last_good_answer(harness: Harness) -> None:
    harness.discovery.watch_entry("shop", APP)
    harness.resolver.answers["app"] = HERE
    harness.start()
    harness.resolver.answers["app"] = NOT_KNOWN
    harness.advance(APP.refresh)
    harness.advance(APP.refresh)
    assert harness.discovery.samples() == [DiscoverySample("shop", APP.id, 2 * APP.refresh, ok=1, failed=2)]
    harness.resolver.answers["app"] = HERE
    harness.advance(APP.refresh)
    assert harness.discovery.samples() == [DiscoverySample("shop", APP.id, 0.0, ok=2, failed=2)]


def test_without_any_good_answer_it_is_the_time_since_the_first_lookup(harness: Harness) -> None:
    harness.discovery.watch_entry("shop", APP)
    harness.resolver.answers["app"] = NOT_KNOWN
    harness.start()
    harness.advance(1.5)
    assert harness.discovery.samples() == [DiscoverySample("shop", APP.id, 1.5, ok=0, failed=1)]


def test_a_lookup_that_hangs_fails_once_and_its_late_answer_counts(harness: Harness) -> None:
    harness.discovery.watch_entry("shop", APP)
    harness.start()
    harness.advance(TIMEOUT)
    assert harness.discovery.samples() == [DiscoverySample("shop", APP.id, TIMEOUT, ok=0, failed=1)]
    harness.resolver.answer("app", HERE)
    harness.loop.settle()
    assert harness.discovery.samples() == [DiscoverySample("shop", APP.id, 0.0, ok=1, failed=1)]


def test_a_lookup_that_hangs_and_then_fails_has_failed_once(harness: Harness) -> None:
    harness.discovery.watch_entry("shop", APP)
    harness.start()
    harness.advance(TIMEOUT)
    harness.resolver.answer("app", NOT_KNOWN)
    harness.loop.settle()
    assert [one.failed for one in harness.discovery.samples()] == [1]


def test_a_name_counts_for_each_pool_that_has_it(harness: Harness) -> None:
    harness.resolver.answers["app1"] = HERE
    for pool in ("web", "api", "web"):
        harness.discovery.watch(Replica("app1", pool=pool))
    harness.start()
    harness.resolver.answers["app1"] = NOT_KNOWN
    harness.advance(REFRESH)
    assert harness.discovery.samples() == [
        DiscoverySample(pool, "app1", REFRESH, ok=1, failed=1) for pool in ("api", "web")
    ]


def test_an_entry_that_is_looked_up_otherwise_keeps_its_counts(harness: Harness) -> None:
    harness.discovery.watch_entry("shop", APP)
    harness.resolver.answers["app"] = HERE
    harness.start()
    harness.discovery.watch_entry("shop", dns("app", refresh=10.0))
    harness.loop.settle()
    assert harness.discovery.samples() == [DiscoverySample("shop", APP.id, 0.0, ok=2, failed=0)]
    harness.discovery.forget_entry("shop", APP.id)
    assert harness.discovery.samples() == []


def test_looks_at_a_file_count_as_lookups(harness: Harness, tmp_path: Path) -> None:
    path = tmp_path / "members.yaml"
    entry = MembersFileSpec(id=f"file://{path}", path=str(path))
    harness.discovery.watch_entry("shop", entry)
    harness.start()
    assert harness.discovery.samples() == [DiscoverySample("shop", entry.id, 0.0, ok=0, failed=1)]
    path.write_text("[10.0.0.2:8000]")
    harness.advance(LOOK)
    assert harness.discovery.samples() == [DiscoverySample("shop", entry.id, 0.0, ok=1, failed=1)]


def test_every_entry_has_its_own_sample(harness: Harness) -> None:
    harness.resolver.answers = {"app": HERE, "other": HERE}
    harness.discovery.watch_entry("shop", APP)
    harness.discovery.watch_entry("api", dns("other"))
    harness.start()
    assert [(one.pool, one.source) for one in harness.discovery.samples()] == [
        ("shop", "dns://app:8000"),
        ("api", "dns://other:8000"),
    ]
