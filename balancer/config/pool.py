"""The settings of a pool (L1). At the top of the tree they are the defaults of every pool."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    ValidationInfo,
    field_validator,
)

from balancer.config.group import Group, MisfitError
from balancer.config.pool_groups import (
    AdaptiveSettings,
    HealthCheckSettings,
    KeepaliveSettings,
    OutlierSettings,
    RetrySettings,
)
from balancer.config.registration import RegistrationSettings
from balancer.config.route import RouteLimits, RouteTimeouts
from balancer.config.slo import SloSettings
from balancer.config.sticky import StickySettings
from balancer.config.types import CommaList, Count, Duration, JsonObject, Switch, check_hash_key
from balancer.config.upstream_spec import Spec, parse_upstream, refuse_duplicates
from balancer.config.upstream_tls import UpstreamTlsSettings

Upstream = Annotated[Spec, BeforeValidator(parse_upstream), PlainSerializer(str, when_used="json")]


class PoolTimeouts(Group):
    """Deadlines on the upstream's side."""

    connect: Duration = Field(default=1.0, description="Time to open a connection to an upstream.")


class PoolLimits(Group):
    """Limits on requests in flight at the upstreams of a pool, and on its queue."""

    max_inflight: Count = Field(
        default=0,
        ge=0,
        le=10_000_000,
        description="Requests in flight at one upstream, across all workers; more wait. 0 = no cap.",
    )
    queue_size: Count = Field(
        default=1000,
        ge=0,
        le=10_000_000,
        description="Requests of a pool that may wait while all upstreams are at their limits, divided "
        "among the workers; more get 503. 0 = no queue.",
    )
    queue_timeout: Duration = Field(
        default=5.0,
        ge=0.01,
        description="Time a request may wait before it gets 503; less if clients have been giving up "
        "sooner. A queue that grows, or has not been empty for that long, serves the newest "
        "first.",
    )


def refuse_idle_queue(limits: PoolLimits, adaptive: AdaptiveSettings) -> None:
    """Raise MisfitError for a queue in which no request can wait."""
    if limits.max_inflight or adaptive.enabled:
        return
    for name in ("queue_size", "queue_timeout"):
        if getattr(limits, name) != PoolLimits.model_fields[name].default:
            raise MisfitError(
                name,
                "has no effect: no request waits without LIMITS__MAX_INFLIGHT or ADAPTIVE__ENABLED; set one "
                "of them",
            )


def refuse_no_share(limits: PoolLimits, workers: int, names: Sequence[str], above: str = "") -> None:
    """Raise MisfitError for a limit for all workers together that is less than one for each. The error's path
    begins with `above`."""
    for name in names:
        value = getattr(limits, name)
        if 0 < value < workers:
            raise MisfitError(
                above + name,
                f"is less than one for each of the {workers} workers; raise it, or lower WORKERS",
            )


class OwnPoolTimeouts(RouteTimeouts, PoolTimeouts):
    """The deadlines that a pool may set itself, some of them for the routes to it."""


class OwnPoolLimits(RouteLimits, PoolLimits):
    """The limits that a pool may set itself, one of them for the routes to it."""


class PoolSettings(Group):
    """The upstreams of a pool, and how they are used and checked."""

    upstreams: Annotated[tuple[Upstream, ...], AfterValidator(refuse_duplicates), CommaList] = Field(
        description="The app replicas: `app1:8000,10.0.0.2:8000?weight=3,[::1]:8000`, by TLS "
        "`https://app3:8443`, `unix:/run/app.sock`, or one per address of a name: "
        "`dns://app:8000?refresh=2s&tls=true`; by SRV records: `srv://_http._tcp.app.example`; listed in a "
        "file: `file:///etc/balancer/members.yaml`; or by an installed source: `consul://web`. "
        "`?backup=true`: used only if no other is eligible, and for requests that failed at all others."
    )
    policy: str = Field(
        default="least_connections",
        min_length=1,
        description="How the upstream of a request is chosen: a name that `balancer policies` lists, or "
        "`module:attribute`.",
    )
    policy_options: JsonObject = Field(default={}, description="Options of the policy, a JSON object.")
    hash_key: Annotated[str, AfterValidator(check_hash_key)] = Field(
        default="client_ip",
        description="Key of policies that hash: `client_ip`, `header:NAME`, `cookie:NAME`, `query:NAME` "
        "or `path`.",
    )
    panic: Switch = Field(
        default=True,
        description="`on`: if no upstream is eligible, requests go to the ejected ones.",
    )
    slow_start: Duration = Field(
        default=0.0,
        description="Time over which the weight of an added or readmitted upstream rises from a tenth to "
        "full. 0 = at once.",
    )
    health_check: HealthCheckSettings = HealthCheckSettings()
    outlier: OutlierSettings = OutlierSettings()
    adaptive: AdaptiveSettings = AdaptiveSettings()
    sticky: StickySettings = StickySettings()
    keepalive: KeepaliveSettings = KeepaliveSettings()
    upstream_tls: UpstreamTlsSettings = UpstreamTlsSettings()
    retry: RetrySettings = RetrySettings()
    registration: RegistrationSettings = RegistrationSettings()
    slo: SloSettings = SloSettings()


class NamedPool(PoolSettings):
    """A pool under POOLS. What it does not set itself it has from the top of the tree, but for its upstreams
    and the token with which apps join them."""

    timeouts: OwnPoolTimeouts = OwnPoolTimeouts()
    limits: OwnPoolLimits = OwnPoolLimits()

    @field_validator("limits")
    @classmethod
    def _there_is_a_queue(cls, limits: OwnPoolLimits, info: ValidationInfo) -> OwnPoolLimits:
        refuse_idle_queue(limits, info.data.get("adaptive", AdaptiveSettings()))
        return limits
