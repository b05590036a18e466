"""What a worker is (L1): one frozen value, the same for all of an instance, in the units that workers use.

It crosses the control channel once, in `messages.Start`. Nothing in it is state: no address that was looked
up, no row, no process. Each setting is declared in the models of `config` and here, and `runtime.blueprint`
joins the two: one that is missing on either side is a type error there.
"""

from typing import Literal, TypeAlias

from balancer.spec.part import Part

Level: TypeAlias = Literal["debug", "info", "warning", "error"]
SameSite: TypeAlias = Literal["lax", "strict", "none"]
PolicyOption: TypeAlias = bool | int | float | str

_PATIENCE_NS = 60_000_000_000  # where no shorter idle timeout is set
FOREVER_NS = 1 << 62  # a deadline that never comes: what a timeout of 0 means


class Timeouts(Part, frozen=True, kw_only=True):
    """In nanoseconds, FOREVER_NS where off; but for `connect`, in seconds, None where off."""

    connect: float | None  # a connection to an upstream
    first_byte_ns: int  # the response's head: from the request's start, or its body's last byte
    idle_ns: int  # between two pieces of a body
    total_ns: int  # a whole exchange
    request_head_ns: int  # a head, from its first byte (or from the accept)
    client_idle_ns: int  # a keep-alive client between requests
    tunnel_idle_ns: int  # a tunnel in which neither side speaks

    @property
    def patience_ns(self) -> int:
        """How long a client may take nothing of what is written to it."""
        return min(self.idle_ns, _PATIENCE_NS)


class Limits(Part, frozen=True, kw_only=True):
    """Sizes in bytes; `body_bytes` 0 means no bound. `max_connections` is for all workers together,
    `connections_per_client` for each; 0 means no bound there."""

    max_connections: int
    connections_per_client: int
    header_bytes: int
    header_count: int
    uri_bytes: int
    body_bytes: int


class ForwardedSpec(Part, frozen=True, kw_only=True):
    """Header fields that only a trusted proxy may send (`told`, `x-acme-*` for all that begin so), and those
    of them that are passed on from everybody (`kept`); in lower case."""

    told: tuple[str, ...]
    kept: tuple[str, ...]


class ListenerSpec(Part, frozen=True, kw_only=True):
    """Where clients connect, and what holds for what they send. `name` is the setting, the label of metrics.
    `trusted_proxies` are networks."""

    name: str
    timeouts: Timeouts
    limits: Limits
    trusted_proxies: tuple[str, ...]
    forwarded: ForwardedSpec
    request_trailers: bool  # are passed on


class RouteSpec(Part, frozen=True, kw_only=True):
    """What is served by which pool. The first route that matches a request is taken."""

    name: str
    pool: str


class PolicySpec(Part, frozen=True, kw_only=True):
    """The policy's name, and its options, in the order of their names."""

    name: str
    options: tuple[tuple[str, PolicyOption], ...]


class KeepaliveSpec(Part, frozen=True, kw_only=True):
    """`max_idle` per upstream and worker; times in nanoseconds; 0 in `max_requests` and `max_lifetime_ns`
    means no bound. `learn`: keep below the upstream's own idle timeout."""

    max_idle: int
    idle_timeout_ns: int
    max_requests: int
    max_lifetime_ns: int
    learn: bool


class RetryRules(Part, frozen=True, kw_only=True):
    """`max_attempts` per request, the first one included. `statuses` of an upstream's answer that another one
    is asked instead. `methods` that may be sent twice (RFC 9110 section 9.2.2). `replay_bytes` of a request's
    body are kept for sending it again. The budget: `budget_ratio` of the requests, and `budget_floor` a
    second in each worker."""

    max_attempts: int
    statuses: frozenset[int]
    methods: frozenset[bytes]
    replay_bytes: int
    budget_ratio: float
    budget_floor: float


class QueueSpec(Part, frozen=True, kw_only=True):
    """Requests that wait while all upstreams are full: how many in all workers, and for how many seconds."""

    size: int
    timeout: float


class AdaptiveSpec(Part, frozen=True, kw_only=True):
    """Bounds of the limits that find themselves, in requests in flight, for all workers together."""

    min_limit: int
    max_limit: int


class OutlierSpec(Part, frozen=True, kw_only=True):
    """How many in a row make a suspect, counted by each worker for itself."""

    consecutive_5xx: int
    consecutive_failures: int


class StickySpec(Part, frozen=True, kw_only=True):
    """The cookie that pins a client to its upstream. `app_cookie` is the app's own that carries the pin
    instead, empty where ours does. `max_age` in seconds, 0 for the browser's session."""

    secret: bytes
    app_cookie: bytes
    cookie: bytes
    path: str
    domain: str
    max_age: int
    secure: bool
    http_only: bool
    same_site: SameSite


class PoolSpec(Part, frozen=True, kw_only=True):
    """How a worker uses the upstreams of a pool; None is what there is not.

    `hash_key` is as the setting has it. `panic`: use the ejected ones when none is eligible. `slow_start_ns`
    0 = none. `checked_within_ns`: active checks have ejected by then who answers nothing any more, 0 where
    there are none.
    """

    name: str
    policy: PolicySpec
    hash_key: str
    panic: bool
    slow_start_ns: int
    checked_within_ns: int
    keepalive: KeepaliveSpec
    retry: RetryRules
    queue: QueueSpec | None
    adaptive: AdaptiveSpec | None
    outlier: OutlierSpec | None
    sticky: StickySpec | None


class AccessLogSpec(Part, frozen=True, kw_only=True):
    """`sample` is the share of requests that are logged, 0.0 to 1.0."""

    enabled: bool
    sample: float


class WorkerSpec(Part, frozen=True, kw_only=True):
    """The same for every worker; `workers` of them share out what is "for all workers together". `via` is the
    name that Via tells, empty where it tells none; `drain` is in seconds."""

    workers: int
    log_level: Level
    access_log: AccessLogSpec
    via: str
    drain: float
    listener: ListenerSpec
    routes: tuple[RouteSpec, ...]
    pools: tuple[PoolSpec, ...]
