"""`/metrics` (L2): the families, made from the stats segment at each scrape.

The only module that imports prometheus_client. A scrape of many upstreams takes long: call `render` off the
event loop.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from balancer.errors import FAILURES
from balancer.telemetry import columns as c
from balancer.telemetry.columns import Kind
from balancer.telemetry.ledger import Labels, Ledger

_PREFIX = "balancer_"
_BOUNDS = [*(repr(bound) for bound in c.BUCKETS), "+Inf"]
_POOL_UPSTREAM = ("pool", "upstream")

Row = tuple[Labels, list[int]]


@dataclass(frozen=True, slots=True)
class WorkerSample:
    """What the supervisor knows of one worker slot at the time of the scrape."""

    slot: int
    up: bool
    restarts: int
    cpu_seconds: float  # of all incarnations of the slot
    resident_bytes: int
    open_fds: int


class SegmentCollector(Collector):
    """Sums the pages of the segment and names the sums.

    Series whose counter is still zero are left out where the label has many values (codes, reasons).
    """

    def __init__(
        self,
        ledger: Ledger,
        workers: Callable[[], Sequence[WorkerSample]],
        log_dropped: Callable[[], int],
        version: str,
    ) -> None:
        self._ledger = ledger
        self._workers = workers
        self._log_dropped = log_dropped
        self._version = version

    def collect(self) -> Iterable[Metric]:
        """All families; called by `generate_latest`."""
        yield from self._routes(self._rows(Kind.ROUTE))
        yield from self._upstreams(self._rows(Kind.UPSTREAM))
        yield from self._pools(self._rows(Kind.POOL))
        yield from self._listeners(self._rows(Kind.LISTENER))
        yield from self._worker_rows(self._rows(Kind.WORKER))
        yield from self._processes(self._workers())
        yield InfoMetricFamily(_PREFIX + "build", "The version that runs.", {"version": self._version})

    def _rows(self, kind: Kind) -> list[Row]:
        ledger = self._ledger
        return [(labels, ledger.total(kind, row)) for labels, row in ledger.entities(kind)]

    def _routes(self, rows: list[Row]) -> Iterator[Metric]:
        requests = _counter("requests", "Requests answered.", ("route", "method", "code"))
        duration = _histogram("request_duration_seconds", "From head to last byte.", ("route",))
        inflight = _gauge("requests_inflight", "Requests being served.", ("route",))
        received = _counter(
            "request_bytes", "Bytes of request bodies received from clients; heads do not count.", ("route",)
        )
        sent = _counter(
            "response_bytes", "Bytes of response bodies sent to clients; heads do not count.", ("route",)
        )
        width = len(c.CODES)
        for labels, cells in rows:
            for number, method in enumerate(c.METHODS):
                for code, count in zip(c.CODES, cells[number * width : (number + 1) * width], strict=True):
                    if count:
                        requests.add_metric([*labels, method, code], count)
            _add_histogram(duration, labels, cells, c.ROUTE_DURATION, c.ROUTE_DURATION_SUM)
            inflight.add_metric(labels, cells[c.ROUTE_INFLIGHT])
            received.add_metric(labels, cells[c.ROUTE_REQUEST_BYTES])
            sent.add_metric(labels, cells[c.ROUTE_RESPONSE_BYTES])
        return iter((requests, duration, inflight, received, sent))

    def _upstreams(self, rows: list[Row]) -> Iterator[Metric]:
        requests = _counter("upstream_requests", "Responses received.", (*_POOL_UPSTREAM, "code"))
        first_byte = _histogram(
            "upstream_first_byte_seconds", "From request sent to first byte of the response.", _POOL_UPSTREAM
        )
        inflight = _gauge("upstream_inflight", "Requests now at the upstream.", _POOL_UPSTREAM)
        idle = _gauge("upstream_idle_connections", "Idle keepalive connections.", _POOL_UPSTREAM)
        connects = _counter("upstream_connects", "Connections opened.", _POOL_UPSTREAM)
        reuses = _counter("upstream_connection_reuses", "Requests sent on a kept connection.", _POOL_UPSTREAM)
        closes = _counter(
            "upstream_connection_closes", "Connections ended, by cause.", (*_POOL_UPSTREAM, "reason")
        )
        for labels, cells in rows:
            for code, count in zip(c.CODES, cells, strict=False):
                if count:
                    requests.add_metric([*labels, code], count)
            _add_histogram(first_byte, labels, cells, c.UPSTREAM_FIRST_BYTE, c.UPSTREAM_FIRST_BYTE_SUM)
            inflight.add_metric(labels, cells[c.UPSTREAM_INFLIGHT])
            idle.add_metric(labels, cells[c.UPSTREAM_IDLE])
            connects.add_metric(labels, cells[c.UPSTREAM_CONNECTS])
            reuses.add_metric(labels, cells[c.UPSTREAM_REUSES])
            for reason, count in zip(c.CLOSE_REASONS, cells[c.UPSTREAM_CLOSES :], strict=True):
                if count:
                    closes.add_metric([*labels, reason], count)
        return iter((requests, first_byte, inflight, idle, connects, reuses, closes))

    def _pools(self, rows: list[Row]) -> Iterator[Metric]:
        retries = _counter("retries", "Requests sent again elsewhere.", ("pool", "reason"))
        tunnels = _gauge("tunnels", "WebSocket tunnels open.", ("pool",))
        for labels, cells in rows:
            for reason, count in zip(c.RETRY_REASONS, cells[c.POOL_RETRIES :], strict=False):
                retries.add_metric([*labels, reason], count)
            tunnels.add_metric(labels, cells[c.POOL_TUNNELS])
        return iter((retries, tunnels))

    def _listeners(self, rows: list[Row]) -> Iterator[Metric]:
        now = _gauge("client_connections", "Client connections open.", ("listener",))
        ever = _counter("client_connections", "Client connections accepted.", ("listener",))
        for labels, cells in rows:
            now.add_metric(labels, cells[c.LISTENER_CONNECTIONS])
            ever.add_metric(labels, cells[c.LISTENER_CONNECTIONS_TOTAL])
        return iter((now, ever))

    def _worker_rows(self, rows: list[Row]) -> Iterator[Metric]:
        lag = _gauge("event_loop_lag_seconds", "How late the worker's last sweep ran.", ("worker",))
        local = _counter(
            "local_responses", "Responses made or broken off by the balancer itself.", ("code", "reason")
        )
        dropped = self._log_dropped()
        failures = [0] * len(FAILURES)
        for labels, cells in rows:
            lag.add_metric(labels, cells[c.WORKER_LOOP_LAG_NS] / 1e9)
            dropped += cells[c.WORKER_LOG_DROPPED]
            counts = cells[c.WORKER_LOCAL_RESPONSES :]
            failures = [a + b for a, b in zip(failures, counts, strict=True)]
        for failure, count in zip(FAILURES, failures, strict=True):
            if count:
                local.add_metric([str(failure.status), failure.reason], count)
        drops = _counter("log_dropped", "Access-log records dropped.", ())
        drops.add_metric([], dropped)
        return iter((lag, local, drops))

    def _processes(self, samples: Sequence[WorkerSample]) -> Iterator[Metric]:
        up = _gauge("worker_up", "1 while the worker of this slot is ready.", ("worker",))
        restarts = _counter("worker_restarts", "Replacements of ended workers.", ("worker",))
        cpu = _counter("worker_cpu_seconds", "CPU time used.", ("worker",))
        memory = _gauge("worker_resident_memory_bytes", "Resident memory.", ("worker",))
        fds = _gauge("worker_open_fds", "Open file descriptors.", ("worker",))
        for sample in samples:
            labels = [str(sample.slot)]
            up.add_metric(labels, int(sample.up))
            restarts.add_metric(labels, sample.restarts)
            cpu.add_metric(labels, sample.cpu_seconds)
            memory.add_metric(labels, sample.resident_bytes)
            fds.add_metric(labels, sample.open_fds)
        return iter((up, restarts, cpu, memory, fds))


class Metrics:
    """The registry of one instance; nothing of prometheus_client's process-wide state is used."""

    def __init__(self, collector: SegmentCollector) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(collector)

    def render(self) -> bytes:
        """The exposition in text format 0.0.4. Blocking (230 ms for 1,000 upstreams); thread-safe."""
        return generate_latest(self._registry)


def _counter(name: str, text: str, labels: Sequence[str]) -> CounterMetricFamily:
    return CounterMetricFamily(_PREFIX + name, text, labels=labels)


def _gauge(name: str, text: str, labels: Sequence[str]) -> GaugeMetricFamily:
    return GaugeMetricFamily(_PREFIX + name, text, labels=labels)


def _histogram(name: str, text: str, labels: Sequence[str]) -> HistogramMetricFamily:
    return HistogramMetricFamily(_PREFIX + name, text, labels=labels)


def _add_histogram(
    family: HistogramMetricFamily, labels: Labels, cells: list[int], first: int, total: int
) -> None:
    cumulated = accumulate(cells[first : first + c.HISTOGRAM_CELLS])
    family.add_metric(labels, list(zip(_BOUNDS, cumulated, strict=True)), cells[total] / 1e9)
