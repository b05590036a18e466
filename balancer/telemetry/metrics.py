"""The metric types and their text format (L2): the only module that imports prometheus_client.

prometheus_client's process-wide state is not used: the families are rebuilt at each scrape from counts kept
elsewhere (`segment_metrics`, `fleet_metrics`).
"""

from collections.abc import Iterable, Sequence
from typing import TypeAlias

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

from balancer.telemetry.buckets import Buckets

_PREFIX = "balancer_"

Family: TypeAlias = Metric


def counter(name: str, text: str, labels: Sequence[str] = ()) -> CounterMetricFamily:
    """A counter; its series end in `_total`, which is not part of `name`."""
    return CounterMetricFamily(_PREFIX + name, text, labels=labels)


def gauge(name: str, text: str, labels: Sequence[str] = ()) -> GaugeMetricFamily:
    """A gauge."""
    return GaugeMetricFamily(_PREFIX + name, text, labels=labels)


def histogram(name: str, text: str, labels: Sequence[str] = ()) -> HistogramMetricFamily:
    """A histogram; `observe` fills it."""
    return HistogramMetricFamily(_PREFIX + name, text, labels=labels)


def info(name: str, text: str, labels: dict[str, str]) -> InfoMetricFamily:
    """A gauge that is always 1, with the information in its labels; its series ends in `_info`."""
    return InfoMetricFamily(_PREFIX + name, text, labels)


def observe(
    family: HistogramMetricFamily,
    labels: Sequence[str],
    histogram: Sequence[int],
    seconds: float,
    buckets: Buckets,
) -> None:
    """Add a series: the cells of a histogram, and the sum of its values."""
    family.add_metric(labels, buckets.cumulated(histogram), seconds)


class _Families(Collector):
    def __init__(self, families: Iterable[Family]) -> None:
        self._families = families

    def collect(self) -> Iterable[Family]:
        return self._families


def render(families: Iterable[Family]) -> bytes:
    """The exposition in text format 0.0.4. Takes long with many upstreams: call it in a thread."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(families))
    return generate_latest(registry)
