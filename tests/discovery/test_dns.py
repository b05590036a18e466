"""dns:// entries: the fleet has an upstream per address, and failures of the name server change nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.discovery.lookup import Answer
from balancer.discovery.member import Member
from balancer.spec.instance import NameSpec
from tests.discovery.harness import NOT_KNOWN, Harness


def dns(
    host: str, port: int = 8000, *, weight: int = 1, refresh: float = 2.0, backup: bool = False
) -> NameSpec:
    """The entry `dns://host:port`."""
    return NameSpec(
        id=f"dns://{host}:{port}", host=host, port=port, weight=weight, backup=backup, refresh=refresh
    )


APP = dns("app")


@pytest.mark.parametrize(
    ("spec", "addresses", "members"),
    [
        pytest.param(
            APP, ["10.0.0.2"], [Member("10.0.0.2:8000", "10.0.0.2", 8000, 1, "10.0.0.2")], id="one_address"
        ),
        pytest.param(
            dns("app", 80, weight=3),
            ["10.0.0.10", "10.0.0.9"],
            [
                Member("10.0.0.9:80", "10.0.0.9", 80, 3, "10.0.0.9"),
                Member("10.0.0.10:80", "10.0.0.10", 80, 3, "10.0.0.10"),
            ],
            id="weight_is_each_ones_and_order_is_by_number",
        ),
        pytest.param(
            APP, ["fd00::2"], [Member("[fd00::2]:8000", "fd00::2", 8000, 1, "fd00::2")], id="ipv6_in_brackets"
        ),
    ],
)
def test_each_address_is_a_member(
    harness: Harness, spec: NameSpec, addresses: list[str], members: list[Member]
) -> None:
    harness.discovery.watch_entry("shop", spec)
    harness.resolver.answers["app"] = Answer(tuple(addresses))
    harness.start()
    assert harness.asked.done()
    assert list(harness.fleet.members["shop", spec.id]) == members


def test_added_and_removed_replicas_are_reported_at_the_next_refresh(harness: Harness) -> None:
    harness.discovery.watch_entry("default", APP)
    for addresses in (("10.0.0.2", "10.0.0.3"), ("10.0.0.3", "10.0.0.4", "10.0.0.5"), ("10.0.0.5",)):
        harness.resolver.answers["app"] = Answer(addresses)
        if harness.starts:
            harness.advance(2.0)
        else:
            harness.start()
        assert harness.addresses() == list(addresses)


def test_shuffled_answers_report_the_same_members(harness: Harness) -> None:
    harness.discovery.watch_entry("default", APP)
    harness.resolver.answers["app"] = Answer(("10.0.0.2", "10.0.0.3"))
    harness.start()
    harness.resolver.answers["app"] = Answer(("10.0.0.3", "10.0.0.2"))
    harness.advance(2.0)
    first, second = harness.fleet.told
    assert first is second


def test_entries_of_one_name_are_independent(harness: Harness) -> None:
    harness.discovery.watch_entry("default", APP)
    harness.discovery.watch_entry("default", dns("app", 9000, weight=2))
    harness.discovery.watch_entry("admin", APP)
    harness.resolver.answers["app"] = Answer(("10.0.0.2",))
    harness.start()
    assert {where: [member.id for member in members] for where, members in harness.fleet.members.items()} == {
        ("default", "dns://app:8000"): ["10.0.0.2:8000"],
        ("default", "dns://app:9000"): ["10.0.0.2:9000"],
        ("admin", "dns://app:8000"): ["10.0.0.2:8000"],
    }


def test_a_failure_keeps_the_last_good_members_and_is_logged_once(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    harness.discovery.watch_entry("default", APP)
    harness.resolver.answers["app"] = Answer(("10.0.0.2", "10.0.0.3"))
    harness.start()
    harness.resolver.answers["app"] = NOT_KNOWN
    for _ in range(3):
        harness.advance(2.0)
    assert len(harness.resolver.asked) == 4
    assert harness.addresses() == ["10.0.0.2", "10.0.0.3"]
    harness.resolver.answers["app"] = Answer(("10.0.0.2",))
    for _ in range(2):
        harness.advance(2.0)
    assert harness.addresses() == ["10.0.0.2"]
    assert caplog.messages == [
        "dns://app:8000 does not resolve (Name or service not known); keeping its 2 upstreams",
        "dns://app:8000 resolves now",
    ]


def test_an_unresolved_name_does_not_block_the_start(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    harness.discovery.watch_entry("default", APP)
    harness.resolver.answers["app"] = NOT_KNOWN
    harness.start()
    assert harness.asked.done()
    assert caplog.messages == [
        "dns://app:8000 does not resolve (Name or service not known); it has no upstream until it resolves"
    ]
    assert harness.fleet.told == []
    assert harness.fleet.problems == {("default", "dns://app:8000"): "Name or service not known"}
    harness.resolver.answers["app"] = Answer(("10.0.0.2",))
    harness.advance(2.0)
    assert harness.addresses() == ["10.0.0.2"]
    assert harness.fleet.problems == {("default", "dns://app:8000"): ""}


def test_a_hanging_resolver_blocks_the_start_for_the_timeout_at_most(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    harness.discovery.watch_entry("default", APP)
    harness.start()
    harness.advance(1.9)
    assert not harness.asked.done()
    assert caplog.messages == []
    harness.advance(0.2)
    assert harness.asked.done()
    assert caplog.messages == [
        "dns://app:8000 does not resolve (no answer within 2 s); it has no upstream until it resolves"
    ]


def test_a_hanging_lookup_is_not_repeated_and_its_late_answer_counts(harness: Harness) -> None:
    harness.discovery.watch_entry("default", APP)
    harness.discovery.watch_entry("default", dns("other", 8000))
    harness.resolver.answers["other"] = Answer(("10.0.1.2",))
    harness.start()
    for _ in range(5):
        harness.advance(2.0)
    names = [name for _, name in harness.resolver.asked]
    assert names.count("app") == 1
    assert names.count("other") == 6
    harness.resolver.answer("app", Answer(("10.0.0.2",)))
    harness.loop.settle()
    assert harness.addresses() == ["10.0.0.2"]


@pytest.mark.parametrize(
    ("refresh", "delay", "starts"),
    [
        pytest.param(2.0, 0.0, [0, 2, 4, 6, 8, 10], id="at_once"),
        pytest.param(2.0, 0.5, [0, 2, 4, 6, 8, 10], id="from_start_to_start"),
        pytest.param(2.0, 2.5, [0, 2.5, 5, 7.5, 10], id="longer_than_the_interval"),
        pytest.param(5.0, 3.0, [0, 5, 10], id="longer_than_the_timeout"),
    ],
)
def test_lookups_keep_their_interval(
    harness: Harness, refresh: float, delay: float, starts: list[float]
) -> None:
    harness.discovery.watch_entry("default", dns("app", 8000, refresh=refresh))
    harness.resolver.answers["app"] = Answer(("10.0.0.2",))
    harness.resolver.delay = delay
    harness.start()
    for _ in range(20):
        harness.advance(0.5)
    assert harness.starts == starts
    assert harness.addresses() == ["10.0.0.2"]


def test_after_a_suspend_missed_lookups_are_not_made_up_for(harness: Harness) -> None:
    harness.discovery.watch_entry("default", APP)
    harness.resolver.answers["app"] = Answer(("10.0.0.2",))
    harness.start()
    harness.advance(1000.0)
    harness.advance(1.9)
    assert harness.starts == [0, 1000]
    harness.advance(0.2)
    assert harness.starts == [0, 1000, 1002.1]


@pytest.mark.parametrize("answer", [None, Answer(("10.0.0.2",))], ids=["in_a_lookup", "between_lookups"])
def test_cancelling_leaves_nothing(answer: Answer | None) -> None:
    harness = Harness()
    harness.discovery.watch_entry("default", APP)
    if answer is not None:
        harness.resolver.answers["app"] = answer
    harness.start()
    harness.stop()
    assert [future.done() for future in harness.resolver.hanging.values()] == [False] * (answer is None)


def test_an_error_of_the_fleet_is_not_swallowed() -> None:
    harness = Harness()
    harness.discovery.watch_entry("default", APP)
    harness.discovery.watch_entry("default", dns("hangs", 8000))
    harness.fleet.broken = True
    harness.resolver.answers["app"] = Answer(("10.0.0.2",))
    harness.start()
    assert isinstance(harness.task.exception(), ExceptionGroup)
    assert harness.resolver.closed
    harness.asked.cancel()
    harness.loop.settle()


_SOME = st.lists(st.integers(1, 9).map("10.0.0.{}".format), min_size=1, unique=True).map(tuple).map(Answer)
_ANY = _SOME | st.just(NOT_KNOWN) | st.just(Answer(problem="it has no usable address"))


@given(st.lists(st.tuples(_ANY, st.floats(0, 5))))
def test_after_any_answers_the_members_are_the_last_good_ones(answers: list[tuple[Answer, float]]) -> None:
    harness = Harness()
    harness.discovery.watch_entry("default", APP)
    harness.start()
    good: tuple[str, ...] = ()
    for answer, late in answers:
        while "app" not in harness.resolver.hanging:
            harness.advance(0.5)
        harness.advance(late)
        harness.resolver.answer("app", answer)
        harness.loop.settle()
        good = answer.addresses or good
        assert harness.addresses() == sorted(good)
    harness.stop()
