"""The supervisor's own metrics (L2): states, active checks, worker processes,
certificates.

Counters of everything that can happen in this version start at 0, for the sake of `rate()`.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import TypeVar

from balancer.telemetry.buckets import Buckets
from balancer.telemetry.metrics import Family, counter, gauge, histogram, info, observe
from balancer.telemetry.samples import (
    AcmeSample,
    CertificateSample,
    DiscoverySample,
    FleetSample,
    ReloadSample,
    WorkerSample,
)
from balancer.upstreams.traffic_history import SkipReason

ADMIN_STATES = ("active", "draining", "maintenance")
# Changes that can occur in this version, as (to, cause).
FIRST_CHANGES = (
    ("ejected", "active_check"),
    ("readmitted", "active_check"),
    ("ejected", "outlier"),
    ("probation", "outlier"),
    ("readmitted", "outlier"),
    ("draining", "announced"),
    ("active", "announced"),
    ("draining", "operator"),
    ("maintenance", "operator"),
    ("active", "operator"),
)
FIRST_RESULTS = ("passed", "status", "timeout", "refused", "unreachable")
FIRST_EJECTIONS = ("active_check", "outlier")
SKIP_REASONS = tuple(SkipReason)
RELOAD_RESULTS = ("applied", "unchanged", "refused", "taken_back")
_POOL_UPSTREAM = ("pool", "upstream")

KeyT = TypeVar("KeyT", bound=Hashable)


def families(
    fleet: FleetSample, workers: Iterable[WorkerSample], version: str, build: str, buckets: Buckets
) -> Iterator[Family]:
    """All families of this module."""
    yield from _upstreams(fleet)
    yield from _pools(fleet, buckets)
    yield from _discovery(fleet.discovery)
    yield from _processes(workers)
    yield from _certificates(fleet.certificates)
    yield from _acme(fleet.acme)
    if fleet.reloads is not None:
        yield from _reloads(fleet.reloads)
    if fleet.spans is not None:
        yield _spans(fleet.spans)
    yield info("build", "The running version and build.", {"version": version, "build": build})


def _upstreams(fleet: FleetSample) -> Iterator[Family]:
    state = gauge(
        "upstream_state",
        "1 for its admin state, and for ejected, probation and unchecked if they apply.",
        (*_POOL_UPSTREAM, "state"),
    )
    up = gauge(
        "upstream_up", "1 while its state lets it have requests; panic does not count.", _POOL_UPSTREAM
    )
    weight = gauge("upstream_effective_weight", "Weight that policies use.", _POOL_UPSTREAM)
    changes = counter("upstream_state_changes", "Changes of state.", (*_POOL_UPSTREAM, "to", "cause"))
    checks = counter("active_checks", "Active checks by result.", (*_POOL_UPSTREAM, "result"))
    for one in fleet.upstreams:
        labels = (one.pool, one.upstream)
        for admin_state in ADMIN_STATES:
            state.add_metric((*labels, admin_state), one.admin_state == admin_state)
        state.add_metric((*labels, "ejected"), one.ejected)
        state.add_metric((*labels, "probation"), one.on_probation)
        state.add_metric((*labels, "unchecked"), one.unchecked)
        up.add_metric(labels, one.eligible)
        weight.add_metric(labels, one.effective_weight)
        for (to, cause), count in _from_zero(FIRST_CHANGES, one.changes).items():
            changes.add_metric((*labels, to, cause), count)
        results = {} if one.checks is None else _from_zero(FIRST_RESULTS, one.checks)
        for result, count in results.items():
            checks.add_metric((*labels, result), count)
    yield from (state, up, weight, changes, checks)


def _pools(fleet: FleetSample, buckets: Buckets) -> Iterator[Family]:
    eligible = gauge("pool_eligible_upstreams", "Upstreams whose state lets them have requests.", ("pool",))
    panic = gauge("pool_panic", "1 while ejected upstreams are used because none is eligible.", ("pool",))
    backup = gauge(
        "pool_backup", "1 while backup upstreams are used because no other is eligible.", ("pool",)
    )
    overloaded = gauge("pool_overloaded", "1 while the load is more than its upstreams can serve.", ("pool",))
    ejections = counter("ejections", "Upstreams ejected, by cause.", ("pool", "cause"))
    skipped = counter("ejections_skipped", "Outliers that were not ejected, by reason.", ("pool", "reason"))
    durations = histogram("active_check_duration_seconds", "Duration of active checks.", ("pool",))
    for one in fleet.pools:
        labels = (one.pool,)
        eligible.add_metric(labels, one.eligible)
        panic.add_metric(labels, one.panic)
        backup.add_metric(labels, one.on_backup)
        overloaded.add_metric(labels, one.overloaded)
        for cause, count in _from_zero(FIRST_EJECTIONS, one.ejections).items():
            ejections.add_metric((*labels, cause), count)
        for reason, count in _from_zero(SKIP_REASONS, one.ejections_skipped).items():
            skipped.add_metric((*labels, reason), count)
        observe(durations, labels, one.check_durations, one.check_seconds, buckets)
    yield from (eligible, panic, backup, overloaded, ejections, skipped, durations)


def _discovery(sources: Iterable[DiscoverySample]) -> Iterator[Family]:
    stale = gauge(
        "discovery_stale_seconds",
        "Age of what it found last; 0 while its last answer is good.",
        ("pool", "source"),
    )
    lookups = counter("discovery_lookups", "Lookups by result.", ("pool", "source", "result"))
    for one in sources:
        labels = (one.pool, one.source)
        stale.add_metric(labels, one.stale_seconds)
        lookups.add_metric((*labels, "ok"), one.ok)
        lookups.add_metric((*labels, "failed"), one.failed)
    yield from (stale, lookups)


def _processes(workers: Iterable[WorkerSample]) -> Iterator[Family]:
    up = gauge("worker_up", "1 while the worker of this slot is ready.", ("worker",))
    restarts = counter("worker_restarts", "Replacements of ended workers.", ("worker",))
    cpu = counter("worker_cpu_seconds", "CPU time used.", ("worker",))
    memory = gauge("worker_resident_memory_bytes", "Resident memory.", ("worker",))
    fds = gauge("worker_open_fds", "Open file descriptors.", ("worker",))
    for one in workers:
        labels = (str(one.slot),)
        up.add_metric(labels, one.up)
        restarts.add_metric(labels, one.restarts)
        cpu.add_metric(labels, one.cpu_seconds)
        memory.add_metric(labels, one.resident_bytes)
        fds.add_metric(labels, one.open_fds)
    yield from (up, restarts, cpu, memory, fds)


def _certificates(certificates: Iterable[CertificateSample]) -> Iterator[Family]:
    begin = gauge(
        "tls_certificate_not_before_seconds",
        "Begin of its validity, in seconds since the epoch.",
        ("name",),
    )
    end = gauge(
        "tls_certificate_not_after_seconds", "End of its validity, in seconds since the epoch.", ("name",)
    )
    reloads = counter("tls_certificate_reloads", "Changes of its files, by result.", ("name", "result"))
    for one in certificates:
        if one.validity is not None:
            begin.add_metric((one.name,), one.validity[0])
            end.add_metric((one.name,), one.validity[1])
        for result, count in one.reloads.items():
            reloads.add_metric((one.name, result), count)
    yield from (begin, end, reloads)


def _acme(domains: Iterable[AcmeSample]) -> Iterator[Family]:
    renewals = counter("acme_renewals", "Orders of automatic certificates, by result.", ("domain", "result"))
    for one in domains:
        for result, count in one.results.items():
            renewals.add_metric((one.domain, result), count)
    yield renewals


def _reloads(sample: ReloadSample) -> Iterator[Family]:
    count = counter("config_reloads", "Reloads of the settings, by result.", ("result",))
    for result, reloads in _from_zero(RELOAD_RESULTS, sample.results).items():
        count.add_metric((result,), reloads)
    last = gauge("config_last_reload_success", "0 if the last reload was not taken up, else 1.", ())
    last.add_metric((), not sample.failed)
    read = gauge(
        "config_last_reload_success_timestamp_seconds",
        "When the settings in force were read, in seconds since the epoch.",
        (),
    )
    read.add_metric((), sample.read_at)
    yield from (count, last, read)


def _spans(counts: Mapping[str, int]) -> Family:
    spans = counter("trace_spans", "Spans of traces, by result.", ("result",))
    for result, number in counts.items():
        spans.add_metric((result,), number)
    return spans


def _from_zero(first: Iterable[KeyT], counts: Mapping[KeyT, int]) -> dict[KeyT, int]:
    return {**dict.fromkeys(first, 0), **counts}
