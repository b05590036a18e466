"""The kinds of metric and Prometheus' text format 0.0.4 (L2).

The families are made anew at each scrape from what is counted elsewhere (`segment_metrics`, `fleet_metrics`),
a line of text per series. prometheus_client would make several objects per series first: at 1,000 upstreams
(43,000 series) 350 ms instead of 95, and while a thread does that, every turn of the event loop waits 5 ms
for the interpreter lock.
"""

from collections.abc import Iterable, Sequence
from itertools import accumulate

from balancer.telemetry.columns import BUCKETS
from balancer.telemetry.samples import WorkerSample

__all__ = ["Family", "WorkerSample", "counter", "gauge", "histogram", "info", "render"]

_PREFIX = "balancer_"
_BOUNDS = (*(repr(bound) for bound in BUCKETS), "+Inf")
_SPECIAL = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


class Family:
    """One metric with all its series. Label values are given in the order of `labels`, and shown by name."""

    __slots__ = ("_lines", "_order", "_series", "name")

    def __init__(self, name: str, kind: str, text: str, labels: Sequence[str]) -> None:
        self.name = name
        self._order = sorted(range(len(labels)), key=labels.__getitem__)
        inner = ",".join(f'{labels[index]}="%s"' for index in self._order)
        self._series = f"{name}{{{inner}}} " if inner else f"{name} "
        self._lines = [f"# HELP {name} {text}\n# TYPE {name} {kind}\n"]

    def add(self, labels: Sequence[str], value: float) -> None:
        """Add a series. The values of labels may hold any characters."""
        self._lines.append(f"{self._series % self._values(labels)}{value + 0}\n")  # True + 0 is 1

    def text(self) -> str:
        """HELP, TYPE and the series."""
        return "".join(self._lines)

    def _values(self, labels: Sequence[str]) -> tuple[str, ...]:
        return tuple([labels[index].translate(_SPECIAL) for index in self._order])


class Histogram(Family):
    """A histogram over `columns.BUCKETS`."""

    __slots__ = ("_buckets", "_count", "_sum")

    def __init__(self, name: str, text: str, labels: Sequence[str]) -> None:
        super().__init__(name, "histogram", text, labels)
        inner = "".join(f'{labels[index]}="%s",' for index in self._order)
        self._buckets = f'{name}_bucket{{{inner}le="'
        self._sum = self._series.replace(name, f"{name}_sum", 1)
        self._count = self._series.replace(name, f"{name}_count", 1)

    def observe(self, labels: Sequence[str], counts: Sequence[int], seconds: float) -> None:
        """Add the series of one histogram: counts per bucket, not cumulated, the last one for all above, and
        the values' sum."""
        values = self._values(labels)
        head = self._buckets % values
        cumulated = list(accumulate(counts))
        self._lines += [
            f'{head}{bound}"}} {count}\n' for bound, count in zip(_BOUNDS, cumulated, strict=True)
        ]
        self._lines.append(f"{self._count % values}{cumulated[-1]}\n{self._sum % values}{seconds}\n")


def counter(name: str, text: str, labels: Sequence[str] = ()) -> Family:
    """A counter; its series end in `_total`, which `name` leaves out."""
    return Family(f"{_PREFIX}{name}_total", "counter", text, labels)


def gauge(name: str, text: str, labels: Sequence[str] = ()) -> Family:
    """A gauge."""
    return Family(_PREFIX + name, "gauge", text, labels)


def histogram(name: str, text: str, labels: Sequence[str] = ()) -> Histogram:
    """A histogram; `observe` fills it."""
    return Histogram(_PREFIX + name, text, labels)


def info(name: str, text: str, labels: dict[str, str]) -> Family:
    """A gauge that is always 1 and tells by its labels; its series ends in `_info`."""
    family = Family(f"{_PREFIX}{name}_info", "gauge", text, tuple(labels))
    family.add(tuple(labels.values()), 1)
    return family


def render(families: Iterable[Family]) -> bytes:
    """The exposition. Takes long where there are many upstreams: call it in a thread."""
    return "".join([family.text() for family in families]).encode()
