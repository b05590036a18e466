"""The settings `EXPLAIN__` (L1): which requests are explained."""

from pydantic import Field

from balancer.config.group import Group
from balancer.config.types import Number


class ExplainSettings(Group):
    """Explanations of requests: which way they took, and why."""

    sample: Number = Field(
        default=0.0,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Share of requests that are explained, from 0 to 1, beside those that failed or were "
        "sent again: `balancer explain`, docs/explain.md. At most 20 per second and worker.",
    )
