"""Which upstreams the pools of this worker have: applies the supervisor's updates to the pools in use."""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

from collections.abc import Callable

from balancer.connections.connector import Connector
from balancer.connections.upstream_tls import UpstreamTls
from balancer.counters import Batch
from balancer.messages import Others, PoolUpdate, UpstreamTlsUpdate, Verdict
from balancer.pools.pool import UpstreamPool
from balancer.pools.slow_start import SlowStart
from balancer.spec.worker import PoolSpec
from balancer.telemetry.columns import (
    UPSTREAM_IDLE_TIMEOUT_NS,
    UPSTREAM_INFLIGHT,
    UPSTREAM_INFLIGHT_LIMIT,
    UPSTREAM_SERVICE_NS,
)
from balancer.telemetry.segment import OtherPages
from balancer.upstreams.state import Cause, others_left
from balancer.upstreams.traffic_history import TrafficHistory
from balancer.upstreams.upstream import NO_SLOT, Upstream


class Membership:
    """The upstreams of all pools, by the rows of their counters.

    A removed upstream gets no new requests; its running ones go on to their end. After the last one its row
    is released: this worker does not write to it any more.
    """

    __slots__ = ("_batch", "_cells", "_connector", "_idle", "_leaving", "_members", "_others", "_pools",
                 "_share", "_silent", "_tls")  # fmt: skip

    def __init__(
        self,
        connector: Connector,
        cells: Callable[[int], memoryview[int]],
        share: Callable[[int, int], int],
        batch: Batch,
        others: OtherPages | None = None,
    ) -> None:
        """`cells` returns the cells of a row in this worker's page; `share` returns this worker's share of so
        many slots at the upstream of a row. `batch` stores the counts. `others` are the pages that the pools
        read."""
        self._others = others
        self._connector = connector
        self._cells = cells
        self._share = share
        self._batch = batch
        self._pools: dict[str, tuple[UpstreamPool, PoolSpec, SlowStart]] = {}
        self._tls: dict[str, UpstreamTls] = {}
        self._members: dict[str, dict[int, Upstream]] = {}
        self._leaving: dict[int, Upstream] = {}
        self._silent: dict[str, list[Upstream]] = {}  # by pool; only pools that have any
        self._idle: dict[int, Upstream] = {}  # leaving, and without requests at the last sweep

    def add_pool(self, pool: UpstreamPool, spec: PoolSpec, slow_start: SlowStart) -> None:
        """Add a pool, without upstreams so far."""
        self._pools[pool.name] = pool, spec, slow_start
        self._tls[pool.name] = UpstreamTls(spec.tls)
        self._members[pool.name] = {}

    def apply(self, news: PoolUpdate) -> None:
        """Set a pool's upstreams and their states. A pool that this worker does not have is that of a later
        one.

        An outlier ejected by this worker stays ejected if the update is older than the supervisor's knowledge
        of that ejection.
        """
        if news.name not in self._pools:
            return
        pool, spec, slow_start = self._pools[news.name]
        pool.starting = news.starting
        pool.checked_within_ns = news.checked_within_ns
        before = self._members[news.name]
        self._members[news.name] = members = {}
        for state in news.members:
            upstream = before.pop(state.row, None)
            if upstream is None:
                cells = self._cells(state.row)
                upstream = Upstream(
                    state.id, state.host, state.port, state.weight, cells, state.row, self._batch
                )
                upstream.server_name = state.server_name
                self._connector.add(upstream, spec.keepalive, spec.connect, self._tls[news.name])
            elif upstream.host != state.host:
                upstream.set_host(state.host)
                upstream.history = TrafficHistory()  # the old one is about another machine
                self._connector.expire(upstream)
            upstream.other_hosts = state.other_hosts
            upstream.weight = state.weight
            upstream.admin_state = state.admin_state
            history = upstream.history
            if state.on_probation and not upstream.on_probation:
                history.begin_probation()
            upstream.on_probation = state.on_probation
            upstream.silent_since_ns = state.silent_since_ns
            upstream.leaves_by_itself = state.leaves_by_itself
            upstream.causes = state.causes
            upstream.first_check = state.first_check
            upstream.backup = state.backup
            upstream.ramp_since_ns = state.ramp_since_ns
            upstream.cap = state.max_inflight
            upstream.max_inflight = self._share_of(upstream)
            if news.revision < history.held_until:
                upstream.causes |= {Cause.OUTLIER}
            else:
                history.held_until = 0
            members[state.row] = upstream
        for row, upstream in before.items():
            self._connector.expire(upstream)
            self._leaving[row] = upstream
        silent = [upstream for upstream in members.values() if upstream.silent_since_ns]
        if silent:
            self._silent[news.name] = silent
        else:
            self._silent.pop(news.name, None)
        slow_start.begin(members.values())
        pool.set_members(list(members.values()))

    def take_tls(self, update: UpstreamTlsUpdate) -> None:
        """Other certificates for new connections to the upstreams of a pool, if this worker has it. Raises
        ssl.SSLError, and keeps the old ones then."""
        if update.pool in self._tls:
            self._tls[update.pool].update(update.tls)

    def take_others(self, news: Others) -> None:
        """Other incarnations have come or gone."""
        if self._others is not None:
            self._others.set(news.pages, news.predecessors)
            for pool, _, _ in self._pools.values():
                pool.others_changed()
                self._share_out(pool)

    def _share_of(self, upstream: Upstream) -> int:
        """This worker's share of the upstream's cap, less what its predecessors hold."""
        if not upstream.cap:
            return 0
        left = self._share(upstream.cap, upstream.row)
        if self._others is not None:
            for cells in self._others.predecessor_rows(upstream.row):
                left -= cells[UPSTREAM_INFLIGHT]
        return left if left > 0 else NO_SLOT

    def _share_out(self, pool: UpstreamPool) -> None:
        """Reckon the shares of a pool's caps again."""
        changed = False
        for upstream in pool.upstreams:
            share = self._share_of(upstream)
            if share != upstream.max_inflight:
                upstream.max_inflight = share
                changed = True
        if changed:
            pool.take_up_limits()

    def resume(self, rows: Callable[[int], memoryview[int]], part: float) -> None:
        """Begin with what a predecessor has learned: `rows` are in its page. This worker gets `part` times
        its traffic."""
        for name, (pool, _, _) in self._pools.items():
            for row, upstream in self._members[name].items():
                cells = rows(row)
                self._connector.resume(upstream, cells[UPSTREAM_IDLE_TIMEOUT_NS])
                limit = cells[UPSTREAM_INFLIGHT_LIMIT]
                if limit and cells[UPSTREAM_SERVICE_NS] and pool.adaptive is not None:
                    pool.adaptive.resume(upstream, limit * part, cells[UPSTREAM_SERVICE_NS])
            pool.rebuild()

    def unresponsive(self) -> set[Upstream]:
        """Upstreams at which requests wait in vain while others could answer: each is known to be silent, and
        is not one of the last ones."""
        return {
            one
            for name, silent in self._silent.items()
            for one in silent
            if one.inflight > one.streaming and others_left(one, self._pools[name][0].upstreams)
        }

    def close(self) -> None:
        """Close the queues: nothing is served from them any more."""
        for pool, _, _ in self._pools.values():
            if pool.adaptive is not None:
                pool.adaptive.close()
            if pool.queue is not None:
                pool.queue.close()

    def judged(self, verdict: Verdict) -> None:
        """Apply the supervisor's verdict on an outlier ejected here. Raises KeyError for an unknown pool."""
        pool = self._pools[verdict.pool][0]
        upstream = self._members[verdict.pool].get(verdict.row)
        if upstream is None or not upstream.history.held_until:
            return
        upstream.history.held_until = verdict.until
        if not verdict.until:
            pool.overruled(upstream)

    def sweep(self) -> list[int]:
        """Advance slow starts and adaptive limits, and take the slots that predecessors have left.
        Returns the rows released since the last sweep.

        A cancelled dial may count as in flight for one turn of the loop after its attempt has ended, so an
        upstream must be idle in two sweeps.
        """
        succeeds = self._others is not None and self._others.has_predecessors()
        for pool, _, slow_start in self._pools.values():
            if succeeds:
                self._share_out(pool)
            if slow_start.step():
                pool.rebuild()
            if pool.adaptive is not None:
                pool.adaptive.sweep()
        if not self._leaving:
            return []
        idle = {row: upstream for row, upstream in self._leaving.items() if not upstream.inflight}
        released = [row for row in idle if row in self._idle]
        for row in released:
            upstream = self._leaving.pop(row)
            upstream.counters.flush()
            self._connector.remove(upstream)
            del idle[row]
        self._idle = idle
        return released
