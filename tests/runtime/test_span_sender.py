"""Spans are sent in batches by a thread; what cannot be sent is counted, and delays nobody."""

from collections.abc import Sequence
from threading import Event

import pytest

from balancer.runtime.span_sender import Batching, SpanSender
from balancer.spec.traced import TracedRequest
from balancer.telemetry.spans import Span
from tests.fakes.traces import traced_request

PATIENCE = 10.0
SOON = 0.001  # seconds
NEVER = 3600.0


class FakeExporter:
    """Says `problems` one after the other, and takes spans only while it `works`."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.problems: list[str] = []
        self.works = Event()
        self.works.set()
        self.asked = Event()
        self.hurried = Event()

    def export(self, spans: Sequence[Span]) -> str:
        self.asked.set()
        self.works.wait(PATIENCE)
        self.batches.append(len(spans))
        return self.problems.pop(0) if self.problems else ""

    def hurry(self) -> None:
        self.hurried.set()


def requests(number: int) -> list[TracedRequest]:
    """Each is two spans."""
    return [traced_request()] * number


@pytest.fixture
def exporter() -> FakeExporter:
    return FakeExporter()


def sender(
    exporter: FakeExporter, said: list[str], room: int = 100, size: int = 4, delay: float = NEVER
) -> SpanSender:
    return SpanSender(lambda: exporter, Batching(room, size, delay), said.append)


def test_a_batch_is_sent_when_it_is_full_and_the_rest_at_the_end(exporter: FakeExporter) -> None:
    sending = sender(exporter, [])
    sending.put(requests(5))
    assert sending.close(PATIENCE) == 0
    assert exporter.batches == [4, 4, 2]
    assert (sending.exported, sending.failed, sending.dropped) == (10, 0, 0)


def test_fewer_are_sent_after_a_while(exporter: FakeExporter) -> None:
    sending = sender(exporter, [], delay=SOON)
    sending.put(requests(1))
    assert exporter.asked.wait(PATIENCE)
    sending.close(PATIENCE)
    assert exporter.batches == [2]


def test_a_request_with_many_attempts_is_a_batch(exporter: FakeExporter) -> None:
    sending = sender(exporter, [])
    sending.put([traced_request(attempts=traced_request().attempts * 9)])
    sending.close(PATIENCE)
    assert exporter.batches == [10]


def test_what_there_is_no_room_for_is_dropped(exporter: FakeExporter) -> None:
    exporter.works.clear()
    sending = sender(exporter, [], room=6)
    sending.put(requests(2))
    assert exporter.asked.wait(PATIENCE)  # it holds a batch of 4
    sending.put(requests(5))
    assert sending.dropped == 4
    exporter.works.set()
    sending.close(PATIENCE)
    assert (sending.exported, sending.dropped) == (10, 4)


def test_what_the_collector_refuses_is_counted_and_said_once(exporter: FakeExporter) -> None:
    said: list[str] = []
    exporter.problems = ["503", "503", "503", ""]
    sending = sender(exporter, said, size=2)
    sending.put(requests(4))
    sending.close(PATIENCE)
    assert (sending.exported, sending.failed) == (2, 6)
    assert said == ["503", ""]


def test_an_exporter_that_cannot_be_opened_costs_spans_only() -> None:
    said: list[str] = []

    def fail() -> FakeExporter:
        raise ValueError("no such scheme")

    sending = SpanSender(fail, Batching(100, 2, NEVER), said.append)
    sending.put(requests(2))
    sending.close(PATIENCE)
    assert (sending.failed, said) == (4, ["ValueError: no such scheme"])


def test_the_end_waits_for_a_while_only(exporter: FakeExporter) -> None:
    exporter.works.clear()
    sending = sender(exporter, [])
    sending.put(requests(3))
    assert exporter.asked.wait(PATIENCE)
    assert sending.close(SOON) == 2
    assert exporter.hurried.is_set()
    assert sending.dropped == 2
    sending.put(requests(1))
    assert sending.dropped == 4
    exporter.works.set()


@pytest.mark.parametrize(
    ("environ", "batching"),
    [
        ({}, Batching(16_384, 512, 5.0)),
        ({"OTEL_BSP_MAX_QUEUE_SIZE": "100"}, Batching(100, 100, 5.0)),
        (
            {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "64", "OTEL_BSP_SCHEDULE_DELAY": "250"},
            Batching(16_384, 64, 0.25),
        ),
        ({"OTEL_BSP_MAX_QUEUE_SIZE": "many", "OTEL_BSP_SCHEDULE_DELAY": "0"}, Batching(16_384, 512, 5.0)),
    ],
)
def test_standard_variables_shape_batches(environ: dict[str, str], batching: Batching) -> None:
    assert Batching.of(environ) == batching
