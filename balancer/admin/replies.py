"""What the admin API answers (L6), where that is not one of the records in `view`. Their schemas are in the
OpenAPI document."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from msgspec import Meta

from balancer.admin.explained import Summary, Watched
from balancer.admin.view import (
    CertificateView,
    GateEnd,
    GateView,
    LiveChange,
    PoolView,
    RouteView,
    SplitChange,
    UpstreamView,
)
from balancer.spec.explained import Explanation


@dataclass(frozen=True, slots=True)
class Alive:
    """All is well."""

    status: str


@dataclass(frozen=True, slots=True)
class Unready:
    """The instance should get no traffic."""

    status: str
    reasons: Sequence[str]


@dataclass(frozen=True, slots=True)
class Refusal:
    """The request was refused, or has failed."""

    error: str  # one sentence: what is wrong, and the remedy


@dataclass(frozen=True, slots=True)
class Stale:
    """Operators have changed something since the revision in `If-Match`."""

    error: str
    revision: int  # the present one


@dataclass(frozen=True, slots=True)
class Pools:
    """All pools. `first_byte_bounds` are those of the buckets, in seconds."""

    first_byte_bounds: Sequence[float]
    pools: Sequence[PoolView]


@dataclass(frozen=True, slots=True)
class Upstreams:
    """The upstreams of one pool."""

    upstreams: Sequence[UpstreamView]


@dataclass(frozen=True, slots=True)
class Routes:
    """All routes, in the order in which they are tried. `bounds` are those of the buckets, in seconds."""

    bounds: Sequence[float]
    routes: Sequence[RouteView]


@dataclass(frozen=True, slots=True)
class SplitView:
    """The weights of a split route, by pool."""

    route: str
    weights: Mapping[str, int]
    gate: GateView | None
    last_gate: GateEnd | None
    until_restart: bool  # a restart forgets changes


@dataclass(frozen=True, slots=True)
class Certificates:
    """The certificates, the default first."""

    certificates: Sequence[CertificateView]


@dataclass(frozen=True, slots=True)
class EventView:
    """A change of state."""

    revision: int
    time: str  # ISO 8601 in UTC
    kind: str
    pool: str
    upstream: str | None
    cause: str | None
    text: str
    by: str | None


@dataclass(frozen=True, slots=True)
class Events:
    """State changes, oldest first."""

    started: str  # of the instance, ISO 8601 in UTC
    last: int  # the revision of the newest event
    events: Sequence[EventView]


@dataclass(frozen=True, slots=True)
class AttemptView:
    """An attempt that failed."""

    upstream: str
    failure: str
    detail: str


@dataclass(frozen=True, slots=True)
class FailureView:
    """An error that the balancer answered. Null means unknown, as the request was not understood that far."""

    time: str  # ISO 8601 in UTC
    status: int
    reason: str
    source: str
    detail: str
    client: str
    method: str | None
    target: str | None
    host: str | None
    route: str | None
    pool: str | None
    request_id: str | None
    attempts: Sequence[AttemptView]


@dataclass(frozen=True, slots=True)
class Failures:
    """The last errors that the balancer answered, newest first."""

    failures: Sequence[FailureView]


@dataclass(frozen=True, slots=True)
class Explained:
    """All that is kept of the requests with this id, newest first: several, if a client has sent it again."""

    request_id: str
    explanations: Sequence[Explanation]


@dataclass(frozen=True, slots=True)
class Explaining:
    """What is explained from now on, how many explanations were left out as there were too many in a second,
    and the requests that are explained, newest first."""

    now: Watched
    left_out: int
    requests: Sequence[Summary]


ALSO = (LiveChange, SplitChange)  # named by schemas here, but not by types
_EITHER = [{"$ref": f"#/components/schemas/{kind.__name__}"} for kind in ALSO]


@dataclass(frozen=True, slots=True)
class Config:
    """The settings in force, where each was set, and what operators have changed since."""

    settings: Mapping[str, Any]
    origins: Mapping[str, str]
    # msgspec has no schema for a union of dataclasses.
    live_changes: Annotated[Sequence[Any], Meta(extra_json_schema={"items": {"anyOf": _EITHER}})]


@dataclass(frozen=True, slots=True)
class Steps:
    """The spacing of a series in seconds, and how many values it has."""

    step: int
    length: int


@dataclass(frozen=True, slots=True)
class History:
    """Series by what they are of and by name, values oldest first, null if not known; and the changes of
    state of upstreams by pool, as pairs of seconds since the epoch and a state. They end at `now`, seconds
    since the epoch."""

    now: float
    fine: Steps
    coarse: Steps
    series: Mapping[str, Mapping[str, Mapping[str, Sequence[float | None]]]]
    states: Mapping[str, Mapping[str, Sequence[Sequence[Any]]]]


@dataclass(frozen=True, slots=True)
class Forgotten:
    """How many changes are forgotten."""

    forgotten: int


@dataclass(frozen=True, slots=True)
class NotReloaded:
    """Why settings are not taken up; the present ones stay in force."""

    error: str
    result: str  # refused
    problems: Sequence[str]  # a sentence each
