"""What is promised, and how it is kept (L2): gauges of the objectives, and counters of requests.

No objective is in an alert rule or a panel: they read these gauges.
"""

from collections.abc import Iterable, Iterator

from balancer.telemetry.metrics import Family, counter, gauge
from balancer.telemetry.samples import SloSample

_LABELS = ("route", "pool")


def families(slos: Iterable[SloSample]) -> Iterator[Family]:
    """All families of this module; those of promises that are in force."""
    latency = gauge("slo_latency_seconds", "Time in which responses are promised to begin.", _LABELS)
    percentile = gauge("slo_percentile_ratio", "Share of the requests that this is promised for.", _LABELS)
    errors = gauge("slo_errors_ratio", "Share of the requests that may fail.", _LABELS)
    window = gauge("slo_window_seconds", "Time over which both shares are promised.", _LABELS)
    requests = counter("slo_requests", "Requests whose response has begun.", _LABELS)
    slow = counter("slo_slow_requests", "Of these, responses that began later than promised.", _LABELS)
    failed = counter("slo_failed_requests", "Of these, responses with 5xx, or broken off.", _LABELS)
    for one in slos:
        labels = (one.route, one.pool)
        latency.add_metric(labels, one.latency)
        percentile.add_metric(labels, one.percentile)
        errors.add_metric(labels, one.errors)
        window.add_metric(labels, one.window)
        requests.add_metric(labels, one.requests)
        slow.add_metric(labels, one.slow)
        failed.add_metric(labels, one.failed)
    yield from (latency, percentile, errors, window, requests, slow, failed)
