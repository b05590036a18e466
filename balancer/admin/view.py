"""What the admin application sees of the instance (L6): asked for, never reached into."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from balancer.config.export import Exported
from balancer.telemetry.columns import HISTOGRAM_CELLS
from balancer.telemetry.events import EventLog


@dataclass(frozen=True, slots=True)
class CheckView:
    """The last active check of an upstream."""

    time: str  # when it ended, ISO 8601 in UTC
    passed: bool
    result: str  # `health.result.Result`
    status: int | None  # None where no response came
    seconds: float
    text: str  # what happened
    hint: str  # what to do about it, "" when it passed


@dataclass(frozen=True, slots=True)
class OutlierView:
    """The ejection of an upstream by live traffic."""

    until: str  # its end, ISO 8601 in UTC; past for one that is on probation
    in_a_row: int  # which ejection in a row it is


@dataclass(frozen=True, slots=True)
class OverloadView:
    """A pool has more to do than its upstreams can."""

    since: str  # ISO 8601 in UTC
    served_per_second: float  # in the last two seconds
    refused_per_second: float
    left_per_second: float  # by their clients, while they waited


def moment(seconds: float) -> str:
    """Seconds since the epoch as ISO 8601 in UTC, as the access log has it."""
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.removesuffix("+00:00") + "Z"


def _no_durations() -> list[int]:
    return [0] * HISTOGRAM_CELLS


@dataclass(frozen=True, slots=True)
class UpstreamView:
    """One upstream now. Counts are sums over all workers since the upstream came to the instance."""

    id: str
    address: str  # IP address and port, "" while its name has not resolved
    source: str  # the entry of UPSTREAMS that discovery found it by, "" where it is named itself
    admin_state: str
    announced: bool  # whether it is draining because its active check says so
    causes: list[str]  # of its ejection, none where it is not ejected
    outlier: OutlierView | None  # where it is ejected by live traffic, or on probation
    on_probation: bool
    unchecked: bool
    eligible: bool
    weight: int
    effective_weight: float
    backup: bool  # used only where no other upstream is eligible
    max_inflight: int  # requests it may have at once, 0 for no cap
    last_check: CheckView | None
    # Counted by workers; as they are here until the segment has been summed.
    inflight: int = 0
    inflight_limit: int = 0  # the limit in force, 0 for none
    idle_connections: int = 0
    requests: int = 0
    codes: dict[str, int] = field(default_factory=dict)  # status code -> responses, zeros left out
    connect_failures: dict[str, int] = field(default_factory=dict)  # reason -> dials, zeros left out
    first_byte_buckets: list[int] = field(default_factory=_no_durations)  # per bound, not cumulated
    first_byte_sum: float = 0.0  # seconds


@dataclass(frozen=True, slots=True)
class PoolView:
    """One upstream pool with its upstreams, in the order of the settings."""

    name: str
    policy: str
    panic: bool
    eligible: int
    problems: dict[str, str]  # discovery source -> why it does not resolve
    overload: OverloadView | None  # while more comes than can be done
    queue_length: int  # requests that wait because all upstreams are full; counted by workers
    queue_rejected: dict[str, int]  # reason -> requests that got no slot; counted by workers
    queue_abandoned: int  # requests whose client left while they waited; counted by workers
    upstreams: list[UpstreamView]


@dataclass(frozen=True, slots=True)
class Change:
    """What an operator wants of an upstream; None leaves it as it is."""

    admin_state: str | None = None
    weight: int | None = None


@dataclass(frozen=True, slots=True)
class LiveChange:
    """How an upstream differs from what the settings say; None where it does not."""

    pool: str
    upstream: str
    admin_state: str | None
    weight: int | None
    added: bool  # it is not in the settings at all


class RefusedError(Exception):
    """The operator's wish cannot be fulfilled: one sentence that says why, and what can be done."""


class Instance(Protocol):
    """The running instance, asked on its event loop."""

    @property
    def started(self) -> float:
        """When it began, seconds since the epoch: revisions of events begin anew with it."""

    @property
    def events(self) -> EventLog:
        """The last state changes."""

    @property
    def config(self) -> Exported:
        """The effective settings."""

    def change(self, pool: str, upstream: str, change: Change) -> None:
        """Do what the operator wants. Raises LookupError where the upstream is not there any more."""

    def add(self, pool: str, upstream: str) -> str:
        """Add an upstream, as an entry of UPSTREAMS spells it; gives its id. Raises RefusedError."""

    def remove(self, pool: str, upstream: str) -> None:
        """Take away an upstream that was added. Raises RefusedError for others, KeyError where it is gone."""

    def live_changes(self) -> Sequence[LiveChange]:
        """What the operator has changed, over what the settings say."""

    def unready(self, strict: bool = False) -> list[str]:
        """A sentence for each reason why it should get no traffic; none when ready. `strict`: also for each
        pool without an eligible upstream."""

    async def pools(self) -> list[PoolView]:
        """The state of all pools; sums the stats segment, in a thread."""

    def names(self) -> Mapping[str, Collection[str]]:
        """The ids of the upstreams of each pool; a live view."""

    def upstream(self, pool: str, upstream: str) -> UpstreamView:
        """The state of one upstream, at the cost of one. Raises KeyError where there is none."""

    async def scrape(self) -> bytes:
        """The metrics in Prometheus' text format; rendered in a thread."""

    def failures(self) -> Sequence[Mapping[str, Any]]:
        """The last errors made here, newest first; `docs/admin.md` names their fields."""
