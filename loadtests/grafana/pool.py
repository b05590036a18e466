"""One pool: which upstream is ill, since when, and what the balancer made of it."""

from loadtests.grafana.model import BLUE, RED, YELLOW, Dashboard, Query, Row
from loadtests.grafana.panels import (
    DASHED,
    NAMED_STATES,
    YES_OR_NO,
    heatmap,
    history,
    lines,
    number,
    state_of_upstreams,
    timeline,
)
from loadtests.grafana.pool_checks import CHECKS
from loadtests.grafana.queries import (
    ERRORS,
    POOL,
    UPSTREAM,
    highest,
    increase,
    lowest,
    occurring,
    or_zero,
    quantile,
    rate,
    share_of_all,
    total,
)
from loadtests.grafana.variables import COMMON, UPSTREAMS
from loadtests.grafana.variables import POOL as POOL_VARIABLE

_FIRST_BYTE = "balancer_upstream_first_byte_seconds"
_BY = "upstream"
_REQUESTS = rate("balancer_upstream_requests_total", UPSTREAM, _BY)
_ALL = highest("balancer_upstream_up", UPSTREAM, _BY)
_WEIGHT = f"avg by (upstream) (balancer_upstream_effective_weight{{{UPSTREAM}}} * balancer_upstream_up)"
_OF_POOL = rate("balancer_upstream_requests_total", POOL)
_WEIGHTS = f"sum(avg by (upstream) (balancer_upstream_effective_weight{{{POOL}}} * balancer_upstream_up))"

_NOW = Row(
    "Now",
    [
        number(
            "Serve",
            "Eligible upstreams, at the instance that has the fewest. 0: requests fail, or ejected ones "
            "are tried.",
            "none",
            Query(lowest("balancer_pool_eligible_upstreams", POOL), "eligible"),
            first=RED,
            steps=[(1, "green")],
        ),
        number(
            "Out",
            "Upstreams that get no requests at one instance or more.",
            "none",
            Query(f"count({lowest('balancer_upstream_up', POOL, _BY)} == 0) or vector(0)", "out"),
            steps=[(1, RED)],
        ),
        number(
            "In flight",
            "Requests that the upstreams work on now, over the selected instances.",
            "none",
            Query(total("balancer_upstream_inflight", POOL), "in flight"),
            first=BLUE,
        ),
        number(
            "Waiting",
            "Requests that wait for a slot now. A short queue is normal in a burst; a standing one is "
            "overload.",
            "none",
            Query(total("balancer_queue_length", POOL), "waiting"),
            steps=[(1, YELLOW)],
        ),
        number(
            "Overloaded",
            "The load is more than the upstreams can serve. Add replicas.",
            "none",
            Query(highest("balancer_pool_overloaded", POOL), "overloaded"),
            values=YES_OR_NO,
            steps=[(1, RED)],
        ),
        number(
            "On backup",
            "Backup upstreams are used because no other is eligible.",
            "none",
            Query(highest("balancer_pool_backup", POOL), "backup"),
            values=YES_OR_NO,
            steps=[(1, RED)],
        ),
    ],
)

_STATES = Row(
    "Upstreams",
    [
        timeline(
            "State of each upstream",
            "If instances differ, the most urgent state is shown. Ejected: by checks or by its own errors; "
            "`balancer status` says which.",
            NAMED_STATES,
            Query(state_of_upstreams(UPSTREAM, _BY), "{{upstream}}"),
            width=24,
        ),
        history(
            "95th percentile of the first byte, by upstream",
            "One row for each upstream: a red row among green ones is a slow replica, a red column is a "
            "slow app or what it depends on. No cell: no requests.",
            "s",
            Query(quantile(0.95, _FIRST_BYTE, UPSTREAM, _BY), "{{upstream}}"),
        ),
        heatmap(
            "Time to the first byte",
            "Responses by the time from the request sent to the first byte. Two bands are two kinds of "
            "requests, or a replica that is slower than the others.",
            "s",
            Query(increase(f"{_FIRST_BYTE}_bucket", UPSTREAM, "le"), "{{le}}", buckets=True),
        ),
        lines(
            "Share against weight",
            "Share of the pool's requests that each upstream gets, and that its weight is (dashed). "
            "Policies that go by load give a slow one less.",
            "percentunit",
            Query(or_zero(share_of_all(_REQUESTS, _OF_POOL), _BY, _ALL), "{{upstream}}"),
            Query(
                or_zero(share_of_all(_WEIGHT, _WEIGHTS), _BY, _ALL),
                "{{upstream}}: weight",
            ),
            overrides={"/: weight$/": DASHED},
        ),
        lines(
            "Failed responses",
            "Responses per second with 5xx, by upstream.",
            "reqps",
            Query(
                or_zero(rate("balancer_upstream_requests_total", f"{UPSTREAM}, {ERRORS}", _BY), _BY, _ALL),
                "{{upstream}}",
            ),
        ),
        lines(
            "Requests in flight",
            "Requests in flight at each upstream, and its limit (dashed, where one is in force).",
            "none",
            Query(total("balancer_upstream_inflight", UPSTREAM, _BY), "{{upstream}}"),
            Query(total("balancer_upstream_inflight_limit", UPSTREAM, _BY), "{{upstream}}: limit"),
            overrides={"/: limit$/": DASHED},
        ),
        lines(
            "Left by their clients",
            "Requests per second whose client left before a response began, by upstream. Many: it is too "
            "slow for them.",
            "reqps",
            Query(rate("balancer_upstream_abandoned_total", UPSTREAM, _BY), "{{upstream}}"),
        ),
    ],
)

_CONNECTIONS = Row(
    "Connections to the upstreams",
    [
        lines(
            "Opened and reused",
            "Connections opened per second, and requests sent on one that was kept. If most are opened, "
            "the app closes its connections too early.",
            "cps",
            Query(rate("balancer_upstream_connects_total", UPSTREAM), "opened"),
            Query(rate("balancer_upstream_connection_reuses_total", UPSTREAM), "reused"),
            width=8,
        ),
        lines(
            "Idle",
            "Idle keepalive connections, by upstream.",
            "none",
            Query(total("balancer_upstream_idle_connections", UPSTREAM, _BY), "{{upstream}}"),
            width=8,
        ),
        lines(
            "WebSocket tunnels",
            "WebSocket tunnels that are open now.",
            "none",
            Query(total("balancer_tunnels", POOL), "tunnels"),
            width=8,
        ),
        lines(
            "Closed",
            "Connections ended per second, by cause.",
            "cps",
            Query(
                occurring(rate("balancer_upstream_connection_closes_total", UPSTREAM, "reason"), "reason"),
                "{{reason}}",
            ),
        ),
        lines(
            "Could not be opened",
            "Connections per second that failed, by reason. `refused`: nothing listens there; `timeout`: "
            "nobody answers, or its backlog is full.",
            "cps",
            Query(rate("balancer_upstream_connect_failures_total", UPSTREAM, "reason"), "{{reason}}"),
        ),
    ],
)

POOL_DASHBOARD = Dashboard(
    "balancer-pool",
    "Balancer: a pool",
    "The upstreams of one pool: states, latency, load, checks, retries and connections.",
    [*COMMON, POOL_VARIABLE, UPSTREAMS],
    [_NOW, _STATES, CHECKS, _CONNECTIONS],
)
