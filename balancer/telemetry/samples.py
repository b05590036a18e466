"""A snapshot of the supervisor's own state for a scrape, beside the segment's counts (L2).

Plain tuples, as a snapshot of 1,000 upstreams is taken on the event loop and must be cheap; the rendering in
a thread never touches state that the loop changes.
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
    changes: Mapping[tuple[str, str], int]  # (to, cause) -> count
    checks: Mapping[str, int] | None  # result -> number of active checks; None if they are off


class PoolSample(NamedTuple):
    """One upstream pool's state."""

    pool: str
    eligible: int
    panic: bool
    on_backup: bool
    overloaded: bool
    ejections: Mapping[str, int]  # cause -> count
    ejections_skipped: Mapping[str, int]  # reason -> count
    check_durations: Sequence[int]  # the cells of a histogram
    check_seconds: float  # their sum


class SloSample(NamedTuple):
    """What is promised for the requests of a route that a pool serves, in seconds and shares, and how many
    there were so far, were slower than `latency`, and failed."""

    route: str
    pool: str
    latency: float
    percentile: float
    errors: float
    window: float
    requests: int
    slow: int
    failed: int


class CertificateSample(NamedTuple):
    """A certificate of the balancer, or the authorities of those of clients or upstreams."""

    name: str
    # From when and until when, in seconds since the epoch; None for authorities, and while it is self-signed.
    validity: tuple[float, float] | None
    reloads: Mapping[str, int]  # result -> number of changes of its files


class AcmeSample(NamedTuple):
    """The orders of an automatic certificate."""

    domain: str
    results: Mapping[str, int]  # result -> number of orders


class DiscoverySample(NamedTuple):
    """One name, or entry of UPSTREAMS, that finds a pool's upstreams."""

    pool: str
    source: str
    stale_seconds: float  # the age of what it found last; 0 while its last answer is good
    ok: int  # lookups, or looks at a file, with a good answer
    failed: int


@dataclass(frozen=True, slots=True)
class ReloadSample:
    """Reloads by result, and when the settings in force were read, in seconds since the epoch. `failed`: the
    last one was not taken up."""

    results: Mapping[str, int]
    failed: bool
    read_at: float


@dataclass(frozen=True, slots=True)
class FleetSample:
    """All pools, upstreams and certificates."""

    pools: Sequence[PoolSample]
    upstreams: Sequence[UpstreamSample]
    certificates: Sequence[CertificateSample] = ()
    acme: Sequence[AcmeSample] = ()
    reloads: ReloadSample | None = None
    discovery: Sequence[DiscoverySample] = ()
    spans: Mapping[str, int] | None = None  # by result; None if the instance has no traces
