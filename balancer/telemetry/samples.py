"""What the supervisor knows besides the segment's counts, taken at one moment for a scrape (L2).

Plain tuples, since a snapshot of 1,000 upstreams is taken on the event loop and has to be cheap there; the
rendering in a thread then never touches what the loop goes on changing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class WorkerSample(NamedTuple):
    """One worker slot."""

    slot: int
    up: bool
    restarts: int
    cpu_seconds: float  # of all incarnations of the slot
    resident_bytes: int
    open_fds: int


class UpstreamSample(NamedTuple):
    """One upstream's state."""

    pool: str
    upstream: str
    admin_state: str
    ejected: bool
    on_probation: bool
    unchecked: bool
    eligible: bool  # by its states; panic does not count
    effective_weight: float
    changes: Mapping[tuple[str, str], int]  # (to, cause) -> how often
    checks: Mapping[str, int] | None  # result -> how many active checks; None where they are off


class PoolSample(NamedTuple):
    """One upstream pool's state."""

    pool: str
    eligible: int
    panic: bool
    on_backup: bool
    overloaded: bool
    ejections: Mapping[str, int]  # cause -> how often
    ejections_skipped: Mapping[str, int]  # reason -> how often
    check_durations: Sequence[int]  # a histogram: counts per bucket, not cumulated
    check_seconds: float  # their sum


@dataclass(frozen=True, slots=True)
class FleetSample:
    """All pools and upstreams."""

    pools: Sequence[PoolSample]
    upstreams: Sequence[UpstreamSample]
