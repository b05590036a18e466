"""Upstreams that answer nobody: what is counted of them, and who is told."""

import pytest

from balancer.runtime.checking import CheckDoors
from balancer.runtime.states import UpstreamState
from balancer.telemetry.columns import CODE_COLUMN, HISTOGRAM_CELLS, UPSTREAM_FIRST_BYTE
from balancer.telemetry.segment import Segment
from tests.runtime.fleet_harness import CHECK, Scene

SINCE = 5_000_000_000


def unanswered(upstream: UpstreamState, why: str) -> None:
    """It stays where it is."""


def told(scene: Scene) -> list[int] | None:
    """Since when the upstreams are silent by the news for workers, if there are any."""
    news = scene.told()
    return None if news is None else [one.silent_since_ns for one in news]


def test_workers_and_people_are_told_once(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    doors = CheckDoors(scene.fleet, scene.ledger, unanswered)
    scene.clock.advance(8.0 - scene.clock.monotonic_ns() / 1e9)
    doors.silent(scene.upstream(1), SINCE)
    assert told(scene) == [SINCE, 0]
    text = "has answered nobody for 3.0 s: requests that wait there go elsewhere, or fail"
    (event,) = scene.events.after(0)
    assert (event.kind, event.cause, event.text) == ("silent", CHECK, f"app1:8000 {text}")
    (record,) = caplog.records
    assert record.getMessage() == f"upstream app1:8000 of pool default {text}"
    doors.silent(scene.upstream(1), SINCE)
    assert told(scene) is None


def test_workers_hear_of_it_together_with_the_ejection(scene: Scene) -> None:
    doors = CheckDoors(scene.fleet, scene.ledger, unanswered)
    doors.failing(scene.upstream(1), "it fails")
    doors.silent(scene.upstream(1), SINCE)
    (first, _) = scene.told() or []
    assert (first.causes, first.silent_since_ns) == (frozenset([CHECK]), SINCE)


def test_that_it_is_over_is_news_for_workers_only(scene: Scene) -> None:
    doors = CheckDoors(scene.fleet, scene.ledger, unanswered)
    doors.silent(scene.upstream(1), SINCE)
    told(scene)
    doors.silent(scene.upstream(1), 0)
    assert told(scene) == [0, 0]
    assert [kind for kind, _, _ in scene.kinds()] == ["silent"]
    doors.silent(scene.upstream(1), 0)
    assert told(scene) is None


def test_another_address_is_another_machine(scene: Scene) -> None:
    CheckDoors(scene.fleet, scene.ledger, unanswered).silent(scene.upstream(1), SINCE)
    scene.fleet.set_address(scene.upstream(1), "10.0.0.9")
    assert told(scene) == [0, 0]


def test_all_responses_of_all_workers_count_as_answers_whatever_their_status(
    scene: Scene, segment: Segment
) -> None:
    doors, one = CheckDoors(scene.fleet, scene.ledger, unanswered), scene.upstream(1)
    for answers in (1, 2):
        cells = segment.page(scene.ledger.take_page()).row(one.row)
        cells[CODE_COLUMN[503]] += answers
        cells[UPSTREAM_FIRST_BYTE] += answers - 1
        cells[UPSTREAM_FIRST_BYTE + HISTOGRAM_CELLS - 1] += 1
        cells[UPSTREAM_FIRST_BYTE + HISTOGRAM_CELLS] += 10**9  # their sum
    assert (doors.answers(one), doors.served(one)) == (3, 0)
