"""The error budgets of what is promised (docs/slo.md): what is left of them, and how fast they are spent."""

from loadtests.grafana.model import RED, YELLOW, Query, Row
from loadtests.grafana.panels import bars, lines
from loadtests.grafana.queries import ROUTE, highest, increase, or_zero, rate, share


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

PROMISES = Row(
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
