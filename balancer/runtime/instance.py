"""The running instance for the admin application (L7): combines state, counts, checks and events."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from typing import Any, Protocol, TypeAlias

from balancer import __version__, build
from balancer.admin.explained import Explanations
from balancer.admin.view import (
    AcmeView,
    CertificateView,
    Change,
    CheckView,
    GateWish,
    LiveChange,
    OutlierView,
    OverloadView,
    Overviews,
    PoolView,
    RefusedError,
    ReloadView,
    ReplaceView,
    RouteView,
    SplitChange,
    UpstreamView,
    Wanted,
    moment,
    wanted_anyway,
)
from balancer.clock import Clock
from balancer.config.address import join_host_port
from balancer.config.exported import Exported
from balancer.edges import Edges
from balancer.health.durations import Durations
from balancer.health.result import CheckResult
from balancer.messages import FailureRecord
from balancer.runtime.additions import register
from balancer.runtime.fleet import Fleet
from balancer.runtime.operator import Operator
from balancer.runtime.route_counts import RouteCounts
from balancer.runtime.slos import Slos
from balancer.runtime.states import Overloaded, PoolState, UpstreamState
from balancer.spec.part import encode_plain, replaced
from balancer.telemetry import columns as c
from balancer.telemetry.buckets import Buckets
from balancer.telemetry.columns import Kind
from balancer.telemetry.events import EventLog
from balancer.telemetry.ledger import Labels, Ledger
from balancer.telemetry.samples import (
    AcmeSample,
    CertificateSample,
    DiscoverySample,
    FleetSample,
    PoolSample,
    ReloadSample,
    UpstreamSample,
    WorkerSample,
)
from balancer.telemetry.scrape import Scrape

FAILURES_KEPT = 200


class WorkerReports(Protocol):
    """What it needs from the workers; see `runtime.workers.Workers`."""

    def unready(self) -> list[str]:
        """One sentence for each worker that is not ready."""

    def sampling(self) -> Callable[[], Sequence[WorkerSample]]:
        """The workers at this moment; what it returns makes their samples, and is called in a thread."""


class Checks(Protocol):
    """What it needs from the active checks; see `health.active.ActiveChecks`."""

    @property
    def first_round_done(self) -> bool:
        """Whether every upstream has been checked once."""

    @property
    def durations(self) -> Mapping[str, Durations]:
        """How long checks took, by pool."""

    def last(self, upstream: UpstreamState) -> CheckResult | None:
        """The last check of an upstream."""

    def counts(self, upstream: UpstreamState) -> Mapping[str, int]:
        """The number of its checks by result."""


class Outliers(Protocol):
    """What it needs from outlier detection; see `runtime.outliers.Outliers`."""

    def ejection_term(self, upstream: UpstreamState) -> tuple[float, int] | None:
        """The end of its ejection, in seconds since the epoch, and the ejection's number in a row."""


class Certificates(Protocol):
    """What it needs from the certificates; see `runtime.live_tls.LiveTls`."""

    def views(self) -> Sequence[CertificateView]:
        """All of them, the default first."""

    def samples(self) -> Sequence[CertificateSample]:
        """Samples for the metrics."""


class Acme(Protocol):
    """What it needs from automatic certificates; see `runtime.acme.Acme`."""

    def view(self, domain: str) -> AcmeView | None:
        """The orders for a domain; None if it is not one of those."""

    def samples(self) -> Sequence[AcmeSample]:
        """Samples for the metrics."""


class Discovery(Protocol):
    """What it needs from discovery; see `discovery.discovery.Discovery`."""

    def samples(self) -> Sequence[DiscoverySample]:
        """What the metrics show."""


Replace: TypeAlias = Callable[[str, Wanted], Awaitable[ReplaceView]]


class Reloads(Protocol):
    """What it needs for reloads; see `runtime.reload.Reloads`."""

    async def reload(
        self, by: str, *, dry_run: bool, text: str | None, wanted: Wanted = wanted_anyway
    ) -> ReloadView:
        """Read the settings again, and take them up unless `dry_run`."""

    def sample(self) -> ReloadSample:
        """What the metrics show."""


class Instance:
    """Everything that can be read of a running balancer. Call it on the event loop only.

    States are read on the loop, which alone changes them, without an await in between; threads sum the
    segment and render text. `checks` is None if active checks are off. `keeps`: whether what operators change
    survives a restart. `overviews` and `explanations` are set before anyone asks.
    """

    overviews: Overviews
    explanations: Explanations

    def __init__(
        self,
        *,
        fleet: Fleet,
        routes: RouteCounts,
        ledger: Ledger,
        workers: WorkerReports,
        checks: Checks | None,
        outliers: Outliers,
        events: EventLog,
        config: Exported,
        certificates: Certificates | None = None,
        acme: Acme | None = None,
        operator: Operator | None = None,
        reloads: Reloads | None = None,
        replace: Replace | None = None,
        is_replacing: Callable[[], bool] = lambda: False,
        keeps: Callable[[], bool] = lambda: False,
        slos: Slos | None = None,
        discovery: Discovery | None = None,
        log_dropped: Callable[[], int],
        spans: Callable[[], Mapping[str, int] | None] = lambda: None,
        clock: Clock,
    ) -> None:
        self.events = events
        self._reloads = reloads
        self._replace = replace
        self._keeps = keeps
        self._config = config
        self._certificates = certificates
        self._acme = acme
        self.operator = operator or Operator(fleet, routes.splits, routes.readonly, clock)
        self._is_replacing = is_replacing
        self._routes = routes
        self._clock = clock
        self.started = clock.wall()
        self.stopping = False
        self._fleet = fleet
        self._ledger = ledger
        self._workers = workers
        self._checks = checks
        self._outliers = outliers
        self._slos = slos
        self._discovery = discovery
        self._log_dropped = log_dropped
        self._spans = spans
        self._failures: deque[FailureRecord] = deque(maxlen=FAILURES_KEPT)
        self._scrape = Scrape(
            lambda: partial(self._render, self.sample(), self._workers.sampling(), self._buckets())
        )

    # --- the supervisor's calls

    def settle(self, config: Exported, acme: Acme | None) -> None:
        """The settings are these now."""
        self._config = config
        self._acme = acme

    def failed(self, records: Iterable[FailureRecord]) -> None:
        """Errors that a worker has answered, oldest first."""
        for record in records:
            # Everyone who can reach the admin listener can read this, and queries may hold secrets.
            path, mark, _ = (record.target or "").partition("?")
            self._failures.append(replaced(record, target=path + "?...") if mark else record)

    # --- the admin application's calls

    @property
    def config(self) -> Exported:
        """The effective settings; their YAML includes the operator's changes."""
        return self.operator.exported(self._config)

    @property
    def bounds(self) -> Sequence[float]:
        """Those of the buckets of all histograms, in seconds."""
        return self._ledger.edges.bounds

    @property
    def revision(self) -> int:
        """Of what operators have set."""
        return self.operator.revision

    def audit(self, pool: str, upstream: str | None, by: str, text: str) -> None:
        """Record what an operator has asked for."""
        self._fleet.audit(pool, upstream, by, text)

    def change(self, pool: str, upstream: str, change: Change, by: str) -> None:
        """Apply the operator's change to an upstream."""
        self.operator.change(pool, upstream, change, by)

    def add(self, pool: str, upstream: str, by: str) -> str:
        """Add an upstream; returns its id."""
        return self.operator.add(pool, upstream, by)

    def register(self, pool: str, upstream: str, seconds: int, by_app: bool) -> tuple[str, bool]:
        """Add an upstream for a time, or prolong it; returns its id, and whether it is new."""
        registered, is_new = register(self._fleet, pool, upstream, seconds, by_app=by_app)
        if is_new:
            self.operator.on_change()
        return registered, is_new

    def deregister(self, pool: str, upstream: str) -> None:
        """Remove a registered upstream, as its app wants."""
        self._fleet.remove(self._fleet.pools[pool].upstreams[upstream], "its app has ended its registration")
        self.operator.on_change()

    def remove(self, pool: str, upstream: str, by: str) -> None:
        """Remove an upstream that was added."""
        self.operator.remove(pool, upstream, by)

    async def reload(
        self, by: str, *, dry_run: bool = False, text: str | None = None, wanted: Wanted = wanted_anyway
    ) -> ReloadView:
        """Read the settings again, and take them up unless `dry_run`; `text` is that of a settings file to
        look at instead of the present one. `wanted` raises an exception if that is not so any more. Raises
        RefusedError."""
        if self._reloads is None:
            raise RefusedError("this instance cannot read its settings again")
        view = await self._reloads.reload(by, dry_run=dry_run, text=text, wanted=wanted)
        if view.result == "applied":
            self.operator.changed()
        return view

    @property
    def replacing(self) -> bool:
        """Whether the program is being replaced."""
        return self._is_replacing()

    async def replace(self, by: str, wanted: Wanted = wanted_anyway) -> ReplaceView:
        """Start the program anew in place of this one. Raises RefusedError."""
        if self._replace is None:
            raise RefusedError("this instance cannot be replaced")
        return await self._replace(by, wanted)

    def certificates(self) -> Sequence[CertificateView]:
        """The certificates of the TLS listener, and of pools for their upstreams."""
        if self._certificates is None:
            return ()
        views, acme = self._certificates.views(), self._acme
        return views if acme is None else [replace(one, acme=acme.view(one.name)) for one in views]

    def forget(self, by: str) -> None:
        """Make everything as in the settings again."""
        self.operator.forget(by)

    @property
    def keeps_changes(self) -> bool:
        """Whether the operators' changes survive a restart."""
        return self._keeps()

    def live_changes(self) -> list[LiveChange | SplitChange]:
        """The operator's changes."""
        return self.operator.live_changes()

    async def routes(self) -> list[RouteView]:
        """All routes with the counts of their sides."""
        return await asyncio.to_thread(self._routes.counted, self._routes.now(), self._ledger.edges)

    def split(self, route: str, weights: Mapping[str, int], gate: GateWish | None, by: str) -> None:
        """Divide a route's requests otherwise."""
        self.operator.split(route, weights, gate, by)

    def set_read_only(self, route: str, seconds: float, by: str) -> None:
        """Serve no changes on a route for a while."""
        self.operator.set_read_only(route, seconds)

    def unready(self, strict: bool = False) -> list[str]:
        """Why the instance should get no traffic; `strict`: also if a pool has no eligible upstream."""
        reasons = ["draining"] if self.stopping else []
        reasons += self._workers.unready()
        if self._checks is not None and not self._checks.first_round_done:
            reasons.append("the first active checks are not done")
        if strict:
            pools = self._fleet.pools.values()
            reasons += [f"pool {pool.name} has no eligible upstream" for pool in pools if not pool.eligible()]
        return reasons

    def states(self) -> list[PoolView]:
        """All pools with their upstreams, without counts."""
        return [self._pool(pool) for pool in self._fleet.pools.values()]

    async def pools(self) -> list[PoolView]:
        """All pools with their upstreams."""
        return await asyncio.to_thread(self._with_counts, self.states(), self._ledger.edges)

    def names(self) -> Mapping[str, Collection[str]]:
        """The ids of the upstreams of each pool."""
        return {pool.name: pool.upstreams.keys() for pool in self._fleet.pools.values()}

    def upstream(self, pool: str, upstream: str) -> UpstreamView:
        """One upstream. Its sums are as cheap as those for one check, so they need no thread."""
        state = self._fleet.pools[pool].upstreams[upstream]
        totals: dict[Labels, list[int]] = {(pool, upstream): self._ledger.total(Kind.UPSTREAM, state.row)}
        return _counted(pool, self._upstream(state), totals, self._ledger.edges)

    async def scrape(self) -> bytes:
        """The metrics."""
        return await self._scrape.result()

    def failures(self, most: int = FAILURES_KEPT) -> list[Mapping[str, Any]]:
        """The last errors answered here, newest first."""
        return [encode_plain(record) for record in islice(reversed(self._failures), most)]

    def failure(self, request_id: str) -> FailureRecord | None:
        """The last error that was answered here to a request with this id."""
        found = (record for record in reversed(self._failures) if record.request_id == request_id)
        return next(found, None)

    def sample(self) -> FleetSample:
        """The state of the fleet at this moment, for the metrics."""
        checks, no_durations = self._checks, Durations()
        pools, upstreams = [], []
        for pool in self._fleet.pools.values():
            durations = no_durations if checks is None else checks.durations.get(pool.name, no_durations)
            eligible = 0
            for one in pool.upstreams.values():
                is_eligible = one.is_eligible()
                eligible += is_eligible
                upstreams.append(
                    UpstreamSample(
                        pool.name,
                        one.id,
                        one.admin_state,
                        bool(one.causes),
                        one.on_probation,
                        one.unchecked,
                        is_eligible,
                        self._fleet.effective_weight(one),
                        dict(one.changes),
                        dict(checks.counts(one)) if checks is not None and pool.is_checked else None,
                    )
                )
            pools.append(
                PoolSample(
                    pool.name,
                    eligible,
                    pool.panics,
                    pool.on_backup,
                    pool.overload is not None,
                    dict(pool.ejections),
                    dict(pool.ejections_skipped),
                    durations.cells.copy(),
                    durations.sum,
                )
            )
        certificates = self._certificates.samples() if self._certificates is not None else ()
        acme = self._acme.samples() if self._acme is not None else ()
        reloads = None if self._reloads is None else self._reloads.sample()
        discovery = () if self._discovery is None else self._discovery.samples()
        return FleetSample(pools, upstreams, certificates, acme, reloads, discovery, self._spans())

    def _buckets(self) -> Buckets:
        return Buckets() if self._slos is None else self._slos.buckets()

    def _render(
        self, fleet: FleetSample, workers: Callable[[], Sequence[WorkerSample]], buckets: Buckets
    ) -> bytes:
        # Loaded by `runtime.admin`, after the workers: prometheus_client takes 40 ms.
        from balancer.telemetry import fleet_metrics, segment_metrics, slo_metrics
        from balancer.telemetry.metrics import render

        return render(
            chain(
                segment_metrics.families(self._ledger, self._log_dropped(), buckets),
                slo_metrics.families(() if self._slos is None else self._slos.samples()),
                fleet_metrics.families(fleet, workers(), __version__, build.kind(), buckets),
            )
        )

    def _pool(self, pool: PoolState) -> PoolView:
        upstreams = [self._upstream(upstream) for upstream in pool.upstreams.values()]
        return PoolView(
            name=pool.name,
            policy=pool.spec.policy.name,
            panic=pool.panics,
            eligible=sum(upstream.eligible for upstream in upstreams),
            problems=dict(pool.problems),
            overload=_overload_view(pool.overload) if pool.overload is not None else None,
            queue_length=0,  # until the segment has been summed
            queue_rejected={},
            queue_abandoned=0,
            upstreams=upstreams,
        )

    def _upstream(self, upstream: UpstreamState) -> UpstreamView:
        last = self._checks.last(upstream) if self._checks is not None else None
        term = self._outliers.ejection_term(upstream)
        return UpstreamView(
            id=upstream.id,
            address=join_host_port(upstream.address, upstream.port) if upstream.address else "",
            source=upstream.source,
            admin_state=upstream.admin_state,
            announced=upstream.announced,
            causes=sorted(upstream.causes),
            outlier=OutlierView(moment(term[0]), term[1]) if term is not None else None,
            on_probation=upstream.on_probation,
            unchecked=upstream.unchecked,
            eligible=upstream.is_eligible(),
            weight=upstream.weight,
            effective_weight=self._fleet.effective_weight(upstream),
            backup=upstream.backup,
            max_inflight=upstream.max_inflight,
            server_name=upstream.server_name,
            until_restart=not self._keeps() and self.operator.has_changed(upstream),
            expires=self._expiry(upstream),
            last_check=_check_view(last) if last is not None else None,
        )

    def _expiry(self, upstream: UpstreamState) -> str:
        if not upstream.expires_ns:
            return ""
        return moment(self._clock.wall() + (upstream.expires_ns - self._clock.monotonic_ns()) / 1e9)

    def _with_counts(self, pools: list[PoolView], edges: Edges) -> list[PoolView]:
        totals = dict(self._ledger.totals(Kind.UPSTREAM))
        lines = {name: cells for (name,), cells in self._ledger.totals(Kind.POOL)}
        return [
            replace(
                pool,
                queue_length=lines[pool.name][c.POOL_QUEUE_LENGTH],
                queue_rejected=_rejected(lines[pool.name]),
                queue_abandoned=lines[pool.name][c.POOL_QUEUE_ABANDONED],
                upstreams=[_counted(pool.name, one, totals, edges) for one in pool.upstreams],
            )
            for pool in pools
        ]


def _rejected(cells: Sequence[int]) -> dict[str, int]:
    return dict(zip(c.QUEUE_REJECTIONS, cells[c.POOL_QUEUE_REJECTED :], strict=False))


def _counted(pool: str, view: UpstreamView, totals: Mapping[Labels, list[int]], edges: Edges) -> UpstreamView:
    cells = totals.get((pool, view.id))
    if cells is None:  # removed a moment ago
        return replace(view, first_byte_buckets=[0] * edges.width)
    counts = cells[: len(c.CODES)]
    dials = cells[c.UPSTREAM_CONNECT_FAILURES :]
    return replace(
        view,
        inflight=cells[c.UPSTREAM_INFLIGHT],
        inflight_limit=cells[c.UPSTREAM_INFLIGHT_LIMIT],
        idle_connections=cells[c.UPSTREAM_IDLE],
        requests=sum(counts),
        codes={code: count for code, count in zip(c.CODES, counts, strict=True) if count},
        connect_failures={
            reason: count for reason, count in zip(c.CONNECT_FAILURE_REASONS, dials, strict=True) if count
        },
        first_byte_buckets=edges.ascending(cells[c.UPSTREAM_FIRST_BYTE :]),
        first_byte_sum=cells[c.UPSTREAM_FIRST_BYTE_SUM] / 1e9,
    )


def _overload_view(overload: Overloaded) -> OverloadView:
    return OverloadView(
        since=moment(overload.since),
        served_per_second=round(overload.served, 1),
        refused_per_second=round(overload.refused, 1),
        left_per_second=round(overload.left, 1),
    )


def _check_view(result: CheckResult) -> CheckView:
    return CheckView(
        time=moment(result.time),
        passed=result.passed,
        result=result.result,
        status=result.status or None,
        seconds=result.seconds,
        text=result.detail,
        hint=result.hint,
    )
