"""The overview of the instance (L7): its state at a moment and its figures, in the shape that people's pages
read.

Views are made on the event loop, the rest in a thread.
"""

import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from balancer import __version__, build
from balancer.admin.view import CertificateView, PoolView, UpstreamView, moment
from balancer.overview.figures import NOTHING, Rates
from balancer.overview.findings import Facts, findings
from balancer.overview.losing import can_lose, shares
from balancer.overview.shape import (
    OverviewShape,
    PoolShape,
    RatesShape,
    RouteShape,
    SideShape,
    SloShape,
    UpstreamShape,
    WorkerShape,
)
from balancer.runtime import reasons
from balancer.runtime.figures import SampledFigures, Side
from balancer.runtime.promise import judged, judged_together
from balancer.spec.slo import SloSpec
from balancer.telemetry.events import Event
from balancer.upstreams.state import AdminState, Cause

EVENTS_SHOWN = 30
FAILURES_SHOWN = 20


class SideSeen(NamedTuple):
    """A side of a route."""

    pool: str
    weight: int
    eligible: int
    slo: SloSpec | None


class RouteSeen(NamedTuple):
    """A route; `gate` and `last_gate` are a GateView and a GateEnd."""

    name: str
    split: bool
    read_only: float
    gate: Any
    last_gate: Any
    sides: Sequence[SideSeen]


class Seen(NamedTuple):
    """What was read on the event loop. `causes` has the event that led to an upstream's present state."""

    wall: float
    started: float
    revision: int
    routes: Sequence[RouteSeen]
    pools: Sequence[PoolView]
    states: Mapping[tuple[str, str], str]
    causes: Mapping[tuple[str, str], Event]
    ready: Mapping[int, str]  # worker slot -> its state
    certificates: Sequence[CertificateView]
    events: Sequence[Event]  # newest first
    failures: Sequence[Mapping[str, Any]]  # newest first
    reload_failed: bool


def overview(seen: Seen, figures: SampledFigures) -> OverviewShape:
    """All of it."""
    routes = {route.name: _route(route, figures) for route in seen.routes}
    pools = {pool.name: _pool(pool, seen, figures) for pool in seen.pools}
    workers = {str(one.slot): _worker(one, seen, figures) for one in figures.workers}
    facts = Facts(seen.wall, routes, pools, workers, seen.certificates, seen.reload_failed)
    return {
        "now": moment(seen.wall),
        "instance": {
            "name": socket.gethostname(),
            "version": __version__,
            "build": build.kind(),
            "started": moment(seen.started),
            "revision": seen.revision,
            "changes": {"allowed": "no", "hint": ""},  # depends on who asks
        },
        "findings": findings(facts),
        "routes": routes,
        "pools": pools,
        "workers": workers,
        "certificates": [asdict(one) for one in seen.certificates],
        "events": [{**asdict(event), "time": moment(event.time)} for event in seen.events[:EVENTS_SHOWN]],
        "failures": [
            {**failure, "time": moment(failure["time"])} for failure in seen.failures[:FAILURES_SHOWN]
        ],
    }


# --- routes


def _route(route: RouteSeen, figures: SampledFigures) -> RouteShape:
    sides = [(route.name, side.pool) for side in route.sides]
    promises = [
        (side.slo, tally)
        for side in route.sides
        if side.slo is not None and (tally := figures.promise((route.name, side.pool))) is not None
    ]
    requests = [figures.rates_of_sides([side]) for side in sides]
    parts = shares(one.n for one in requests)
    together = judged_together(promises)
    return {
        "split": route.split,
        "read_only": bool(route.read_only),
        "rates": _rates(figures.rates_of_sides(sides)),
        "slo": None if together is None else _slo(together, route.sides),
        "gate": None if route.gate is None else asdict(route.gate),
        "last_gate": None if route.last_gate is None else asdict(route.last_gate),
        "sides": {
            side.pool: _side((route.name, side.pool), side, rates, part, figures)
            for side, rates, part in zip(route.sides, requests, parts, strict=True)
        },
    }


def _side(key: Side, side: SideSeen, rates: Rates, part: float | None, figures: SampledFigures) -> SideShape:
    counts, seconds = figures.counts_of_side(key)
    tally = None if side.slo is None else figures.promise(key)
    return {
        "weight": side.weight,
        "share": part,
        "eligible": side.eligible,
        "rates": _rates(rates),
        "retries": round(counts.retries / seconds, 2) if counts is not None and seconds else 0.0,
        "slo": None if side.slo is None or tally is None else _slo(judged(side.slo, tally), [side]),
    }


def _slo(view: Any, sides: Iterable[SideSeen]) -> SloShape:
    window = next(side.slo.window for side in sides if side.slo is not None)
    return {
        "latency": round(view.latency * 1000, 3),
        "percentile": view.percentile,
        "errors": view.errors,
        "window": window,
        "slow_share": _rounded(view.slow_share),
        "failed_share": _rounded(view.failed_share),
        "met": view.met,
        "n": view.n,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 5)


def _rates(rates: Rates) -> RatesShape:
    return {
        "rps": rates.rps,
        "n": rates.n,
        "errors": rates.errors,
        "client_errors": rates.client_errors,
        "p50": rates.p50,
        "p95": rates.p95,
        "p99": rates.p99,
        "in": rates.received,
        "out": rates.sent,
    }


# --- pools


def _pool(pool: PoolView, seen: Seen, figures: SampledFigures) -> PoolShape:
    sides = [
        (route.name, pool.name) for route in seen.routes if any(s.pool == pool.name for s in route.sides)
    ]
    rates = figures.rates_of_sides(sides)
    retries = 0.0
    for side in sides:
        counts, seconds = figures.counts_of_side(side)
        retries += counts.retries / seconds if counts is not None and seconds else 0.0
    inflight, limit = figures.load(pool.name, (one.id for one in pool.upstreams))
    eligible = [one for one in pool.upstreams if one.eligible]
    overload = pool.overload
    measured = [figures.rates_of((pool.name, one.id)) for one in pool.upstreams]
    served = shares(one.n for one in measured)
    usable = [one.effective_weight if one.eligible else 0.0 for one in pool.upstreams]
    return {
        "policy": pool.policy,
        "eligible": pool.eligible,
        "total": len(pool.upstreams),
        "panic": pool.panic,
        "on_backup": bool(eligible)
        and all(one.backup for one in eligible)
        and any(not one.backup for one in pool.upstreams),
        "overload": None
        if overload is None
        else {
            "since": overload.since,
            "served": overload.served_per_second,
            "refused": overload.refused_per_second,
            "left": overload.left_per_second,
        },
        "rates": _rates(rates),
        "inflight": inflight,
        "limit": limit,
        "queue": figures.now.queue.get(pool.name, 0),
        "refused": figures.refused(pool.name),
        "retries": round(retries, 2),
        "can_lose": can_lose(
            rates.rps, [figures.most_served((pool.name, one.id)) for one in eligible], overload is not None
        ),
        "growth": None,
        "problems": pool.problems,
        "upstreams": {
            one.id: _upstream(pool, one, rates_of_it, part, due, seen, figures)
            for one, rates_of_it, part, due in zip(
                pool.upstreams, measured, served, shares(usable), strict=True
            )
        },
    }


def _upstream(
    pool: PoolView,
    one: UpstreamView,
    rates: Rates,
    part: float | None,
    due: float | None,
    seen: Seen,
    figures: SampledFigures,
) -> UpstreamShape:
    key = pool.name, one.id
    state = seen.states.get(key, one.admin_state)
    event = seen.causes.get(key)
    since = event.time if event is not None and event.kind == state else figures.timeline.since(key)
    why, todo, whose = reasons.why(one, state, event), reasons.todo(one, state), reasons.whose(one, state)
    if state == AdminState.ACTIVE and (odd := figures.odd(key)) is not None:
        since, why = odd
        todo, whose = reasons.compare(one.id), "upstream"
    return {
        "address": one.address,
        "state": state,
        "eligible": one.eligible,
        "causes": one.causes,
        "since": None if since is None else moment(since),
        "why": why,
        "todo": todo,
        "whose": whose,
        "until": one.outlier.until if one.outlier is not None and Cause.OUTLIER in one.causes else None,
        "weight": one.weight,
        "effective_weight": round(one.effective_weight, 3),
        "backup": one.backup,
        "share": part,
        "weight_share": due,
        "inflight": figures.now.inflight.get(key, 0),
        "limit": figures.now.limit.get(key, 0),
        "rates": _RESTING if rates is NOTHING else _rates(rates),
        "last_check": None if one.last_check is None else asdict(one.last_check),
    }


_RESTING = _rates(NOTHING)


# --- workers


def _worker(one: Any, seen: Seen, figures: SampledFigures) -> WorkerShape:
    return {
        "state": "ready" if one.up else seen.ready.get(one.slot, "not ready"),
        "cpu": figures.cpu(one.slot),
        "memory": one.resident_bytes,
        "lag": round(figures.now.lag.get(str(one.slot), 0) / 1e6, 1),
        "fds": one.open_fds,
        "restarts": one.restarts,
    }
