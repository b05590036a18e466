"""A finding (L5): what people should know, as a sentence with figures, and what to do."""

from typing import Literal, NamedTuple

from balancer.overview.shape import FindingShape

Level = Literal["bad", "watch", "ok"]


class Found(NamedTuple):
    """A finding with its place among others."""

    rank: int  # the lower, the worse
    finding: FindingShape


def found(
    rank: int,
    level: Level,
    text: str,
    todo: str,
    *,
    pool: str | None = None,
    upstream: str | None = None,
    route: str | None = None,
    since: str | None = None,
) -> Found:
    """Its members are those of the answer."""
    finding: FindingShape = {
        "level": level,
        "text": text,
        "todo": todo,
        "pool": pool,
        "upstream": upstream,
        "route": route,
        "since": since,
    }
    return Found(rank, finding)


def rate(per_second: float) -> str:
    """`402`, `7.5`."""
    return f"{per_second:.1f}" if 0 < per_second < 10 else f"{per_second:,.0f}"
