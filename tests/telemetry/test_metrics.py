"""The metrics: what workers count comes out under their public names."""

from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from balancer.errors import FAILURES, HEAD_TIMEOUT
from balancer.telemetry import columns as c
from balancer.telemetry.columns import Kind
from balancer.telemetry.ledger import Ledger
from balancer.telemetry.metrics import Metrics, SegmentCollector, WorkerSample
from balancer.telemetry.segment import Segment

SAMPLE = WorkerSample(slot=0, up=True, restarts=2, cpu_seconds=1.5, resident_bytes=4096, open_fds=7)


class Scene:
    """A segment with one entity of each kind and one live page."""

    def __init__(self, segment: Segment) -> None:
        self.ledger = Ledger(segment)
        self.rows = {
            Kind.WORKER: self.ledger.row(Kind.WORKER, "0"),
            Kind.LISTENER: self.ledger.row(Kind.LISTENER, "0.0.0.0:8080"),
            Kind.ROUTE: self.ledger.row(Kind.ROUTE, "web"),
            Kind.POOL: self.ledger.row(Kind.POOL, "apps"),
            Kind.UPSTREAM: self.ledger.row(Kind.UPSTREAM, "apps", "app1:8000"),
        }
        self._page = segment.page(self.ledger.take_page())
        self._metrics = Metrics(SegmentCollector(self.ledger, lambda: [SAMPLE], lambda: 3, "1.2.3"))

    def count(self, kind: Kind, column: int, value: int) -> None:
        self._page.row(self.rows[kind])[column] = value

    def scrape(self) -> dict[str, float]:
        families = text_string_to_metric_families(self._metrics.render().decode())
        return {
            f"{s.name}{{{','.join(f'{k}={v}' for k, v in sorted(s.labels.items()))}}}": s.value
            for family in families
            for s in family.samples
        }


@pytest.fixture
def scene() -> Iterator[Scene]:
    segment = Segment.create(workers=1)
    yield Scene(segment)
    segment.close()


WEB = c.METHOD_COLUMN[b"POST"] + c.CODE_COLUMN[201]
APP1 = "pool=apps,upstream=app1:8000"


@pytest.mark.parametrize(
    ("kind", "column", "value", "series", "shown"),
    [
        (Kind.ROUTE, WEB, 4, "requests_total{code=201,method=POST,route=web}", 4),
        (Kind.ROUTE, c.METHOD_OTHER + c.CODE_COLUMN[299], 1,
         "requests_total{code=other,method=other,route=web}", 1),
        (Kind.ROUTE, c.ROUTE_DURATION + 1, 2, "request_duration_seconds_bucket{le=0.0025,route=web}", 2),
        (Kind.ROUTE, c.ROUTE_DURATION + 14, 2, "request_duration_seconds_bucket{le=+Inf,route=web}", 2),
        (Kind.ROUTE, c.ROUTE_DURATION_SUM, 1_500_000_000, "request_duration_seconds_sum{route=web}", 1.5),
        (Kind.ROUTE, c.ROUTE_INFLIGHT, 5, "requests_inflight{route=web}", 5),
        (Kind.ROUTE, c.ROUTE_REQUEST_BYTES, 6, "request_bytes_total{route=web}", 6),
        (Kind.ROUTE, c.ROUTE_RESPONSE_BYTES, 7, "response_bytes_total{route=web}", 7),
        (Kind.WORKER, c.WORKER_LOCAL_RESPONSES + FAILURES.index(HEAD_TIMEOUT), 8,
         "local_responses_total{code=408,reason=head_timeout}", 8),
        (Kind.WORKER, c.WORKER_LOOP_LAG_NS, 2_000_000, "event_loop_lag_seconds{worker=0}", 0.002),
        (Kind.WORKER, c.WORKER_LOG_DROPPED, 4, "log_dropped_total{}", 7),
        (Kind.UPSTREAM, c.CODE_COLUMN[503], 9, f"upstream_requests_total{{code=503,{APP1}}}", 9),
        (Kind.UPSTREAM, c.UPSTREAM_FIRST_BYTE, 3,
         "upstream_first_byte_seconds_count{pool=apps,upstream=app1:8000}", 3),
        (Kind.UPSTREAM, c.UPSTREAM_INFLIGHT, 1, f"upstream_inflight{{{APP1}}}", 1),
        (Kind.UPSTREAM, c.UPSTREAM_IDLE, 2, f"upstream_idle_connections{{{APP1}}}", 2),
        (Kind.UPSTREAM, c.UPSTREAM_CONNECTS, 3, f"upstream_connects_total{{{APP1}}}", 3),
        (Kind.UPSTREAM, c.UPSTREAM_REUSES, 4, f"upstream_connection_reuses_total{{{APP1}}}", 4),
        (Kind.UPSTREAM, c.UPSTREAM_CLOSES + 2, 5,
         "upstream_connection_closes_total{pool=apps,reason=idle_timeout,upstream=app1:8000}", 5),
        (Kind.POOL, c.POOL_RETRIES, 6, "retries_total{pool=apps,reason=connect_failed}", 6),
        (Kind.POOL, c.POOL_TUNNELS, 7, "tunnels{pool=apps}", 7),
        (Kind.LISTENER, c.LISTENER_CONNECTIONS, 8, "client_connections{listener=0.0.0.0:8080}", 8),
        (Kind.LISTENER, c.LISTENER_CONNECTIONS_TOTAL, 9,
         "client_connections_total{listener=0.0.0.0:8080}", 9),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_cell_is_shown_as(
    scene: Scene, kind: Kind, column: int, value: int, series: str, shown: float
) -> None:
    scene.count(kind, column, value)
    assert scene.scrape()[f"balancer_{series}"] == shown


@pytest.mark.parametrize(
    ("series", "shown"),
    [
        ("worker_up{worker=0}", 1),
        ("worker_restarts_total{worker=0}", 2),
        ("worker_cpu_seconds_total{worker=0}", 1.5),
        ("worker_resident_memory_bytes{worker=0}", 4096),
        ("worker_open_fds{worker=0}", 7),
        ("build_info{version=1.2.3}", 1),
    ],
)
def test_a_worker_process_is_shown_as(scene: Scene, series: str, shown: float) -> None:
    assert scene.scrape()[f"balancer_{series}"] == shown


def test_codes_and_reasons_that_never_occurred_have_no_series(scene: Scene) -> None:
    assert not [series for series in scene.scrape() if "code=" in series or "reason=idle" in series]


def test_histogram_buckets_are_cumulated(scene: Scene) -> None:
    for column in range(c.HISTOGRAM_CELLS):
        scene.count(Kind.UPSTREAM, c.UPSTREAM_FIRST_BYTE + column, 1)
    shown = scene.scrape()
    counts = [value for series, value in shown.items() if "first_byte_seconds_bucket" in series]
    assert counts == [float(number) for number in range(1, c.HISTOGRAM_CELLS + 1)]
