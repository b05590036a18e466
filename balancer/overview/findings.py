"""What people should know first, worst first (L5). Pure: it reads an overview, and finds words.

A sentence says what, since when, with figures; the next one what to do. A pool that has lost an upstream is
never well, however well the others serve."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

from balancer.overview.shape import (
    FindingShape,
    PoolShape,
    RouteShape,
    SloShape,
    UpstreamShape,
    WorkerShape,
)

NAMED: Final = 5  # upstreams of a pool with a sentence of their own; the others are counted
BUSY: Final = 0.95  # of a core
LATE: Final = 250.0  # ms
MANY_ERRORS: Final = 0.05
LEAST: Final = 20  # requests in ten seconds that it takes for a share of errors
EXPIRES: Final = 7 * 86_400.0  # seconds

Level = Literal["bad", "watch", "ok"]


class Facts(NamedTuple):
    """What findings are made of."""

    now: float  # seconds since the epoch
    routes: Mapping[str, RouteShape]
    pools: Mapping[str, PoolShape]
    workers: Mapping[str, WorkerShape]
    certificates: Sequence[Any]  # of CertificateView
    reload_failed: bool


class _Found(NamedTuple):
    rank: int  # the lower, the worse
    finding: FindingShape


def findings(facts: Facts) -> list[FindingShape]:
    """All of them, worst first; if nothing is wrong, one that says so."""
    found = [
        *_of_pools(facts),
        *_of_routes(facts.routes),
        *_of_workers(facts.workers),
        *_of_certificates(facts),
    ]
    if facts.reload_failed:
        found.append(
            _found(
                50,
                "watch",
                "The last reload was not taken up: the settings of before are in force.",
                "The event says what is wrong. Mend the file, try it by balancer check, and reload.",
            )
        )
    found.sort(key=lambda one: one.rank)
    return [one.finding for one in found] or [_well(facts)]


def _found(
    rank: int,
    level: Level,
    text: str,
    todo: str,
    *,
    pool: str | None = None,
    upstream: str | None = None,
    route: str | None = None,
    since: str | None = None,
) -> _Found:
    finding: FindingShape = {
        "level": level,
        "text": text,
        "todo": todo,
        "pool": pool,
        "upstream": upstream,
        "route": route,
        "since": since,
    }
    return _Found(rank, finding)


def _well(facts: Facts) -> FindingShape:
    total = sum(pool["total"] for pool in facts.pools.values())
    rps = sum(route["rates"]["rps"] for route in facts.routes.values())
    who = "The only upstream serves" if total == 1 else f"All {total:,} upstreams serve"
    load = f"{rate(rps)} requests/s" if rps else "there are no requests now"
    return _found(99, "ok", f"{who}, and {load}." if not rps else f"{who}: {load}.", "").finding


# --- pools


def _of_pools(facts: Facts) -> Iterator[_Found]:
    for name, pool in facts.pools.items():
        yield from _of_pool(name, pool)


def _of_pool(name: str, pool: PoolShape) -> Iterator[_Found]:
    out = {id: one for id, one in pool["upstreams"].items() if one["state"] == "ejected"}
    total, eligible = pool["total"], pool["eligible"]
    if pool["panic"]:
        yield _found(
            1,
            "bad",
            f"Pool {name} is in panic: none of its {_upstreams(total)} is well, so requests go to the "
            "ejected ones.",
            _common_todo(out)
            or "Look at the reason at each upstream: if all are alike, look at what they share.",
            pool=name,
            since=_first_since(out),
        )
    elif not eligible and not pool["on_backup"]:
        yield _found(
            0,
            "bad",
            f"Pool {name} cannot serve: none of its {_upstreams(total)} may be used, so requests get 503."
            if total
            else f"Pool {name} has no upstreams: requests get 503.",
            _common_todo(pool["upstreams"]) or "Start replicas, or activate those in maintenance.",
            pool=name,
            since=_first_since(pool["upstreams"]),
        )
    elif 2 * eligible < total:
        yield _found(
            4,
            "bad",
            f"Pool {name} has lost more than half: {eligible:,} of {total:,} upstreams may serve.",
            _common_todo(out) or "Bring upstreams back before the others are overloaded.",
            pool=name,
            since=_first_since(out),
        )
    if pool["on_backup"]:
        yield _found(
            5,
            "bad",
            f"Pool {name} is served by its backup upstreams: no other may be used.",
            _common_todo(out) or "See why the others may not serve.",
            pool=name,
        )
    if (overload := pool["overload"]) is not None:
        left = (
            f", and {rate(overload['left'])}/s were left waiting by their clients" if overload["left"] else ""
        )
        yield _found(
            2,
            "bad",
            f"Pool {name} is overloaded: it serves {rate(overload['served'])}/s and refuses "
            f"{rate(overload['refused'])}/s{left}.",
            "Add replicas, or reduce the load. The balancer refuses what the upstreams cannot serve in time.",
            pool=name,
            since=overload["since"],
        )
    elif pool["queue"]:
        yield _found(
            20,
            "watch",
            f"{pool['queue']:,} requests of pool {name} wait for a slot: every upstream has as many as it "
            "may.",
            "If this lasts, add replicas.",
            pool=name,
        )
    yield from _of_upstreams(name, pool)
    for source, why in pool["problems"].items():
        yield _found(
            15,
            "watch",
            f"{source} of pool {name} cannot be looked up: {why}. What was known before goes on serving.",
            "Look at the name server or the file; the balancer goes on asking.",
            pool=name,
        )


_RANKS: Final[dict[str, int]] = {
    "ejected": 10,
    "probation": 30,
    "draining": 40,
    "maintenance": 41,
    "unchecked": 45,
}
_STATES: Final[dict[str, str]] = {
    "ejected": "is out",
    "probation": "is on probation",
    "draining": "is draining",
    "maintenance": "is in maintenance",
    "unchecked": "has not been checked yet",
}


def _of_upstreams(name: str, pool: PoolShape) -> Iterator[_Found]:
    for state, rank in _RANKS.items():
        those = [(id, one) for id, one in pool["upstreams"].items() if one["state"] == state]
        for id, one in those[:NAMED]:
            why = f": {one['why']}" if one["why"] else ""
            yield _found(
                rank,
                "watch",
                f"{id} of pool {name} {_STATES[state]}{why.rstrip('.')}. {_others(pool, one)}",
                one["todo"],
                pool=name,
                upstream=id,
                since=one["since"],
            )
        if len(those) > NAMED:
            more = len(those) - NAMED
            yield _found(
                rank + 1,
                "watch",
                f"{more:,} more of pool {name}: {state}.",
                "See the list of its upstreams.",
                pool=name,
            )


def _others(pool: PoolShape, one: UpstreamShape) -> str:
    others = pool["eligible"] - one["eligible"]
    if pool["total"] == 1:
        return "It is the only one."
    if not others:
        return "No other may serve."
    return f"The other {_upstreams(others)} serve." if others > 1 else "One other serves."


def _common_todo(upstreams: Mapping[str, UpstreamShape]) -> str:
    """What is to be done, if it is the same for all."""
    remedies = {one["todo"] for one in upstreams.values()}
    return remedies.pop() if len(remedies) == 1 else ""


def _first_since(upstreams: Mapping[str, UpstreamShape]) -> str | None:
    return max((one["since"] for one in upstreams.values() if one["since"] is not None), default=None)


def _upstreams(n: int) -> str:
    return f"{n:,} upstream" if n == 1 else f"{n:,} upstreams"


# --- routes


def _of_routes(routes: Mapping[str, RouteShape]) -> Iterator[_Found]:
    for name, route in routes.items():
        for pool, side in route["sides"].items():
            slo = side["slo"]
            if slo is not None and slo["met"] is False:
                whose = f"Route {name}" if len(route["sides"]) == 1 else f"Side {pool} of route {name}"
                yield _found(
                    3,
                    "bad",
                    f"{whose} does not keep its promise: {_missed(slo)}.",
                    "See which upstream is slow or fails, and the last failures.",
                    pool=pool or None,
                    route=name,
                )
        rates = route["rates"]
        if rates["errors"] is not None and rates["errors"] >= MANY_ERRORS and rates["n"] >= LEAST:
            yield _found(
                6,
                "bad",
                f"Route {name} fails: {rates['errors']:.0%} of its {rates['n']:,} requests of the last 10 s.",
                "The last failures say which of these are the balancer's own answers; the others are the "
                "app's.",
                route=name,
            )
        if route["read_only"]:
            yield _found(
                42, "watch", f"Route {name} serves no changes now, as an operator wants.", "", route=name
            )


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


# --- the balancer itself


def _of_workers(workers: Mapping[str, WorkerShape]) -> Iterator[_Found]:
    for slot, one in workers.items():
        if one["state"] != "ready":
            yield _found(
                7,
                "bad",
                f"Worker {slot} of the balancer is {one['state']}: the others serve for it.",
                "It is restarted by itself. The log says why it ended.",
            )
        elif one["cpu"] is not None and one["cpu"] >= BUSY:
            yield _found(
                12,
                "watch",
                f"Worker {slot} of the balancer uses {one['cpu']:.0%} of a core: this is the balancer, "
                "not the app.",
                "Set BALANCER_WORKERS to more, if there are cores, or run a second instance.",
            )
        elif one["lag"] >= LATE:
            yield _found(
                13,
                "watch",
                f"Worker {slot} of the balancer was {one['lag']:,.0f} ms late: this is the balancer, or "
                "its machine.",
                "See whether the machine has free cores, and whether a policy of your own blocks.",
            )


def _of_certificates(facts: Facts) -> Iterator[_Found]:
    for one in facts.certificates:
        left = datetime.fromisoformat(one.not_after).timestamp() - facts.now if one.not_after else None
        if left is not None and left <= 0:
            yield _found(
                8,
                "bad",
                f"The certificate {one.name} has expired: {one.not_after}.",
                "Put a valid one there.",
            )
        elif one.acme is not None:
            if one.acme.state == "failed":
                yield _found(
                    14,
                    "watch",
                    f"No certificate for {one.name}: {one.acme.error}.",
                    "It is tried again by itself.",
                )
        elif left is not None and left < EXPIRES:
            yield _found(
                16,
                "watch",
                f"The certificate {one.name} expires in {left / 86_400:.1f} days.",
                "Renew its file: a changed one is taken up at once.",
            )
        if one.problem:
            yield _found(
                14, "watch", f"The changed files of {one.name} are not used: {one.problem}.", "Mend them."
            )


def rate(per_second: float) -> str:
    """`402`, `7.5`."""
    return f"{per_second:.1f}" if 0 < per_second < 10 else f"{per_second:,.0f}"
