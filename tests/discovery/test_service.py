"""srv:// entries: records become upstreams with weights, further priorities backups, and failures nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancer.config.upstream_options import MAX_WEIGHT
from balancer.discovery.service import members_of, scaled
from balancer.discovery.service_lookup import Record, Services
from balancer.spec.instance import ServiceSpec
from tests.discovery.harness import Harness

NAME = "_http._tcp.app.example"
SOURCE = f"srv://{NAME}"
SPEC = ServiceSpec(id=SOURCE, host=NAME, backup=False, refresh=2.0)


def record(number: int, weight: int = 1, priority: int = 10, *addresses: str, port: int = 8000) -> Record:
    """The record of app1.example at 10.0.0.1, for example."""
    found = addresses or (f"10.0.0.{number}",)
    return Record(priority, weight, port, f"app{number}.example", found)


def _found(*records: Record, spec: ServiceSpec = SPEC) -> list[tuple[str, int, bool]]:
    known = {one.target: one.addresses for one in records}
    return [(one.id, one.weight, one.backup) for one in members_of(records, known, spec)]


@pytest.mark.parametrize(
    ("records", "members"),
    [
        pytest.param(
            [record(10, 3), record(9, 1)],
            [("10.0.0.9:8000", 1, False), ("10.0.0.10:8000", 3, False)],
            id="weights_as_they_are_in_order_of_addresses",
        ),
        pytest.param(
            [record(1, 60_000), record(2, 30_000)],
            [("10.0.0.1:8000", 1000, False), ("10.0.0.2:8000", 500, False)],
            id="large_weights_are_scaled",
        ),
        pytest.param(
            [record(1, 0), record(2, 0)],
            [("10.0.0.1:8000", 1, False), ("10.0.0.2:8000", 1, False)],
            id="only_zeros_are_equal",
        ),
        pytest.param(
            [record(1, 0), record(2, 1)],
            [("10.0.0.1:8000", 1, False), ("10.0.0.2:8000", 1000, False)],
            id="zero_beside_others_is_a_small_chance",
        ),
        pytest.param(
            [record(1, 5, 20), record(2, 7, 10), record(3, 9, 30)],
            [("10.0.0.2:8000", 7, False), ("10.0.0.1:8000", 5, True), ("10.0.0.3:8000", 9, True)],
            id="all_but_the_lowest_priority_are_backups",
        ),
        pytest.param(
            [record(1, 2, 10, "10.0.0.1", "10.0.0.2"), record(3, 1)],
            [("10.0.0.1:8000", 1, False), ("10.0.0.2:8000", 1, False), ("10.0.0.3:8000", 1, False)],
            id="addresses_of_a_target_share_its_weight",
        ),
        pytest.param(
            [record(1, 1, 10, "10.0.0.1", "10.0.0.2"), record(3, 1)],
            [("10.0.0.1:8000", 500, False), ("10.0.0.2:8000", 500, False), ("10.0.0.3:8000", 1000, False)],
            id="parts_of_a_weight_are_scaled",
        ),
        pytest.param(
            [record(1, 2), record(1, 3), record(1, 9, 20)],
            [("10.0.0.1:8000", 5, False)],
            id="one_target_named_again",
        ),
        pytest.param(
            [record(1), record(1, port=8001)],
            [("10.0.0.1:8000", 1, False), ("10.0.0.1:8001", 1, False)],
            id="two_ports",
        ),
        pytest.param([record(1, 1, 10, "fd00::1")], [("[fd00::1]:8000", 1, False)], id="ipv6"),
        pytest.param([], [], id="none"),
    ],
)
def test_records_become_members(records: list[Record], members: list[tuple[str, int, bool]]) -> None:
    assert _found(*records) == members


def test_the_lowest_priority_with_addresses_is_the_normal_one() -> None:
    lost = Record(1, 1, 8000, "lost.example", ())
    assert _found(lost, record(1, 1, 20)) == [("10.0.0.1:8000", 1, False)]


def test_all_members_of_a_backup_entry_are_backups_with_its_name_for_tls() -> None:
    spec = ServiceSpec(id=SOURCE, host=NAME, backup=True, refresh=2.0, server_name="app.example")
    (member,) = members_of([record(1)], {"app1.example": ("10.0.0.1",)}, spec)
    assert (member.backup, member.server_name) == (True, "app.example")


@given(st.dictionaries(st.tuples(st.just("10.0.0.1"), st.integers(1, 9)), st.floats(0, 65535), min_size=1))
def test_weights_are_in_bounds_and_in_order(shares: dict[tuple[str, int], float]) -> None:
    weights = scaled(shares)
    assert all(1 <= weight <= MAX_WEIGHT for weight in weights.values())
    in_order = sorted(shares, key=lambda where: shares[where])
    assert [weights[where] for where in in_order] == sorted(weights.values())


def test_records_are_looked_up_at_each_refresh(harness: Harness) -> None:
    spec = ServiceSpec(id=SOURCE, host=NAME, backup=False, refresh=5.0, nameserver="10.0.0.53:53")
    harness.discovery.watch_entry("default", spec)
    harness.services[NAME] = Services((record(1),))
    harness.start()
    assert harness.asked.done()
    assert harness.addresses(SOURCE) == ["10.0.0.1"]
    harness.services[NAME] = Services((record(2), record(3)))
    harness.advance(5.0)
    assert harness.addresses(SOURCE) == ["10.0.0.2", "10.0.0.3"]
    assert harness.asked_at == [(NAME, "10.0.0.53:53")] * 2


@pytest.fixture
def watched(harness: Harness) -> Harness:
    """Two members have been found."""
    harness.discovery.watch_entry("default", SPEC)
    harness.services[NAME] = Services((record(1), record(2)))
    harness.start()
    return harness


def test_a_failure_keeps_the_last_members_and_is_logged_once(
    watched: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    watched.services[NAME] = Services(problem="no answer within 2 s")
    for _ in range(3):
        watched.advance(2.0)
    assert watched.addresses(SOURCE) == ["10.0.0.1", "10.0.0.2"]
    assert watched.fleet.problems == {("default", SOURCE): "no answer within 2 s"}
    watched.services[NAME] = Services((record(1),))
    watched.advance(2.0)
    assert watched.addresses(SOURCE) == ["10.0.0.1"]
    assert caplog.messages == [
        f"{SOURCE} does not resolve (no answer within 2 s); keeping its 2 upstreams",
        f"{SOURCE} resolves now",
    ]


def test_a_service_that_is_decidedly_not_available_has_no_member(
    watched: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    watched.services[NAME] = Services()
    for _ in range(2):
        watched.advance(2.0)
    assert watched.addresses(SOURCE) == []
    assert caplog.messages == [
        f"{SOURCE} does not resolve (its record says that the service is not available); it has no upstream"
    ]


def test_a_target_without_an_answer_keeps_its_addresses(watched: Harness) -> None:
    watched.services[NAME] = Services((Record(10, 1, 8000, "app1.example", ()), record(3)))
    watched.advance(2.0)
    assert watched.addresses(SOURCE) == ["10.0.0.1", "10.0.0.3"]
    assert watched.fleet.problems == {}


def test_a_target_that_never_had_an_address_is_reported_and_the_others_serve(watched: Harness) -> None:
    watched.services[NAME] = Services((record(1), Record(10, 1, 8000, "app9.example", ())))
    watched.advance(2.0)
    assert watched.addresses(SOURCE) == ["10.0.0.1"]
    assert watched.fleet.problems == {("default", SOURCE): "its target app9.example has no address"}
    watched.services[NAME] = Services((record(1), record(9)))
    watched.advance(2.0)
    assert watched.fleet.problems == {("default", SOURCE): ""}


def test_if_no_target_has_an_address_the_members_stay(watched: Harness) -> None:
    watched.services[NAME] = Services((Record(10, 1, 8000, "app9.example", ()),))
    watched.advance(2.0)
    assert watched.addresses(SOURCE) == ["10.0.0.1", "10.0.0.2"]


def test_without_a_thread_it_is_looked_up_later(watched: Harness) -> None:
    watched.thread.broken = True
    watched.services[NAME] = Services((record(3),))
    watched.advance(2.0)
    assert watched.addresses(SOURCE) == ["10.0.0.1", "10.0.0.2"]
    watched.thread.broken = False
    watched.advance(2.0)
    assert watched.addresses(SOURCE) == ["10.0.0.3"]


def test_a_lookup_that_hangs_delays_the_start_for_the_timeout_at_most(harness: Harness) -> None:
    harness.discovery.watch_entry("default", SPEC)
    harness.thread.hangs = True
    harness.start()
    assert not harness.asked.done()
    harness.advance(2.0)
    assert harness.asked.done()
    assert harness.fleet.problems == {("default", SOURCE): "no answer within 2 s"}
