"""The first dashboard: is it well, and if not, which route or pool?"""

from loadtests.grafana.model import BLUE, RED, YELLOW, Dashboard, Query, Row
from loadtests.grafana.panels import DASHED, YES_OR_NO, bars, lines, number, timeline
from loadtests.grafana.queries import (
    ERRORS,
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
from loadtests.grafana.variables import DATASOURCE, INSTANCES, POOLS, ROUTES, WINDOW

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
            Query('count(balancer_build_info{instance=~"$instance"}) or vector(0)', "instances"),
            first=RED,
            steps=[(1, "green")],
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
                occurring(
                    rate("balancer_local_responses_total", 'instance=~"$instance"', "reason"), "reason"
                ),
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


def _burn(counter: str, allowed: str, over: str) -> str:
    """How many times faster than allowed a budget is spent."""
    by = "route, pool"
    spent = share(rate(counter, ROUTE, by, over), rate("balancer_slo_requests_total", ROUTE, by, over))
    promised = highest("balancer_slo_window_seconds", ROUTE, by)
    return f"{or_zero(spent, by, promised)} / on ({by}) {allowed}"


def _left(counter: str, allowed: str) -> str:
    """Share of a budget that is left of its window, 1 where nothing was asked."""
    by, window = "route, pool", "${window}s"
    spent = share(
        increase(counter, ROUTE, by, window), increase("balancer_slo_requests_total", ROUTE, by, window)
    )
    promised = highest("balancer_slo_window_seconds", ROUTE, by)
    return f"1 - {or_zero(spent, by, promised)} / on ({by}) {allowed} and on ({by}) {promised} == $window"


_MAY_FAIL = highest("balancer_slo_errors_ratio", ROUTE, "route, pool")
_MAY_BE_SLOW = f"(1 - {highest('balancer_slo_percentile_ratio', ROUTE, 'route, pool')})"
_NO_SLO = "no SLO is set"
_SIDE = "{{route}} to {{pool}}"
_BUDGET = {"first": RED, "steps": [(0, YELLOW), (0.25, "green")], "most": 1, "empty": _NO_SLO, "decimals": 1}

_PROMISES = Row(
    "Promises (docs/slo.md)",
    [
        bars(
            "Budget left: failed requests",
            "Share of the permitted failures that is left of the promise's window. Below 0 it is broken. "
            "Prometheus must keep as much history as the window is long.",
            "percentunit",
            Query(_left("balancer_slo_failed_requests_total", _MAY_FAIL), _SIDE),
            **_BUDGET,
        ),
        bars(
            "Budget left: slow requests",
            "Share of the permitted slow requests that is left of the promise's window. Below 0 it is "
            "broken.",
            "percentunit",
            Query(_left("balancer_slo_slow_requests_total", _MAY_BE_SLOW), _SIDE),
            **_BUDGET,
        ),
        lines(
            "Burn rate: failed requests, 1 h",
            "1 spends the budget exactly in its window; 14.4 for an hour is worth waking somebody.",
            "none",
            Query(_burn("balancer_slo_failed_requests_total", _MAY_FAIL, "1h"), _SIDE),
            empty=_NO_SLO,
        ),
        lines(
            "Burn rate: slow requests, 1 h",
            "1 spends the budget exactly in its window; 14.4 for an hour is worth waking somebody.",
            "none",
            Query(_burn("balancer_slo_slow_requests_total", _MAY_BE_SLOW, "1h"), _SIDE),
            empty=_NO_SLO,
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
    [DATASOURCE, INSTANCES, ROUTES, POOLS, WINDOW],
    [_GLANCE, _ROUTE_ROW, _PROMISES, _POOL_ROW],
)
