"""Which upstreams the pools of this worker have: what the supervisor says, applied to what is in use."""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

from collections.abc import Callable

from balancer.connections.connector import Connector
from balancer.messages import PoolUpdate, Verdict
from balancer.pools.pool import UpstreamPool
from balancer.pools.slow_start import SlowStart
from balancer.spec.worker import KeepaliveSpec
from balancer.upstreams.state import Cause, others_left
from balancer.upstreams.traffic_history import TrafficHistory
from balancer.upstreams.upstream import Upstream


class Membership:
    """The upstreams of all pools, by the rows they count in.

    One that has left gets no new requests; what runs at it ends. When nothing does any more, its row is let
    go: from then on nobody here writes to it.
    """

    __slots__ = ("_cells", "_connector", "_idle", "_leaving", "_members", "_pools", "_share", "_silent")

    def __init__(
        self,
        connector: Connector,
        cells: Callable[[int], memoryview[int]],
        share: Callable[[int, int], int],
    ) -> None:
        """`cells` gives the cells of a row in this worker's page; `share` this worker's part of a cap on what
        counts in a row."""
        self._connector = connector
        self._cells = cells
        self._share = share
        self._pools: dict[str, tuple[UpstreamPool, KeepaliveSpec, SlowStart]] = {}
        self._members: dict[str, dict[int, Upstream]] = {}
        self._leaving: dict[int, Upstream] = {}
        self._silent: dict[str, list[Upstream]] = {}  # by pool, where there are any
        self._idle: dict[int, Upstream] = {}  # of those leaving: nothing ran at them when last looked at

    def add_pool(self, pool: UpstreamPool, keepalive: KeepaliveSpec, slow_start: SlowStart) -> None:
        """A pool, without upstreams so far."""
        self._pools[pool.name] = pool, keepalive, slow_start
        self._members[pool.name] = {}

    def apply(self, news: PoolUpdate) -> None:
        """The pool has these upstreams, in these states. Raises KeyError for an unknown pool.

        An outlier that was ejected here stays so as long as the supervisor had not heard of it at the news'
        revision.
        """
        pool, keepalive, slow_start = self._pools[news.name]
        pool.starting = news.starting
        before = self._members[news.name]
        self._members[news.name] = members = {}
        for state in news.members:
            upstream = before.pop(state.row, None)
            if upstream is None:
                cells = self._cells(state.row)
                upstream = Upstream(state.id, state.host, state.port, state.weight, cells, state.row)
                self._connector.add(upstream, keepalive)
            elif upstream.host != state.host:
                upstream.set_host(state.host)
                upstream.history = TrafficHistory()  # it was another machine's
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
            upstream.max_inflight = self._share(state.max_inflight, state.row)
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

    def unresponsive(self) -> set[Upstream]:
        """Where requests wait in vain while they could be answered elsewhere: at upstreams that are known to
        answer nobody, and are not the last ones."""
        return {
            one
            for name, silent in self._silent.items()
            for one in silent
            if one.inflight > one.streaming and others_left(one, self._pools[name][0].upstreams)
        }

    def close(self) -> None:
        """Nobody is served from the queues any more."""
        for pool, _, _ in self._pools.values():
            if pool.adaptive is not None:
                pool.adaptive.close()
            if pool.queue is not None:
                pool.queue.close()

    def judged(self, verdict: Verdict) -> None:
        """The supervisor's word on an outlier ejected here. Raises KeyError for an unknown pool."""
        pool = self._pools[verdict.pool][0]
        upstream = self._members[verdict.pool].get(verdict.row)
        if upstream is None or not upstream.history.held_until:
            return
        upstream.history.held_until = verdict.until
        if not verdict.until:
            pool.overruled(upstream)

    def sweep(self) -> list[int]:
        """Go on with slow starts, look at how busy upstreams are. Gives the rows let go since the last sweep.

        A cancelled dial may still count for a turn of the loop after its attempt has ended, so an upstream
        must be found idle in two sweeps.
        """
        for pool, _, slow_start in self._pools.values():
            if slow_start.step():
                pool.rebuild()
            if pool.adaptive is not None:
                pool.adaptive.sweep()
        if not self._leaving:
            return []
        idle = {row: upstream for row, upstream in self._leaving.items() if not upstream.inflight}
        released = [row for row in idle if row in self._idle]
        for row in released:
            self._connector.remove(self._leaving.pop(row))
            del idle[row]
        self._idle = idle
        return released
