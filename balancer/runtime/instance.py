"""The running instance as the admin application sees it (L6)."""

from balancer import __version__
from balancer.admin.view import PoolView, UpstreamView
from balancer.config.address import join_host_port
from balancer.runtime.crew import Crew
from balancer.runtime.fleet import Fleet, UpstreamState
from balancer.telemetry import columns as c
from balancer.telemetry.columns import Kind
from balancer.telemetry.ledger import Ledger
from balancer.telemetry.line_writer import LineWriter
from balancer.telemetry.metrics import Metrics, SegmentCollector


class Instance:
    """Joins the fleet's state with the segment's counts. `pools` and `scrape` run in threads."""

    def __init__(self, fleet: Fleet, ledger: Ledger, crew: Crew, access_log: LineWriter) -> None:
        self._fleet = fleet
        self._ledger = ledger
        self._crew = crew
        self._metrics = Metrics(
            SegmentCollector(ledger, crew.samples, lambda: access_log.dropped, __version__)
        )
        self.stopping = False

    def unready(self) -> list[str]:
        """Why the instance should get no traffic."""
        return ["draining", *self._crew.unready()] if self.stopping else self._crew.unready()

    def pools(self) -> list[PoolView]:
        """All pools with their upstreams."""
        return [
            PoolView(pool.name, pool.settings["policy"], [self._upstream(u) for u in pool.upstreams.values()])
            for pool in self._fleet.pools.values()
        ]

    def scrape(self) -> bytes:
        """The metrics."""
        return self._metrics.render()

    def _upstream(self, upstream: UpstreamState) -> UpstreamView:
        cells = self._ledger.total(Kind.UPSTREAM, upstream.row)
        counts = cells[: len(c.CODES)]
        return UpstreamView(
            id=upstream.id,
            address=join_host_port(upstream.address, upstream.port) if upstream.address else "",
            weight=upstream.weight,
            inflight=cells[c.UPSTREAM_INFLIGHT],
            idle_connections=cells[c.UPSTREAM_IDLE],
            requests=sum(counts),
            codes={code: count for code, count in zip(c.CODES, counts, strict=True) if count},
            first_byte_buckets=cells[c.UPSTREAM_FIRST_BYTE : c.UPSTREAM_FIRST_BYTE + c.HISTOGRAM_CELLS],
            first_byte_sum=cells[c.UPSTREAM_FIRST_BYTE_SUM] / 1e9,
        )
