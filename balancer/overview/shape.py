"""The shape of the overview (L5): what `GET /api/overview` answers. Plain dicts, as their differences are
sent.

Times are ISO 8601 in UTC, durations ms, rates per second over the last ten seconds, shares 0 to 1. None: not
known, or nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

# "in" and "out" are no names of attributes.
RatesShape = TypedDict(
    "RatesShape",
    {
        "rps": float,
        "n": int,  # requests of the last ten seconds
        "errors": float | None,  # share of 5xx and of responses that broke off
        "client_errors": float | None,  # share of 4xx
        "p50": float | None,  # until responses began
        "p95": float | None,
        "p99": float | None,
        "in": float,  # bytes of request bodies
        "out": float,  # bytes of response bodies
    },
)


class SloShape(TypedDict):
    """A promise, and how it was kept in the last ten minutes or less."""

    latency: float
    percentile: float
    errors: float
    window: float  # seconds over which it is promised
    slow_share: float | None
    failed_share: float | None
    met: bool | None  # None: too few requests to tell
    n: int


class SideShape(TypedDict):
    """A pool that serves a route."""

    weight: int
    share: float | None
    eligible: int
    rates: RatesShape
    retries: float
    slo: SloShape | None


class RouteShape(TypedDict):
    """A route; its sides by pool, "" if it answers by itself."""

    split: bool
    read_only: bool
    rates: RatesShape
    slo: SloShape | None
    gate: Any  # a GateView
    last_gate: Any  # a GateEnd
    sides: Mapping[str, SideShape]


class CanLoseShape(TypedDict):
    """How many upstreams a pool can lose, by today's load against what the others have served. `n` is None if
    that is not known; `text` is for people."""

    n: int | None
    of: int
    text: str


class OverloadShape(TypedDict):
    """An overload of a pool; rates per second."""

    since: str
    served: float
    refused: float
    left: float


class UpstreamShape(TypedDict):
    """An upstream. `state` is active, draining, maintenance, ejected, probation or unchecked. `why` and
    `todo` are sentences, "" if nothing is wrong; `whose` says where the cause is: upstream, app, operator,
    network, balancer, or "" ."""

    address: str
    state: str
    eligible: bool
    causes: Sequence[str]
    since: str | None
    why: str
    todo: str
    whose: str
    until: str | None
    weight: int
    effective_weight: float
    backup: bool
    share: float | None  # of its pool's requests
    weight_share: float | None  # what its effective weight entitles it to
    inflight: int
    limit: int  # 0: none
    rates: RatesShape
    last_check: Any  # a CheckView


class PoolShape(TypedDict):
    """A pool. `rates` are those of its routes."""

    policy: str
    eligible: int
    total: int
    panic: bool
    on_backup: bool
    overload: OverloadShape | None
    rates: RatesShape
    inflight: int
    limit: int
    queue: int
    refused: float
    retries: float
    can_lose: CanLoseShape
    growth: None  # how much more it can take: not known yet
    problems: Mapping[str, str]
    upstreams: Mapping[str, UpstreamShape]


class WorkerShape(TypedDict):
    """A worker. `cpu` is a share of one core, None until two samples of it are there."""

    state: str
    cpu: float | None
    memory: int
    lag: float
    fds: int
    restarts: int


class FindingShape(TypedDict):
    """What people should know first: a sentence with figures, and what to do."""

    level: Literal["bad", "watch", "ok"]
    text: str
    todo: str
    pool: str | None
    upstream: str | None
    route: str | None
    since: str | None


class ChangesShape(TypedDict):
    """Whether the caller may change things: `loopback` (without a token), `token` (with the ADMIN_TOKEN), or
    `no`; and what to set if not."""

    allowed: Literal["loopback", "token", "no"]
    hint: str


class InstanceShape(TypedDict):
    """This instance; figures are of it alone."""

    name: str
    version: str
    build: str
    started: str
    revision: int
    changes: ChangesShape


class OverviewShape(TypedDict):
    """All of it. Findings are worst first, and never empty."""

    now: str
    instance: InstanceShape
    findings: Sequence[FindingShape]
    routes: Mapping[str, RouteShape]
    pools: Mapping[str, PoolShape]
    workers: Mapping[str, WorkerShape]
    certificates: Sequence[Any]
    events: Sequence[Any]
    failures: Sequence[Any]
