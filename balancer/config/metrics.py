"""Settings of the metrics (L1)."""

from itertools import pairwise
from typing import Annotated

from pydantic import AfterValidator, Field

from balancer.config.durations import format_duration
from balancer.config.group import Group
from balancer.config.types import CommaList, Duration
from balancer.edges import DEFAULT


def _check_buckets(bounds: tuple[float, ...]) -> tuple[float, ...]:
    if not bounds:
        raise ValueError("has no bound; write 100ms,250ms,1s, or leave it out for the default ones")
    if bounds[0] == 0:
        raise ValueError("has the bound 0, up to which nothing can be; remove it")
    for below, above in pairwise(bounds):
        if above <= below:
            text = f"has {format_duration(above)} after {format_duration(below)}"
            raise ValueError(f"{text}; write each bound once, in ascending order")
    return bounds


class MetricsSettings(Group):
    """What `/metrics` shows."""

    buckets: Annotated[tuple[Duration, ...], AfterValidator(_check_buckets), CommaList] = Field(
        default=DEFAULT,
        description="Upper bounds of the histograms' buckets, ascending; the latencies of SLOs are added.",
    )
