"""Old against new: two sides of a split route, in the same graphs."""

from collections.abc import Callable, Sequence

from loadtests.grafana.model import BLUE, GREEN, ORANGE, RED, YELLOW, Dashboard, Panel, Query, Row
from loadtests.grafana.panels import DASHED, lines, number
from loadtests.grafana.queries import (
    ERRORS,
    INSTANCE,
    highest,
    lowest,
    or_zero,
    quantile,
    rate,
    share,
    total,
)
from loadtests.grafana.variables import COMMON, one

_ROUTE = f'{INSTANCE}, route="$route"'
_DURATION = "balancer_request_duration_seconds"
_SIDES = ("$old", "$new")
_FIXED = {
    letter: {"color": {"mode": "fixed", "fixedColor": colour}}
    for letter, colour in zip("AB", (BLUE, ORANGE), strict=True)
}
_QUERY = (
    f"query_result(count by (route) (count by (route, pool) (balancer_requests_inflight{{{INSTANCE}}})) > 1)"
)
_POOLS_OF_ROUTE = f"label_values(balancer_requests_inflight{{{_ROUTE}}}, pool)"

VARIABLES = [
    *COMMON,
    one("route", "Route", "Routes that are split over several pools", _QUERY, regex='/route="([^"]+)"/'),
    one("old", "Old", "The side to compare with", _POOLS_OF_ROUTE, descending=True),
    one("new", "New", "The side to judge", _POOLS_OF_ROUTE),
]


def _of(side: str) -> str:
    return f'{_ROUTE}, pool="{side}"'


def _requests(side: str) -> str:
    return rate("balancer_requests_total", _of(side))


def _failed(side: str) -> str:
    errors = rate("balancer_requests_total", f"{_of(side)}, {ERRORS}")
    share_of = share(f"{errors} + {rate('balancer_responses_broken_off_total', _of(side))}", _requests(side))
    return f"{share_of} or vector(0)"


def _clients_errors(side: str) -> str:
    errors = rate("balancer_requests_total", f'{_of(side)}, code=~"4.."')
    return f"{share(errors, _requests(side))} or vector(0)"


def _size(side: str) -> str:
    return f"{share(rate('balancer_response_bytes_total', _of(side)), _requests(side))} or vector(0)"


def _share(side: str) -> str:
    return f"{share(_requests(side), rate('balancer_requests_total', _ROUTE))} or vector(0)"


def _p95(side: str) -> str:
    return quantile(0.95, _DURATION, _of(side))


def _both(
    title: str, says: str, unit: str, of: Callable[[str], str], more: Sequence[Query] = (), width: int = 12
) -> Panel:
    """One line for each side."""
    return lines(
        title, says, unit, *(Query(of(side), side) for side in _SIDES), *more, width=width, overrides=_FIXED
    )


def _slow(side: str) -> str:
    of = rate("balancer_slo_requests_total", _of(side))
    return or_zero(
        share(rate("balancer_slo_slow_requests_total", _of(side)), of),
        "",
        highest("balancer_slo_latency_seconds", _of(side)),
    )


_VERDICT = Row(
    "$new against $old",
    [
        number(
            "$new gets",
            "Share of the route's requests that the new side gets. Sticky users keep it a little behind "
            "the weight.",
            "percentunit",
            Query(_share("$new"), "share"),
            first=BLUE,
            decimals=1,
        ),
        number(
            "Fails more often by",
            "Difference of the shares of failed requests, in points: above 0 the new side is worse.",
            "percentunit",
            Query(f"({_failed('$new')}) - ({_failed('$old')})", "difference"),
            steps=[(0.001, YELLOW), (0.005, RED)],
            decimals=2,
            width=5,
        ),
        number(
            "Is slower by the factor",
            "95th percentile of the new side, divided by that of the old one. 1: as fast.",
            "none",
            Query(f"{_p95('$new')} / {_p95('$old')}", "factor"),
            steps=[(1.25, YELLOW), (2, RED)],
            decimals=2,
            empty="no requests",
            width=5,
        ),
        number(
            "$new: upstreams that serve",
            "Eligible upstreams of the new side, at the instance that has the fewest.",
            "none",
            Query(lowest("balancer_pool_eligible_upstreams", f'{INSTANCE}, pool="$new"'), "eligible"),
            first=RED,
            steps=[(1, GREEN)],
            width=5,
        ),
        number(
            "$old: upstreams that serve",
            "Eligible upstreams of the old side: a way back needs them.",
            "none",
            Query(lowest("balancer_pool_eligible_upstreams", f'{INSTANCE}, pool="$old"'), "eligible"),
            first=RED,
            steps=[(1, GREEN)],
            width=5,
        ),
    ],
)

_REQUEST_ROW = Row(
    "What users get",
    [
        _both("Requests", "Requests per second of each side.", "reqps", _requests, width=8),
        _both("Share", "Share of the route's requests that each side gets.", "percentunit", _share, width=8),
        lines(
            "In flight",
            "Requests of this route that each side works on now.",
            "none",
            *(Query(total("balancer_requests_inflight", _of(side)), side) for side in _SIDES),
            width=8,
            overrides=_FIXED,
        ),
        _both(
            "Failed requests",
            "Share of each side's requests answered with 5xx or broken off.",
            "percentunit",
            _failed,
        ),
        _both(
            "Answers with 4xx",
            "Share of each side's requests answered with 4xx, 499 included. A new version that refuses "
            "what the old one took shows here.",
            "percentunit",
            _clients_errors,
        ),
        *(
            _both(
                f"{words} of the requests are faster",
                "Time from a request's head to its response's last byte. No line: no requests.",
                "s",
                lambda side, q=q: quantile(q, _DURATION, _of(side)),  # type: ignore[misc] # mypy infers no defaults
                width=8,
            )
            for words, q in (("Half", 0.5), ("95 %", 0.95), ("99 %", 0.99))
        ),
    ],
)

_APP_ROW = Row(
    "What the apps do",
    [
        _both(
            "First byte, 95th percentile",
            "Time from a request sent to an upstream of this side to the first byte; other routes to the "
            "same pool are included.",
            "s",
            lambda side: quantile(0.95, "balancer_upstream_first_byte_seconds", f'{INSTANCE}, pool="{side}"'),
            width=8,
        ),
        _both(
            "Retries",
            "Requests per second that were sent again. Users do not see them, but they say that replicas "
            "fail.",
            "reqps",
            lambda side: rate("balancer_retries_total", f'{INSTANCE}, pool="{side}"'),
            width=8,
        ),
        _both(
            "Upstreams that serve",
            "Eligible upstreams, at the instance that has the fewest.",
            "none",
            lambda side: lowest("balancer_pool_eligible_upstreams", f'{INSTANCE}, pool="{side}"'),
            width=8,
        ),
        lines(
            "Slow requests against the promise",
            "Share of the requests whose response began later than promised, and the share that may "
            "(dashed). No line: no SLO is set.",
            "percentunit",
            *(Query(_slow(side), side) for side in _SIDES),
            *(
                Query(f"1 - {highest('balancer_slo_percentile_ratio', _of(side))}", f"{side}: allowed")
                for side in _SIDES
            ),
            overrides={**_FIXED, "/: allowed$/": DASHED},
            empty="no SLO is set",
        ),
        lines(
            "Bytes of a response",
            "Mean size of the bodies sent to clients. A new version that sends much more or less has changed "
            "something.",
            "bytes",
            *(Query(_size(side), side) for side in _SIDES),
            overrides=_FIXED,
        ),
    ],
)

SIDES = Dashboard(
    "balancer-sides",
    "Balancer: old against new",
    "Two sides of a split route, compared. docs/old-to-new.md has the way.",
    VARIABLES,
    [_VERDICT, _REQUEST_ROW, _APP_ROW],
)
