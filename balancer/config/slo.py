"""Settings of promises (L1): how fast and how reliably requests are to be answered (docs/slo.md)."""

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer

from balancer.config.group import Group
from balancer.config.types import Duration, Number
from balancer.config.written import plain

_SHARE = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,6})?)\s*(%?)")
_SHORTEST = 0.001  # seconds
_LONGEST = 3600.0


def parse_share(value: object) -> float:
    """A share from `1%`, `0.5%` or `0.01`."""
    text = plain(value)
    match = _SHARE.fullmatch(text)
    if match is None:
        raise ValueError("is not a share; write 1% or 0.01")
    share = float(match[1]) / 100 if match[2] else float(match[1])
    if share >= 1:
        raise ValueError(f"is {share:.0%} of all requests; write a smaller share, such as 1% or 0.01")
    if share == 0:
        raise ValueError(
            "leaves nothing that could be spent on a failure; write a share above 0, such as 0.01%"
        )
    return share


def format_share(share: float) -> str:
    """What `parse_share` reads back as `share`."""
    return f"{share * 100:.10g}%"


def _check_latency(seconds: float) -> float:
    if seconds and not _SHORTEST <= seconds <= _LONGEST:
        raise ValueError("is not between 1ms and 1h; write a time such as 300ms, or 0 for no promise")
    return seconds


Latency = Annotated[Duration, AfterValidator(_check_latency)]
Percentile = Annotated[Number, Field(ge=50, le=99.999, allow_inf_nan=False)]
Share = Annotated[float, BeforeValidator(parse_share), PlainSerializer(format_share, when_used="json")]
Window = Annotated[Duration, Field(ge=3600)]


class SloSettings(Group):
    """What is promised for the requests that a pool serves."""

    latency: Latency = Field(
        default=0.0,
        description="Time within which the response to a request is promised to begin, with waits and "
        "retries. 0 = nothing is promised.",
    )
    percentile: Percentile = Field(
        default=95.0, description="Percentage of the requests that `LATENCY` is promised for."
    )
    errors: Share = Field(
        default=0.01,
        description="Share of the requests that may fail: 5xx, and responses that broke off.",
    )
    window: Window = Field(default=30 * 86400.0, description="Time over which both shares are promised.")


class OwnSlo(Group):
    """What a route promises itself; what is unset is as for its pool."""

    latency: Latency | None = None
    percentile: Percentile | None = None
    errors: Share | None = None
    window: Window | None = None
