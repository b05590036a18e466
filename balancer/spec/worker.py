"""The spec of a worker (L1): one frozen value, the same for all workers, in the units that workers use.

It crosses the control channel once, in `messages.Start`. It contains no state: no resolved address, no row,
no process. Each setting is declared both in the models of `config` and here; `runtime.blueprint` maps one to
the other, and a setting missing on either side is a type error there.
"""

from typing import Final, Literal, TypeAlias

from balancer.edges import DEFAULT
from balancer.spec.part import Part
from balancer.spec.tls import TlsSpec, UpstreamTlsSpec

Level: TypeAlias = Literal["debug", "info", "warning", "error"]
SameSite: TypeAlias = Literal["lax", "strict", "none"]
PolicyOption: TypeAlias = bool | int | float | str

_PATIENCE_NS: Final = 60_000_000_000  # if no shorter idle timeout is set
FOREVER_NS: Final = 1 << 62  # a deadline that never comes: what a timeout of 0 means


def patience(idle_ns: int) -> int:
    """How long a client may read nothing, for this idle timeout."""
    return min(idle_ns, _PATIENCE_NS)


class ListenerTimeouts(Part, frozen=True, kw_only=True):
    """In nanoseconds, FOREVER_NS = off. `patience_ns`: how long a client may read nothing of what is written
    to it outside of exchanges."""

    request_head_ns: int  # a head, from its first byte (or from the accept)
    client_idle_ns: int  # a keep-alive client between requests
    patience_ns: int


class RouteTimeouts(Part, frozen=True, kw_only=True):
    """In nanoseconds, FOREVER_NS = off."""

    first_byte_ns: int  # until the response head, from the start of the request or its body's last byte
    idle_ns: int  # between two reads of a body
    total_ns: int  # a whole exchange
    tunnel_idle_ns: int  # a tunnel in which neither side sends
    tunnel_drain_ns: int  # of a drain, until open tunnels are closed; 0: at once

    @property
    def patience_ns(self) -> int:
        """How long a client may read nothing of what is written to it."""
        return patience(self.idle_ns)


class Limits(Part, frozen=True, kw_only=True):
    """Sizes in bytes. `max_connections` is for all workers together, `connections_per_client` for each; 0 =
    unlimited."""

    max_connections: int
    connections_per_client: int
    header_bytes: int
    header_count: int
    uri_bytes: int


class ForwardedSpec(Part, frozen=True, kw_only=True):
    """Header fields that only a trusted proxy may send (`told`, `x-acme-*` for a prefix), and exceptions that
    are forwarded from every client (`kept`); in lower case."""

    told: tuple[str, ...]
    kept: tuple[str, ...]


class ListenerSpec(Part, frozen=True, kw_only=True):
    """A client listener and the rules for its requests. `name` is from the settings and labels metrics.
    `trusted_proxies` are networks."""

    name: str
    timeouts: ListenerTimeouts
    limits: Limits
    trusted_proxies: tuple[str, ...]
    forwarded: ForwardedSpec
    request_trailers: bool  # whether they are forwarded


class RetryRules(Part, frozen=True, kw_only=True):
    """`max_attempts` per request, including the first. `statuses`: responses that are retried on another
    upstream. `methods`: may be sent twice (RFC 9110 section 9.2.2). `replay_bytes` of a request body are kept
    for retries. The retry budget is `budget_ratio` of the requests plus `budget_floor` per second in each
    worker."""

    max_attempts: int
    statuses: frozenset[int]
    methods: frozenset[bytes]
    replay_bytes: int
    budget_ratio: float
    budget_floor: float


class MatchSpec(Part, frozen=True, kw_only=True):
    """What a route asks of a request; empty = anything. `hosts` are names, or `*.example.com` for the hosts
    below a domain. A request has the same path, or one of `path_prefixes`: `/api` is `/api` and what is below
    `/api/`. Header fields, query parameters and cookies are names with values, of which `*` is any. With
    `without_tls`, it does not match requests whose client speaks TLS, as a trusted proxy in front says."""

    hosts: tuple[str, ...] = ()
    path: str = ""
    path_prefixes: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    query: tuple[tuple[str, str], ...] = ()
    cookies: tuple[tuple[str, str], ...] = ()
    without_tls: bool = False


class SplitSpec(Part, frozen=True, kw_only=True):
    """How a route's requests are divided among its sides. `weights` are those of the settings, in their
    order. `key` is what names a user: `cookie` for our own cookie, called `cookie`, or a source as in
    `hash_key`. `fallback`: the users of a side that cannot serve go to the others. `keep`: a side of weight 0
    keeps the users it has."""

    weights: tuple[int, ...]
    key: str
    secret: bytes
    cookie: bytes
    fallback: bool
    keep: bool


class SideSpec(Part, frozen=True, kw_only=True):
    """A pool that serves requests of a route, and the rules for sending these again."""

    pool: str
    retry: RetryRules


class AnswerSpec(Part, frozen=True, kw_only=True):
    """A response that a route gives by itself. `location` is that of a redirect, with variables, else
    empty."""

    status: int
    location: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


class FieldsSpec(Part, frozen=True, kw_only=True):
    """Changes of header fields; values have variables."""

    set: tuple[tuple[str, str], ...] = ()
    add: tuple[tuple[str, str], ...] = ()
    remove: tuple[str, ...] = ()


class RewriteSpec(Part, frozen=True, kw_only=True):
    """How a route changes its requests: each of `prefixes` that a path has is replaced by `instead`, and Host
    by `host`, if that is not empty."""

    prefixes: tuple[str, ...] = ()
    instead: str = ""
    host: str = ""
    fields: FieldsSpec | None = None


class RouteSpec(Part, frozen=True, kw_only=True):
    """What happens to matching requests. The first route that matches a request is taken; the last one
    matches all. `sides` are the pools that serve them, several if there is a `split`; without one they get
    `answer`, or if that is None too, 404. `rewrite` and `response` are None if nothing is changed.
    `body_bytes` is the size of a request body at most, 0 = unlimited."""

    name: str
    match: MatchSpec
    sides: tuple[SideSpec, ...]
    split: SplitSpec | None
    answer: AnswerSpec | None
    rewrite: RewriteSpec | None
    response: FieldsSpec | None
    timeouts: RouteTimeouts
    body_bytes: int


class PolicySpec(Part, frozen=True, kw_only=True):
    """The policy's name, and its options, in the order of their names."""

    name: str
    options: tuple[tuple[str, PolicyOption], ...]


class KeepaliveSpec(Part, frozen=True, kw_only=True):
    """`max_idle` per upstream and worker; times in nanoseconds; `max_requests` and `max_lifetime_ns` 0 =
    unlimited. `learn`: stay below the upstream's own idle timeout."""

    max_idle: int
    idle_timeout_ns: int
    max_requests: int
    max_lifetime_ns: int
    learn: bool


class QueueSpec(Part, frozen=True, kw_only=True):
    """The queue while all upstreams are full: `size` for all workers together, `timeout` in seconds."""

    size: int
    timeout: float


class AdaptiveSpec(Part, frozen=True, kw_only=True):
    """Bounds of adaptive concurrency limits, in requests in flight, for all workers together."""

    min_limit: int
    max_limit: int


class OutlierSpec(Part, frozen=True, kw_only=True):
    """How many consecutive failures make an outlier, counted in each worker separately."""

    consecutive_5xx: int
    consecutive_failures: int


class StickySpec(Part, frozen=True, kw_only=True):
    """The cookie that pins a client to its upstream. `app_cookie` is the app's own cookie that carries the
    pin instead, empty if ours does. `max_age` in seconds, 0 = a session cookie."""

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
    """How a worker uses the upstreams of a pool; None = feature off.

    `connect` is the timeout of connects, in seconds, None for the kernel's. `hash_key` is in the syntax of
    the setting. `panic`: use ejected upstreams if none is eligible. `slow_start_ns` 0 = none.
    """

    name: str
    connect: float | None
    policy: PolicySpec
    hash_key: str
    panic: bool
    slow_start_ns: int
    keepalive: KeepaliveSpec
    tls: UpstreamTlsSpec
    retry: RetryRules
    queue: QueueSpec | None
    adaptive: AdaptiveSpec | None
    outlier: OutlierSpec | None
    sticky: StickySpec | None


class AccessLogSpec(Part, frozen=True, kw_only=True):
    """`sample` is the share logged of requests without trouble, 0.0 to 1.0; `fields` are those of a line, in
    their order, unless the `format` has its own (`telemetry.access_log.FORMATS`)."""

    enabled: bool
    sample: float
    fields: tuple[str, ...]
    format: str = "json"


class TracesSpec(Part, frozen=True, kw_only=True):
    """`sample` is the share of the traces begun here that are recorded, 0.0 to 1.0."""

    sample: float


class WorkerSpec(Part, frozen=True, kw_only=True):
    """The same for every worker. Values "for all workers together" are divided among `workers`. `via` is the
    name in the Via header, empty for no Via; `drain` is in seconds. `tls`: there is a TLS listener beside the
    plain one, with the same limits; its certificates may change (`messages.TlsUpdate`). `edges` are the
    bounds of histograms in seconds, in the order of their cells (`edges.Edges`). `traces` is None if they are
    off. `explain_sample` is the share of requests that are explained."""

    workers: int
    log_level: Level
    access_log: AccessLogSpec
    via: str
    drain: float
    listener: ListenerSpec
    routes: tuple[RouteSpec, ...]
    pools: tuple[PoolSpec, ...]
    tls: TlsSpec | None = None
    edges: tuple[float, ...] = DEFAULT
    explain_sample: float = 0.0
    traces: TracesSpec | None = None
