"""Whether counters only rise, from one scrape of /metrics to the next."""

from collections.abc import Mapping

SUFFIXES = ("_total", "_bucket", "_count", "_sum")


def parse(text: str) -> dict[str, float]:
    """The counters of a scrape: series and value. Gauges are left out, by their names."""
    found = {}
    for line in text.splitlines():
        series, _, value = line.rpartition(" ")
        if not line.startswith("#") and series.partition("{")[0].endswith(SUFFIXES):
            found[series] = float(value)
    return found


def fallen(before: Mapping[str, float], after: Mapping[str, float]) -> list[str]:
    """A sentence for each series of both that is lower than it was."""
    return [
        f"{series} fell from {value:g} to {after[series]:g}"
        for series, value in before.items()
        if series in after and after[series] < value
    ]
