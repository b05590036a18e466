"""What the admin application sees of the instance (L6): a protocol and records, not its own objects."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol, TypeAlias

from balancer.admin.explained import Explanations
from balancer.config.exported import Exported
from balancer.edges import STANDARD
from balancer.overview.shape import ChangesShape, OverviewShape
from balancer.overview.stream import Listener
from balancer.telemetry.events import EventLog

MOST_READ_ONLY = 3600.0  # seconds for which a route may serve no changes
MOST_TTL = 86_400  # seconds for which an upstream may be registered
REGISTERED = "registered"  # the source of upstreams that have registered themselves


@dataclass(frozen=True, slots=True)
class CheckView:
    """The last active check of an upstream."""

    time: str  # when it ended, ISO 8601 in UTC
    passed: bool
    result: str  # `health.result.Result`
    status: int | None  # None without a response
    seconds: float
    text: str  # what happened
    hint: str  # what to do about it, "" if it passed


@dataclass(frozen=True, slots=True)
class OutlierView:
    """The ejection of an upstream by outlier detection."""

    until: str  # its end, ISO 8601 in UTC; in the past if the upstream is on probation
    in_a_row: int  # the number of this ejection in a row


@dataclass(frozen=True, slots=True)
class OverloadView:
    """The overload of a pool."""

    since: str  # ISO 8601 in UTC
    served_per_second: float  # in the last two seconds
    refused_per_second: float
    left_per_second: float  # requests whose client left while they waited


def moment(seconds: float) -> str:
    """Seconds since the epoch as ISO 8601 in UTC, as in the access log."""
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.removesuffix("+00:00") + "Z"


def _no_durations() -> list[int]:
    return [0] * STANDARD.width


@dataclass(frozen=True, slots=True)
class UpstreamView:
    """One upstream now. Counts are sums over all workers since the upstream was added to the instance."""

    id: str
    address: str  # IP address and port, "" while its name has not resolved
    source: str  # the entry of UPSTREAMS by which discovery found it, "" if it is named there itself
    admin_state: str
    announced: bool  # whether it is draining because its active check announced it
    causes: list[str]  # of its ejection, empty if it is not ejected
    outlier: OutlierView | None  # if outlier detection has ejected it, or it is on probation
    on_probation: bool
    unchecked: bool
    eligible: bool
    weight: int
    effective_weight: float
    backup: bool  # used only if no other upstream is eligible
    max_inflight: int  # requests it may have at once, 0 for no cap
    last_check: CheckView | None
    server_name: str = ""  # whom it must prove to be, by TLS; "" for plain HTTP
    until_restart: bool = False  # operators have changed it, and a restart forgets that
    expires: str = ""  # when its registration ends, ISO 8601 in UTC; "" if it has none
    # Counted by workers; these defaults hold until the segment has been summed.
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
    overload: OverloadView | None  # while it is overloaded
    queue_length: int  # requests that wait because all upstreams are full; counted by workers
    queue_rejected: dict[str, int]  # reason -> requests that got no slot; counted by workers
    queue_abandoned: int  # requests whose client left while they waited; counted by workers
    upstreams: list[UpstreamView]


@dataclass(frozen=True, slots=True)
class AcmeView:
    """The orders of an automatic certificate."""

    state: str  # awaited (a self-signed one serves), issued, ordering, or failed
    next_order: str  # ISO 8601 in UTC
    failures: int  # in a row
    error: str  # of the last order, in the authority's words if it has said something; "" for none


@dataclass(frozen=True, slots=True)
class CertificateView:
    """A certificate of the TLS listener, the first of which is the default, or of pools."""

    name: str  # such as its file
    names: list[str]  # DNS names and IP addresses that it is for
    issuer: str
    not_after: str  # its end, ISO 8601 in UTC
    problem: str  # why its changed files are not used, "" for no problem
    acme: AcmeView | None = None  # if it is an automatic one
    pools: list[str] = field(default_factory=list)  # whose upstreams it is shown to; empty: clients


@dataclass(frozen=True, slots=True)
class Change:
    """An operator's change to an upstream; None leaves a value as it is."""

    admin_state: str | None = None
    weight: int | None = None


@dataclass(frozen=True, slots=True)
class LiveChange:
    """How an upstream differs from the settings; None for no difference."""

    pool: str
    upstream: str
    admin_state: str | None
    weight: int | None
    added: bool  # it is not in the settings at all
    by: str  # who has made the last change
    at: str  # and when, ISO 8601 in UTC


@dataclass(frozen=True, slots=True)
class SplitChange:
    """The weights of a split route, which are not those of the settings."""

    route: str
    weights: dict[str, int]
    by: str
    at: str


@dataclass(frozen=True, slots=True)
class GateWish:
    """What a change of a split must hold: for `hold` seconds, without one of the conditions in `abort_if`."""

    hold: float
    abort_if: str


@dataclass(frozen=True, slots=True)
class GateView:
    """A change that is being watched."""

    number: int  # of the change: those of the route that were watched are counted from 1 on
    abort_if: list[str]
    hold: float  # seconds
    passed: float  # of them; without enough requests on both sides time does not count
    back_to: dict[str, int]  # the last weights that were not being watched
    waiting: str  # why time does not count now, "" if it does


@dataclass(frozen=True, slots=True)
class GateEnd:
    """How the last change that was watched has ended."""

    number: int
    result: str  # held, breached (the weights before are back), or replaced by another change
    why: str  # one sentence; "" if it has held


@dataclass(frozen=True, slots=True)
class SloView:
    """What is promised for requests, and how it was kept in a window of time."""

    latency: float  # seconds within which the response to `percentile` of them begins
    percentile: float  # 95.0
    errors: float  # the share of them that may fail
    slow_share: float | None  # of the `n`, later than `latency`; None without any
    failed_share: float | None  # of the `n`
    met: bool | None  # None if `n` is too small to tell
    n: int  # requests whose response has begun


@dataclass(frozen=True, slots=True)
class SloCounts:
    """What is promised for the requests of a side, and how it was kept since the start of the instance."""

    latency: float  # seconds within which the response to `percentile` of them begins
    percentile: float  # 95.0
    errors: float  # the share of them that may fail
    window: float  # seconds over which this is promised
    requests: int  # those whose response has begun
    slow: int  # of these, later than `latency`
    failed: int


@dataclass(frozen=True, slots=True)
class SideView:
    """A pool of a route now. Counts are sums over all workers since the start of the instance."""

    pool: str  # "" if the route answers by itself
    weight: int
    inflight: int
    requests: int
    codes: dict[str, int]  # status code -> responses, zeros left out
    broken_off: int  # of these, responses reset after their head; not if the client left
    duration_buckets: list[int]  # per bound, not cumulated; from the request's head to the last byte
    duration_sum: float  # seconds
    first_byte_buckets: list[int]  # from the request's head to the response's first byte
    retries: int
    eligible: int  # upstreams
    slo: SloCounts | None = None  # None if nothing is promised


@dataclass(frozen=True, slots=True)
class RouteView:
    """One route, in the order in which they are tried."""

    name: str
    split: bool
    sides: list[SideView]
    gate: GateView | None = None
    last_gate: GateEnd | None = None
    read_only: float = 0.0  # seconds for which it serves no changes


@dataclass(frozen=True, slots=True)
class SettingChange:
    """A setting that a reload changes; values as in a settings file, None for none, secrets masked."""

    setting: str  # "pools.api.retry.max_attempts"
    before: str | None
    after: str | None
    how: str  # live, new_workers, or restart: only a new instance takes it up


@dataclass(frozen=True, slots=True)
class MemberChange:
    """An entry of UPSTREAMS that a reload adds, removes, or changes."""

    pool: str
    id: str
    change: str  # added, removed, changed
    before: str | None  # as in UPSTREAMS
    after: str | None


@dataclass(frozen=True, slots=True)
class ReloadView:
    """What a reload has done, or would do."""

    result: str  # applied, unchanged, or would_apply
    how: str  # live, new_workers, or nothing
    changes: list[SettingChange]
    members: list[MemberChange]
    from_environment: list[str]  # variables that are set: no reload changes these settings
    problems: list[str]  # what went wrong although it is in force; empty if nothing did
    revision: int
    seconds: float


@dataclass(frozen=True, slots=True)
class ReplaceView:
    """The program that serves instead, started in `seconds`; this one drains."""

    pid: int
    seconds: float


class NotReloadedError(Exception):
    """The settings are not taken up: one sentence for each problem. `result`: `refused`, as they are wrong,
    or `taken_back`, as no worker can work by them."""

    def __init__(self, result: str, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.result = result
        self.problems = list(problems)


Wanted: TypeAlias = Callable[[], None]


def wanted_anyway() -> None:
    """For what nobody asks for under a condition."""


class RefusedError(Exception):
    """The operator's change is not possible: one sentence with the reason, and what can be done."""


class Overviews(Protocol):
    """What the dashboard shows; call it on its event loop."""

    async def now(self, changes: ChangesShape) -> OverviewShape:
        """The present overview, for one who may make these changes."""

    async def history(self, only: str | None) -> Mapping[str, Any]:
        """The last thirty minutes, of everything or of `only` one: `route:web`, `pool:api`."""

    async def listen(self, changes: ChangesShape) -> Listener | None:
        """Listen from now on, until `leave`; None if too many do."""

    def leave(self, listener: Listener) -> None:
        """Listen no more."""

    def close(self) -> None:
        """End all streams."""


class Instance(Protocol):
    """The running instance; call it on its event loop."""

    @property
    def overviews(self) -> Overviews:
        """What the dashboard shows."""

    @property
    def explanations(self) -> Explanations:
        """Which way requests took, and why."""

    @property
    def started(self) -> float:
        """Its start, in seconds since the epoch: revisions of events restart with it."""

    @property
    def events(self) -> EventLog:
        """The last state changes."""

    @property
    def config(self) -> Exported:
        """The effective settings."""

    @property
    def bounds(self) -> Sequence[float]:
        """Those of the buckets of all histograms, in seconds; a reload may change them."""

    @property
    def revision(self) -> int:
        """Of what operators have set: each of their changes raises it, health and traffic do not."""

    def audit(self, pool: str, upstream: str | None, by: str, text: str) -> None:
        """Record what the operator `by` has asked for, and how it went. `pool` is "" for a route."""

    def change(self, pool: str, upstream: str, change: Change, by: str) -> None:
        """Apply the operator's change. Raises LookupError if the upstream does not exist any more."""

    def add(self, pool: str, upstream: str, by: str) -> str:
        """Add an upstream, written like an entry of UPSTREAMS; returns its id. If it is there already, with
        these options, nothing changes. Raises RefusedError."""

    def register(self, pool: str, upstream: str, seconds: int, by_app: bool) -> tuple[str, bool]:
        """Add an upstream for `seconds`, or prolong its time; returns its id, and whether it is new.
        `by_app`: it has the pool's token. Raises RefusedError."""

    def deregister(self, pool: str, upstream: str) -> None:
        """Remove an upstream that its app has registered: no change by an operator."""

    def remove(self, pool: str, upstream: str, by: str) -> None:
        """Remove an added upstream. Raises RefusedError for others, KeyError if it does not exist."""

    def forget(self, by: str) -> None:
        """Make everything as in the settings again."""

    @property
    def replacing(self) -> bool:
        """Whether the program is being replaced: no change is accepted meanwhile."""

    @property
    def keeps_changes(self) -> bool:
        """Whether the operators' changes survive a restart."""

    def live_changes(self) -> Sequence[LiveChange | SplitChange]:
        """The operator's changes, relative to the settings."""

    async def routes(self) -> list[RouteView]:
        """All routes; sums the stats segment, in a thread."""

    def split(self, route: str, weights: Mapping[str, int], gate: GateWish | None, by: str) -> None:
        """Divide a route's requests otherwise from now on. Raises RefusedError."""

    def set_read_only(self, route: str, seconds: float, by: str) -> None:
        """Serve no changes on a route for `seconds`; 0 ends it. Raises RefusedError."""

    async def reload(
        self, by: str, *, dry_run: bool = False, text: str | None = None, wanted: Wanted = wanted_anyway
    ) -> ReloadView:
        """Read the settings again, and take them up unless `dry_run`; `text` is that of a settings file to
        look at instead of the present one. `by`: who asks. `wanted` raises an exception if that is not so
        any more when it begins. Raises NotReloadedError."""

    async def replace(self, by: str, wanted: Wanted = wanted_anyway) -> ReplaceView:
        """Start the program anew in place of this one; `wanted` as for a reload. Raises RefusedError; this
        one goes on then."""

    def certificates(self) -> Sequence[CertificateView]:
        """The certificates of the TLS listener, the default first; empty if there is none."""

    def unready(self, strict: bool = False) -> list[str]:
        """One sentence for each reason why it should get no traffic; empty if it is ready. `strict`: also for
        each pool without an eligible upstream."""

    async def pools(self) -> list[PoolView]:
        """The state of all pools; sums the stats segment, in a thread."""

    def names(self) -> Mapping[str, Collection[str]]:
        """The ids of the upstreams of each pool; a live view."""

    def upstream(self, pool: str, upstream: str) -> UpstreamView:
        """The state of one upstream, computed for it alone. Raises KeyError if there is none."""

    async def scrape(self) -> bytes:
        """The metrics in Prometheus' text format; rendered in a thread."""

    def failures(self) -> Sequence[Mapping[str, Any]]:
        """The last errors answered here, newest first; `docs/admin.md` describes their fields."""
