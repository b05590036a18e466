"""From samples to figures: medians per row, ratios to a base, and whether a figure is valid."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from statistics import median

BASELINE = "nginx"
DISTURBED = 0.10  # if others use more than this share of the proxy's core, CPU figures are coarse
SATURATED = 0.95  # below this share of its core, requests/s is a figure of the load rather than of the proxy


class Figure(Enum):
    """A figure: its heading with the unit, the format, and the factor from what is kept (seconds, bytes)."""

    CPU = ("CPU µs/request", ".1f", 1e6)
    CPU_MESSAGE = ("CPU µs/message", ".1f", 1e6)
    CPU_MIB = ("CPU µs/MiB", ".0f", 1e6)
    RATE = ("requests/s", ",.0f", 1.0)
    MIB_RATE = ("MiB/s", ",.0f", 1.0)
    CORE = ("core", ".0%", 1.0)
    OTHERS = ("others", ".0%", 1.0)
    P50 = ("p50 ms", ".2f", 1e3)
    P99 = ("p99 ms", ".2f", 1e3)
    P99_IDLE = ("p99 ms, idle clients there", ".2f", 1e3)
    ALL_SERVED = ("s until all are served", ".2f", 1.0)
    MADE = ("upstream connections made", ",.0f", 1.0)
    REFUSED = ("refused", ",.0f", 1.0)
    P99_RATIO = ("p99, x without them", ".2f", 1.0)
    CLIENT = ("KiB per idle client", ".2f", 1 / 1024)
    STARTED = ("s to the first response", ".2f", 1.0)
    MEMORY = ("MiB at rest", ".1f", 1 / 1024**2)

    @property
    def heading(self) -> str:
        return self.value[0]

    def text(self, number: float) -> str:
        """The number in the heading's unit."""
        return format(number * self.value[2], self.value[1])


@dataclass(frozen=True, slots=True)
class Sample:
    """A row measured once. `failure` says why there are no figures."""

    row: str
    figures: Mapping[Figure, float]
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """The medians of a row's samples; a row with a failure has none.

    `ratio` compares the main figure with the base's, `spread` is the lowest and highest ratio of neighbouring
    samples. Both are None without a base.
    """

    name: str
    figures: Mapping[Figure, float]
    ratio: float | None = None
    spread: tuple[float, float] | None = None
    failure: str = ""

    @property
    def is_saturated(self) -> bool:
        """Whether requests/s is a figure of the proxy. CPU per request is always valid."""
        return self.figures.get(Figure.CORE, 1.0) >= SATURATED

    @property
    def is_disturbed(self) -> bool:
        """Whether others used so much of the core that, through caches, CPU per request suffers too."""
        return self.figures.get(Figure.OTHERS, 0.0) > DISTURBED


def summarise(samples: Sequence[Sample], main: Figure, base_of: Callable[[str], str]) -> list[Row]:
    """One row per name, in the order in which they first ran."""
    by_name: dict[str, list[Sample]] = {}
    for one in samples:
        by_name.setdefault(one.row, []).append(one)
    return [_row(name, own, main, by_name.get(base_of(name), [])) for name, own in by_name.items()]


def _row(name: str, own: Sequence[Sample], main: Figure, base: Sequence[Sample]) -> Row:
    failure = next((one.failure for one in own if one.failure), "")
    if failure:
        return Row(name, {}, failure=failure)
    figures = {figure: median(one.figures[figure] for one in own) for figure in own[0].figures}
    # Neighbouring samples are compared, so that a disturbance of the machine affects both.
    pairs = [
        a.figures[main] / b.figures[main]
        for a, b in zip(own, base, strict=False)
        if b.figures.get(main, 0.0) > 0
    ]
    if not pairs or len(pairs) < len(own):
        return Row(name, figures)
    ratio = figures[main] / median(one.figures[main] for one in base)
    return Row(name, figures, ratio, (min(pairs), max(pairs)))
