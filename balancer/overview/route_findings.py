"""What is wrong with routes (L5): promises that are not kept, and errors. Pure."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final

from balancer.overview.finding import Found, found
from balancer.overview.pool_findings import ill, in_words, stands_out
from balancer.overview.shape import PoolShape, RouteShape, SloShape, UpstreamShape

MANY_ERRORS: Final = 0.05
LEAST: Final = 20  # requests in ten seconds that it takes for a share of errors
JUDGED: Final = 600.0  # seconds over which promises are judged
RECENT: Final = 30.0  # seconds: what is out for longer has no part in the errors of the last ten


def of_routes(
    routes: Mapping[str, RouteShape], pools: Mapping[str, PoolShape], now: float
) -> Iterator[Found]:
    """Of all of them; `now` in seconds since the epoch. An upstream that is ill is named: it is the first
    suspect."""
    for name, route in routes.items():
        for pool, side in route["sides"].items():
            slo = side["slo"]
            if slo is not None and slo["met"] is False:
                whose = f"Route {name}" if len(route["sides"]) == 1 else f"Side {pool} of route {name}"
                yield _suspecting(
                    3,
                    f"{whose} does not keep its promise: {_missed(slo)}.",
                    "See which upstream is slow or fails, and the last failures.",
                    {pool: pools[pool]} if pool in pools else {},
                    name,
                    now - JUDGED,
                )
        rates = route["rates"]
        if rates["errors"] is not None and rates["errors"] >= MANY_ERRORS and rates["n"] >= LEAST:
            yield _suspecting(
                6,
                f"Route {name} fails: {rates['errors']:.0%} of its {rates['n']:,} requests of the last 10 s.",
                "The last failures say which of these are the balancer's own answers; the others are the "
                "app's.",
                {pool: pools[pool] for pool in route["sides"] if pool in pools},
                name,
                now - RECENT,
            )
        if route["read_only"]:
            yield found(
                42, "watch", f"Route {name} serves no changes now, as an operator wants.", "", route=name
            )


def _suspecting(
    rank: int, text: str, todo: str, pools: Mapping[str, PoolShape], route: str, after: float
) -> Found:
    """A finding of a route that these pools serve, with what is wrong with their upstreams. Upstreams that
    were out before `after` got no requests: they are not to blame."""
    suspects = [
        (name, id, one)
        for name, pool in pools.items()
        for id, one in ill(pool)
        if stands_out(one) or (one["state"] == "ejected" and (pool["panic"] or _is_later(one, after)))
    ]
    text = f"{text} {in_words([(id, one) for _, id, one in suspects])}".rstrip()
    if len(suspects) == 1:
        ((pool, id, one),) = suspects
        return found(
            rank, "bad", text, one["todo"] or todo, pool=pool, upstream=id, route=route, since=one["since"]
        )
    (only,) = pools if len(pools) == 1 else (None,)
    return found(rank, "bad", text, todo, pool=only, route=route)


def _is_later(one: UpstreamShape, after: float) -> bool:
    return one["since"] is not None and datetime.fromisoformat(one["since"]).timestamp() >= after


def _missed(slo: SloShape) -> str:
    parts = []
    slow_allowed = 1 - slo["percentile"] / 100
    if slo["slow_share"] is not None and slo["slow_share"] > slow_allowed:
        parts.append(
            f"{slo['slow_share']:.1%} of {slo['n']:,} responses began later than {slo['latency']:g} ms "
            f"({slow_allowed:.1%} may)"
        )
    if slo["failed_share"] is not None and slo["failed_share"] > slo["errors"]:
        parts.append(f"{slo['failed_share']:.1%} of {slo['n']:,} requests failed ({slo['errors']:.1%} may)")
    return ", and ".join(parts)
