"""The first dashboard: is it well, and if not, which route or pool?"""

from loadtests.grafana.model import BLUE, RED, YELLOW, Dashboard, Query, Row
from loadtests.grafana.panels import DASHED, YES_OR_NO, lines, number, timeline
from loadtests.grafana.promises import PROMISES
from loadtests.grafana.queries import (
    ERRORS,
    INSTANCE,
    POOL,
    ROUTE,
    highest,
    increase,
    lowest,
    occurring,
    or_zero,
    quantile,
    rate,
    share,
    total,
)
from loadtests.grafana.variables import COMMON, POOLS, ROUTES, WINDOW

_DURATION = "balancer_request_duration_seconds"
_REQUESTS = rate("balancer_requests_total", ROUTE)
_FAILED = (
    f"{rate('balancer_requests_total', f'{ROUTE}, {ERRORS}')} + "
    f"{rate('balancer_responses_broken_off_total', ROUTE)}"
)
_BY_ROUTE = "route"
_FAILED_BY_ROUTE = (
    f"{rate('balancer_requests_total', f'{ROUTE}, {ERRORS}', _BY_ROUTE)} + "
    f"{rate('balancer_responses_broken_off_total', ROUTE, _BY_ROUTE)}"
)
_ROUTES = highest("balancer_requests_inflight", ROUTE, _BY_ROUTE)
_POOLS = highest("balancer_pool_eligible_upstreams", POOL, "pool")
_KNOWN = f"count by (pool, upstream) (balancer_upstream_up{{{POOL}}})"
_WORST = "min by (pool, upstream) (balancer_upstream_up{" + POOL + "})"

_GLANCE = Row(
    "At a glance",
    [
        number(
            "Requests",
            "Requests per second of the selected routes, over the selected instances.",
            "reqps",
            Query(_REQUESTS, "requests"),
            first=BLUE,
        ),
        number(
            "Failed",
            "Share of the requests answered with 5xx or broken off. 4xx are the clients'.",
            "percentunit",
            Query(f"{share(_FAILED, _REQUESTS)} or vector(0)", "failed"),
            steps=[(0.001, YELLOW), (0.01, RED)],
            decimals=2,
        ),
        number(
            "95 % within",
            "Time from a request's head to its response's last byte; 95 % are faster.",
            "s",
            Query(quantile(0.95, _DURATION, ROUTE), "p95"),
            first=BLUE,
            empty="no requests",
        ),
        number(
            "Upstreams out",
            "Upstreams that get no requests at one instance or more: ejected, draining, in maintenance, "
            "unchecked. The dashboard of the pool says since when.",
            "none",
            Query(f"count({_WORST} == 0) or vector(0)", "out"),
            steps=[(1, RED)],
        ),
        number(
            "Pools overloaded",
            "Pools whose load is more than their upstreams can serve. Add replicas, or read "
            "docs/overload.md.",
            "none",
            Query(f"sum({highest('balancer_pool_overloaded', POOL, 'pool')}) or vector(0)", "overloaded"),
            steps=[(1, RED)],
        ),
        number(
            "Instances",
            "Balancers whose metrics are scraped. Compare it with the number that you run.",
            "none",
            Query(f"count(balancer_build_info{{{INSTANCE}}}) or vector(0)", "instances"),
            first=RED,
            steps=[(1, "green")],
        ),
        timeline(
            "Alerts",
            "Alerts of config/prometheus that fire; docs/runbook.md says what to do. `none` also where "
            "Prometheus has no rules.",
            {0: ("none", "green"), 1: ("fires", RED)},
            Query(
                occurring(
                    'max by (alertname) (ALERTS{alertname=~"Balancer.*", alertstate="firing"})', "alertname"
                ),
                "{{alertname}}",
            ),
            width=24,
            height=5,
        ),
    ],
)

_ROUTE_ROW = Row(
    "Routes",
    [
        lines(
            "Requests",
            "Requests per second by route. A sudden fall is as suspicious as a rise.",
            "reqps",
            Query(rate("balancer_requests_total", ROUTE, _BY_ROUTE), "{{route}}"),
        ),
        lines(
            "Failed requests",
            "Share of each route's requests answered with 5xx or broken off.",
            "percentunit",
            Query(
                or_zero(
                    share(_FAILED_BY_ROUTE, rate("balancer_requests_total", ROUTE, _BY_ROUTE)),
                    "route",
                    _ROUTES,
                ),
                "{{route}}",
            ),
        ),
        lines(
            "Durations",
            "Half, 95 % and 99 % of the requests of all selected routes are faster. Above half a bucket's "
            "bound it is an estimate: BALANCER_METRICS__BUCKETS chooses them.",
            "s",
            *(Query(quantile(q, _DURATION, ROUTE), f"p{round(100 * q)}") for q in (0.5, 0.95, 0.99)),
            width=8,
        ),
        lines(
            "95th percentile by route",
            "95 % of a route's requests are faster. No line: no requests.",
            "s",
            Query(quantile(0.95, _DURATION, ROUTE, _BY_ROUTE), "{{route}}"),
            width=8,
        ),
        lines(
            "Answers by code",
            "Responses per second by status code. 499: the client left before the response began.",
            "reqps",
            Query(occurring(rate("balancer_requests_total", ROUTE, "code"), "code"), "{{code}}"),
            stacked=True,
            width=8,
        ),
        lines(
            "Errors made by the balancer",
            "Responses per second that no upstream made, by reason; docs/http.md says what each means.",
            "reqps",
            Query(
                occurring(rate("balancer_local_responses_total", INSTANCE, "reason"), "reason"),
                "{{reason}}",
            ),
        ),
        lines(
            "Bytes",
            "Bytes of bodies per second, received from clients and sent to them.",
            "Bps",
            Query(rate("balancer_request_bytes_total", ROUTE), "received"),
            Query(rate("balancer_response_bytes_total", ROUTE), "sent"),
        ),
    ],
)

_POOL_ROW = Row(
    "Pools",
    [
        lines(
            "Upstreams that serve",
            "Eligible upstreams of each pool, at the instance that has the fewest, and how many there are "
            "(dashed).",
            "none",
            Query(lowest("balancer_pool_eligible_upstreams", POOL, "pool"), "{{pool}}"),
            Query(f"count by (pool) ({_KNOWN})", "{{pool}}: all"),
            overrides={"/: all$/": DASHED},
            width=8,
        ),
        lines(
            "Requests in flight",
            "Requests that upstreams work on now, and how many they may have (dashed, where a limit is in "
            "force). At the limit requests wait.",
            "none",
            Query(total("balancer_upstream_inflight", POOL, "pool"), "{{pool}}"),
            Query(total("balancer_upstream_inflight_limit", POOL, "pool"), "{{pool}}: limit"),
            overrides={"/: limit$/": DASHED},
            width=8,
        ),
        lines(
            "Queue",
            "Requests that wait for a slot because every upstream of their pool is full.",
            "none",
            Query(total("balancer_queue_length", POOL, "pool"), "{{pool}}"),
            width=8,
        ),
        timeline(
            "Overloaded",
            "Whether a pool's load is more than its upstreams can serve, at any instance.",
            YES_OR_NO,
            Query(highest("balancer_pool_overloaded", POOL, "pool"), "{{pool}}"),
            width=8,
        ),
        timeline(
            "Panic",
            "No upstream is eligible, and the ejected ones are tried. Look at the app first.",
            YES_OR_NO,
            Query(highest("balancer_pool_panic", POOL, "pool"), "{{pool}}"),
            width=8,
        ),
        lines(
            "Refused for want of a slot",
            "Requests per second that got 503 because no upstream had a slot in time.",
            "reqps",
            Query(or_zero(rate("balancer_queue_rejected_total", POOL, "pool"), "pool", _POOLS), "{{pool}}"),
            width=8,
        ),
        lines(
            "Retries",
            "Requests per second that were sent again, by pool. They hide failures from clients, and cost "
            "capacity.",
            "reqps",
            Query(or_zero(rate("balancer_retries_total", POOL, "pool"), "pool", _POOLS), "{{pool}}"),
        ),
        lines(
            "Ejections",
            "Upstreams taken out, by pool and cause, within each point of the graph.",
            "none",
            Query(increase("balancer_ejections_total", POOL, "pool, cause"), "{{pool}}: {{cause}}"),
        ),
    ],
)

OVERVIEW = Dashboard(
    "balancer-overview",
    "Balancer: overview",
    "Routes, promises and pools of all selected balancers.",
    [*COMMON, ROUTES, POOLS, WINDOW],
    [_GLANCE, _ROUTE_ROW, PROMISES, _POOL_ROW],
)
