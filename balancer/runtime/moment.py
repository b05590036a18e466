"""The state of the instance at a moment (L7), read on the event loop in one go for the dashboard's figures,
which are made in a thread."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from balancer.edges import Edges
from balancer.overview.timeline import Key
from balancer.runtime.states import PoolState, UpstreamState
from balancer.spec.slo import SloSpec
from balancer.telemetry.samples import WorkerSample
from balancer.upstreams.state import AdminState

EJECTED, PROBATION, UNCHECKED, UNRESOLVED = "ejected", "probation", "unchecked", "unresolved"


class SideMoment(NamedTuple):
    """A side of a route."""

    route: str
    pool: str
    slo: SloSpec | None


class PoolMoment(NamedTuple):
    """A pool; `states` and `eligible` are by upstream."""

    name: str
    row: int
    overloaded: bool
    states: dict[str, str]
    eligible: dict[str, bool]


class Moment(NamedTuple):
    """All of them. `wall` is in seconds since the epoch, `now` on a monotonic clock. `workers` reads
    /proc."""

    wall: float
    now: float
    sides: Sequence[SideMoment]
    pools: Sequence[PoolMoment]
    workers: Callable[[], Sequence[WorkerSample]]
    edges: Edges

    def states(self) -> dict[Key, str]:
        """The state of every upstream."""
        return {(pool.name, id): state for pool in self.pools for id, state in pool.states.items()}


def of_pool(pool: PoolState) -> PoolMoment:
    """A pool now."""
    return PoolMoment(
        pool.name,
        pool.row,
        pool.overload is not None,
        {one.id: state_of(one) for one in pool.upstreams.values()},
        {one.id: one.is_eligible() for one in pool.upstreams.values()},
    )


def state_of(one: UpstreamState) -> str:
    """The one word that says most about an upstream: what an operator has set comes last, but for
    maintenance, where nothing else matters."""
    if one.wanted is AdminState.MAINTENANCE:
        return str(AdminState.MAINTENANCE)
    if one.causes:
        return EJECTED
    if not one.address:
        return UNRESOLVED
    if one.admin_state is not AdminState.ACTIVE:
        return str(one.admin_state)
    if one.on_probation:
        return PROBATION
    return UNCHECKED if one.unchecked else str(AdminState.ACTIVE)
