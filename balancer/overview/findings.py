"""What people should know first, worst first (L5). Pure: it reads an overview, and finds words.

A sentence says what, with figures; the next one what to do. The rank of a finding is its place:

| rank | level | what |
|---|---|---|
| 0 - 2 | bad | clients get errors: no upstream, panic, overload |
| 3 - 8 | bad | promises, lost halves, backups, errors, workers, certificates |
| 10 - 16 | watch | upstreams that are out or stand out, a busy balancer, look-ups, certificates |
| 20 - 50 | watch | queues, probation, what operators want, reloads |
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from balancer.overview.finding import found, rate
from balancer.overview.own_findings import of_certificates, of_workers
from balancer.overview.pool_findings import of_pools
from balancer.overview.route_findings import of_routes
from balancer.overview.shape import FindingShape, PoolShape, RouteShape, WorkerShape


class Facts(NamedTuple):
    """What findings are made of."""

    now: float  # seconds since the epoch
    routes: Mapping[str, RouteShape]
    pools: Mapping[str, PoolShape]
    workers: Mapping[str, WorkerShape]
    certificates: Sequence[Any]  # of CertificateView
    reload_failed: bool


def findings(facts: Facts) -> list[FindingShape]:
    """All of them, worst first; if nothing is wrong, one that says so."""
    those = [
        *of_pools(facts.pools),
        *of_routes(facts.routes, facts.pools, facts.now),
        *of_workers(facts.workers),
        *of_certificates(facts.certificates, facts.now),
    ]
    if facts.reload_failed:
        those.append(
            found(
                50,
                "watch",
                "The last reload was not taken up: the settings of before are in force.",
                "The event says what is wrong. Mend the file, try it by balancer check, and reload.",
            )
        )
    those.sort(key=lambda one: one.rank)
    return [one.finding for one in those] or [_well(facts)]


def _well(facts: Facts) -> FindingShape:
    total = sum(pool["total"] for pool in facts.pools.values())
    rps = sum(route["rates"]["rps"] for route in facts.routes.values())
    who = "The only upstream serves" if total == 1 else f"All {total:,} upstreams serve"
    load = f": {rate(rps)} requests/s" if rps else ", and there are no requests now"
    return found(99, "ok", f"{who}{load}.", "").finding
