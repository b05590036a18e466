"""Assigns rows of the stats segment (L7) to everything with counters, and builds the `start` message of each
worker."""

from collections.abc import Callable, Sequence

from balancer.config.address import needs_no_look_up
from balancer.health.settings import within_ns
from balancer.messages import Rows, Start
from balancer.runtime.fleet import Fleet
from balancer.runtime.readonly import ReadonlyRoutes
from balancer.runtime.splits import Splits
from balancer.runtime.states import PoolState, UpstreamState
from balancer.spec.instance import InstanceSpec, SupervisedPool
from balancer.spec.tls import ChallengeSpec
from balancer.spec.worker import PoolSpec, RouteSpec, WorkerSpec
from balancer.telemetry.columns import Kind
from balancer.telemetry.ledger import Ledger
from balancer.upstreams.state import FirstCheck


def pool_states(spec: InstanceSpec, ledger: Ledger) -> list[PoolState]:
    """The pools at start: names have no address yet, and discovery has found nothing yet."""
    supervised = {pool.name: pool for pool in spec.pools}
    return [pool_state(pool, supervised[pool.name], ledger) for pool in spec.worker.pools]


def pool_state(spec: PoolSpec, supervised: SupervisedPool, ledger: Ledger) -> PoolState:
    is_checked = supervised.check is not None
    pool = PoolState(
        spec,
        ledger.row(Kind.POOL, spec.name),
        is_checked=is_checked,
        checked_within_ns=within_ns(supervised.check),
        max_inflight=supervised.max_inflight,
    )
    for one in supervised.upstreams:
        pool.upstreams[one.id] = UpstreamState(
            pool=spec.name,
            id=one.id,
            host=one.host,
            port=one.port,
            server_name=one.server_name,
            weight=one.weight,
            row=ledger.row(Kind.UPSTREAM, spec.name, one.id),
            address=one.host if needs_no_look_up(one.host) else "",
            backup=one.backup,
            max_inflight=pool.max_inflight,
            first_check=FirstCheck.AWAITED if is_checked else FirstCheck.DONE,
        )
    return pool


class Places:
    """Makes the `start` message of each incarnation of one generation. `present` is its spec as it is now."""

    def __init__(
        self,
        spec: WorkerSpec,
        fleet: Fleet,
        splits: Splits,
        readonly: ReadonlyRoutes,
        ledger: Ledger,
        present: Callable[[], WorkerSpec] | None = None,
        challenges: Callable[[], tuple[ChallengeSpec, ...]] = tuple,
    ) -> None:
        self._spec = spec
        self._present = present or (lambda: spec)
        self._challenges = challenges
        self._splits = splits
        self._readonly = readonly
        self._fleet = fleet
        self._workers = [ledger.row(Kind.WORKER, str(slot)) for slot in range(spec.workers)]
        self._listener = ledger.row(Kind.LISTENER, spec.listener.name)
        self._tls_listener = None if spec.tls is None else ledger.row(Kind.TLS_LISTENER, spec.tls.name)
        self._ledger = ledger
        route_rows(spec.routes, ledger)  # or there is no room for them

    def start_message(self, slot: int, page: int) -> Start:
        """The message for the worker of `slot`, whose page of the segment is `page`."""
        pools = [self._fleet.pools[pool.name] for pool in self._spec.pools]
        spec = self._present()
        return Start(
            spec=spec,
            slot=slot,
            page=page,
            rows=Rows(
                worker=self._workers[slot],
                listener=self._listener,
                tls_listener=self._tls_listener,
                routes=route_rows(spec.routes, self._ledger),
                pools=tuple(pool.row for pool in pools),
            ),
            pools=tuple(pool.update(self._fleet.revision) for pool in pools),
            splits=self._splits.updates(),
            read_only=self._readonly.updates(),
            challenges=self._challenges(),
        )


def route_rows(routes: Sequence[RouteSpec], ledger: Ledger) -> tuple[tuple[int, ...], ...]:
    """The rows of each route's sides. Raises StartupError if there is no room for them."""
    return tuple(
        tuple(ledger.row(Kind.ROUTE, route.name, pool) for pool in side_pools(route)) for route in routes
    )


def side_pools(route: RouteSpec) -> list[str]:
    """The pools of a route, or "" if it has none: what its counts are labelled with."""
    return [side.pool for side in route.sides] or [""]
