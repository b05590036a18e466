"""Silent upstreams: what is counted, and who is told."""

import pytest

from balancer.runtime.checking import FleetCheckSink
from balancer.runtime.states import UpstreamState
from balancer.telemetry.columns import CODE_COLUMN, HISTOGRAM_CELLS, UPSTREAM_FIRST_BYTE
from balancer.telemetry.segment import Segment
from tests.runtime.fleet_harness import CHECK, Harness

SINCE = 5_000_000_000


def unanswered(upstream: UpstreamState, why: str) -> None:
    """The address stays."""


def told(harness: Harness) -> list[int] | None:
    """Since when upstreams are silent according to the update for workers, if there is one."""
    update = harness.told()
    return None if update is None else [one.silent_since_ns for one in update]


def test_silence_is_broadcast_and_logged_once(harness: Harness, caplog: pytest.LogCaptureFixture) -> None:
    sink = FleetCheckSink(harness.fleet, harness.ledger, unanswered)
    harness.clock.advance(8.0 - harness.clock.monotonic_ns() / 1e9)
    sink.silent(harness.upstream(1), SINCE)
    assert told(harness) == [SINCE, 0]
    text = "has answered no request for 3.0 s: requests waiting there go elsewhere, or fail"
    (event,) = harness.events.after(0)
    assert (event.kind, event.cause, event.text) == ("silent", CHECK, f"app1:8000 {text}")
    (record,) = caplog.records
    assert record.getMessage() == f"upstream app1:8000 of pool default {text}"
    sink.silent(harness.upstream(1), SINCE)
    assert told(harness) is None


def test_silence_is_broadcast_together_with_the_ejection(harness: Harness) -> None:
    sink = FleetCheckSink(harness.fleet, harness.ledger, unanswered)
    sink.failing(harness.upstream(1), "it fails")
    sink.silent(harness.upstream(1), SINCE)
    (first, _) = harness.told() or []
    assert (first.causes, first.silent_since_ns) == (frozenset([CHECK]), SINCE)


def test_the_end_of_silence_is_broadcast_to_workers_only(harness: Harness) -> None:
    sink = FleetCheckSink(harness.fleet, harness.ledger, unanswered)
    sink.silent(harness.upstream(1), SINCE)
    told(harness)
    sink.silent(harness.upstream(1), 0)
    assert told(harness) == [0, 0]
    assert [kind for kind, _, _ in harness.kinds()] == ["silent"]
    sink.silent(harness.upstream(1), 0)
    assert told(harness) is None


def test_a_new_address_ends_silence(harness: Harness) -> None:
    FleetCheckSink(harness.fleet, harness.ledger, unanswered).silent(harness.upstream(1), SINCE)
    harness.fleet.set_address(harness.upstream(1), "10.0.0.9")
    assert told(harness) == [0, 0]


def test_responses_of_all_workers_count_as_answers_whatever_their_status(
    harness: Harness, segment: Segment
) -> None:
    sink, one = FleetCheckSink(harness.fleet, harness.ledger, unanswered), harness.upstream(1)
    for answers in (1, 2):
        cells = segment.page(harness.ledger.take_page()).row(one.row)
        cells[CODE_COLUMN[503]] += answers
        cells[UPSTREAM_FIRST_BYTE] += answers - 1
        cells[UPSTREAM_FIRST_BYTE + HISTOGRAM_CELLS - 1] += 1
        cells[UPSTREAM_FIRST_BYTE + HISTOGRAM_CELLS] += 10**9  # their sum
    assert (sink.answers(one), sink.served(one)) == (3, 0)
