"""The supervisor's part in tracing: on and off, what is counted, and what is said."""

import asyncio
import logging
from collections.abc import Sequence
from threading import Event
from typing import Any

import pytest

from balancer.clock import SystemClock
from balancer.messages import Explained, FailureRecord, FromWorker, Heartbeat, Traces
from balancer.runtime import traces
from balancer.runtime.acceptor import Listeners
from balancer.runtime.serving import TRACES_PER_MESSAGE, Serving
from balancer.runtime.traces import Tracer
from balancer.spec.traced import TracedRequest
from balancer.telemetry.spans import Span
from tests.fakes.specs import worker_spec
from tests.fakes.traces import traced_request
from tests.fakes.wire import Records

ON, OFF = worker_spec(traces={}), worker_spec()
PATIENCE = 10.0
LOG = logging.getLogger("tests.traces")
MANY = {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "2"}  # each request at once


class FakeExporter:
    """Says `problem`, and takes spans only while it `works`."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.problem = ""
        self.works = Event()
        self.works.set()
        self.asked = Event()

    def open(self, name: str) -> "FakeExporter":
        self.names.append(name)
        return self

    def export(self, spans: Sequence[Span]) -> str:
        self.asked.set()
        self.works.wait(PATIENCE)
        return self.problem

    def hurry(self) -> None:
        self.works.set()


@pytest.fixture
def exporter() -> FakeExporter:
    return FakeExporter()


def tracer(exporter: FakeExporter, environ: dict[str, str] | None = None) -> Tracer:
    return Tracer(LOG, asyncio.get_running_loop(), exporter.open, environ or {})


def message(requests: int, dropped: int = 0) -> Traces:
    """Each request is two spans."""
    return Traces(records=(traced_request(),) * requests, dropped=dropped)


async def test_spans_are_sent_while_traces_are_on(exporter: FakeExporter) -> None:
    one = tracer(exporter)
    one.settle(OFF)
    one.take(message(1))  # of a worker that drains
    assert (one.counts(), exporter.names) == ({"exported": 0, "dropped": 2, "failed": 0}, [])
    one.settle(ON)
    one.settle(ON)
    one.take(message(2, dropped=5))
    await one.close()
    assert one.counts() == {"exported": 4, "dropped": 7, "failed": 0}
    assert exporter.names == [ON.via]


async def test_counts_go_on_when_traces_are_turned_off_and_on(exporter: FakeExporter) -> None:
    one = tracer(exporter)
    for _ in range(2):
        one.settle(ON)
        one.take(message(1))
        one.settle(OFF)
    for sender in one._former:
        sender.close(PATIENCE)
    assert one.counts() == {"exported": 4, "dropped": 0, "failed": 0}
    await one.close()


async def test_a_failure_and_its_end_are_a_line_in_the_log(
    exporter: FakeExporter, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    one = tracer(exporter, MANY)
    one.settle(ON)
    exporter.problem = "503 Busy"
    exporter.works.clear()
    one.take(message(3))
    await asyncio.to_thread(exporter.asked.wait, PATIENCE)
    exporter.works.set()
    await one.close()
    await asyncio.sleep(0)
    assert caplog.messages == [
        "spans cannot be sent to the collector: 503 Busy; they are lost until it takes them"
    ]
    assert one.counts()["failed"] == 6


async def test_the_end_waits_for_a_while_only(
    exporter: FakeExporter, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(traces, "FLUSH", 0.001)
    one = tracer(exporter, MANY)
    one.settle(ON)
    exporter.works.clear()
    one.take(message(3))
    await asyncio.to_thread(exporter.asked.wait, PATIENCE)
    await one.close()
    assert one.counts()["dropped"] == 4
    assert caplog.messages == ["the last 4 spans are lost: the collector did not take them in time"]


class Proxy:
    """A data plane that has traced something."""

    connections = 0

    def __init__(self, found: list[Traces]) -> None:
        self.found = found

    def take_traces(self) -> Traces | None:
        return self.found.pop(0) if self.found else None

    def sweep(self, late_ns: int) -> None:
        pass

    def take_released(self) -> list[int]:
        return []

    def take_explanations(self) -> list[Explained]:
        return []

    def take_failures(self) -> list[FailureRecord]:
        return []

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} is not used")


class Uplink:
    """A channel that may be `full`."""

    def __init__(self) -> None:
        self.sent: list[Traces] = []
        self.full = False

    def send(self, message: FromWorker) -> bool:
        if isinstance(message, Heartbeat):
            return True
        assert isinstance(message, Traces)
        if not self.full:
            self.sent.append(message)
        return not self.full

    def log(self, level: str, message: str, traceback: str | None = None) -> None:
        raise AssertionError(message)


def records(sent: list[Traces]) -> list[TracedRequest]:
    return [record for one in sent for record in one.records]


async def test_a_worker_sends_its_records_in_bounded_messages_and_counts_those_it_could_not_send() -> None:
    uplink, proxy = Uplink(), Proxy([message(2, dropped=1), message(TRACES_PER_MESSAGE + 1)])
    row = memoryview(bytearray(8 * 512)).cast("q")
    serving = Serving(
        proxy,
        Listeners([]),
        Records().access_log,
        row,
        uplink,  # type: ignore[arg-type]  # the same
        SystemClock(),
    )
    uplink.full = True
    serving.sweep()
    uplink.full = False
    serving.sweep()
    serving.sweep()
    assert [len(one.records) for one in uplink.sent] == [TRACES_PER_MESSAGE, 1]
    assert [one.dropped for one in uplink.sent] == [5, 0]
    assert len(records(uplink.sent)) == TRACES_PER_MESSAGE + 1
