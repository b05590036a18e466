"""A source of every metric: a segment with an entity of each kind, and a fleet."""

from itertools import chain

from prometheus_client.parser import text_string_to_metric_families

from balancer.telemetry import columns as c
from balancer.telemetry import fleet_metrics, segment_metrics, slo_metrics
from balancer.telemetry.buckets import Buckets
from balancer.telemetry.columns import Kind
from balancer.telemetry.ledger import WIDTH, Ledger
from balancer.telemetry.metrics import render
from balancer.telemetry.samples import (
    AcmeSample,
    CertificateSample,
    DiscoverySample,
    FleetSample,
    PoolSample,
    ReloadSample,
    SloSample,
    UpstreamSample,
    WorkerSample,
)
from balancer.telemetry.segment import Segment

WORKER = WorkerSample(slot=0, up=True, restarts=2, cpu_seconds=1.5, resident_bytes=4096, open_fds=7)
POOL = PoolSample(
    pool="apps",
    eligible=4,
    panic=True,
    on_backup=False,
    overloaded=True,
    ejections={"active_check": 3, "outlier": 1},
    ejections_skipped={"pool_wide": 2},
    check_durations=[1, 2, *[0] * (c.HISTOGRAM_CELLS - 2)],
    check_seconds=0.25,
)
SLO = SloSample("web", "apps", 0.3, 0.95, 0.01, 2_592_000.0, requests=1000, slow=12, failed=3)
UPSTREAM = UpstreamSample(
    pool="apps",
    upstream="app1:8000",
    admin_state="draining",
    ejected=True,
    on_probation=True,
    unchecked=True,
    eligible=True,
    effective_weight=2.5,
    changes={("ejected", "active_check"): 3, ("ejected", "outlier"): 1},
    checks={"passed": 9, "late": 1},
)
CERTIFICATE = CertificateSample("/run/site.pem", (776335777.0, 784111777.0), {"renewed": 2, "refused": 0})
AUTHORITIES = CertificateSample("/run/ca.pem", None, {"renewed": 0, "refused": 1})
ACME = AcmeSample("shop.example", {"issued": 2, "failed": 1})
NAME = DiscoverySample("apps", "dns://app:8000", 12.5, ok=3, failed=2)
SPANS = {"exported": 5, "dropped": 6, "failed": 7}
RELOADS = ReloadSample({"applied": 3, "refused": 1}, failed=True, read_at=784111777.0)
# Nothing has happened to it yet.
FRESH = UpstreamSample("apps", "app2:8000", "active", False, False, False, False, 1.0, {}, {})
UNCHECKED = UpstreamSample("apps", "app3:8000", "active", False, False, False, True, 1.0, {}, None)


def scraped(text: bytes) -> dict[str, float]:
    return {
        f"{s.name}{{{','.join(f'{k}={v}' for k, v in sorted(s.labels.items()))}}}": s.value
        for family in text_string_to_metric_families(text.decode())
        for s in family.samples
    }


class Harness:
    """A segment with one entity of each kind and one live page, and a fleet."""

    def __init__(self, segment: Segment) -> None:
        self.ledger = Ledger(segment)
        self.rows = {
            Kind.WORKER: self.ledger.row(Kind.WORKER, "0"),
            Kind.LISTENER: self.ledger.row(Kind.LISTENER, "0.0.0.0:8080"),
            Kind.TLS_LISTENER: self.ledger.row(Kind.TLS_LISTENER, "0.0.0.0:8443"),
            Kind.ROUTE: self.ledger.row(Kind.ROUTE, "web", "apps"),
            Kind.POOL: self.ledger.row(Kind.POOL, "apps"),
            Kind.UPSTREAM: self.ledger.row(Kind.UPSTREAM, "apps", "app1:8000"),
        }
        self._page = segment.page(self.ledger.take_page())

    def count(self, kind: Kind, column: int, value: int) -> None:
        self._page.row(self.rows[kind])[column] = value

    def count_everything(self) -> None:
        """Every event has happened once."""
        for kind, row in self.rows.items():
            for column in range(WIDTH[kind]):
                self._page.row(row)[column] = 1

    def text(self) -> bytes:
        upstreams, certificates = [UPSTREAM, FRESH, UNCHECKED], [CERTIFICATE, AUTHORITIES]
        fleet = FleetSample([POOL], upstreams, certificates, [ACME], RELOADS, [NAME], SPANS)
        return render(
            chain(
                segment_metrics.families(self.ledger, log_dropped=3, buckets=Buckets()),
                slo_metrics.families([SLO]),
                fleet_metrics.families(fleet, [WORKER], "1.2.3", "plain", Buckets()),
            )
        )

    def scrape(self) -> dict[str, float]:
        return scraped(self.text())
