"""The balancer: workers with the product's own pool and queue, and the proxy's part around them."""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from balancer.edges import STANDARD
from balancer.errors import NO_UPSTREAM, UPSTREAMS_FULL, Failure, Outcome
from balancer.limits.adaptive_limits import AdaptiveLimits
from balancer.limits.concurrency_limit import ConcurrencyBounds
from balancer.policies.base import PolicyContext
from balancer.policies.least_connections import LeastConnections
from balancer.policies.registry import build as build_policy
from balancer.pools.parts import PoolParts
from balancer.pools.picker import Picker
from balancer.pools.pool import UpstreamPool
from balancer.queueing.queue import SlotQueue
from balancer.runtime.build import share
from balancer.telemetry.columns import (
    CELLS_PER_ROW,
    CODE_COLUMN,
    UPSTREAM_FIRST_BYTE,
    UPSTREAM_FIRST_BYTE_SUM,
    UPSTREAM_LEFT,
)
from balancer.upstreams.upstream import Upstream
from tests.fakes.specs import pool_spec
from tests.sim.engine import Engine
from tests.sim.figures import End, Figures, Record
from tests.sim.published_limits import MakeLimit, PublishedLimits
from tests.sim.published_queues import MakeQueue
from tests.sim.replicas import Replica

_POOL = pool_spec(retry={"statuses": (), "methods": ["GET"], "replay_bytes": 0})


_SWEEP = 0.25


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings under their public names. `wire` is the delay between balancer and replica in seconds, one
    way, with the balancer's own time: a slot is idle that long between an answer and the next request.
    `limit` and `queue` build published algorithms that replace the product's."""

    max_inflight: int = 0
    queue_size: int = 1000
    queue_timeout: float = 5.0
    policy: str = "least_connections"
    workers: int = 1
    wire: float = 0.0003
    adaptive: bool = True
    min_limit: int = 1
    max_limit: int = 10_000
    limit: MakeLimit | None = None
    queue: MakeQueue | None = None


class Worker:
    """One worker: its pool, and the replicas behind its upstreams."""

    def __init__(
        self, engine: Engine, settings: Settings, slot: int, replicas: Sequence[Replica], random: Random
    ) -> None:
        self.engine = engine
        self.wire = settings.wire
        self.cells = _cells()
        rows = range(1, len(replicas) + 1)
        self.upstreams = [Upstream(f"app{row}:8000", f"10.0.0.{row}", 8000, 1, _cells(), row) for row in rows]
        self.replica_of = dict(zip(self.upstreams, replicas, strict=True))
        self._others: list[Worker] = []
        workers = settings.workers
        for upstream in self.upstreams:
            upstream.max_inflight = share(settings.max_inflight, workers, slot, upstream.row)
        context = PolicyContext(random, slot, engine)
        self.published = settings.limit and PublishedLimits(settings.limit, engine, Random(random.random()))
        self.all_wait = (
            settings.queue is not None
        )  # even if it could be served at once: published queues see all requests
        queue_size = share(settings.queue_size, workers, slot, 0)
        queue = (
            settings.queue(engine, self.cells)
            if settings.queue
            else SlotQueue(queue_size, settings.queue_timeout, loop=engine, clock=engine, cells=self.cells)
        )
        policy = build_policy(settings.policy, {}, context)
        self.pool = UpstreamPool(
            _POOL,
            Picker("default", policy, LeastConnections(context), _raise),
            self.cells,
            engine.monotonic_ns(),
            PoolParts(
                queue=queue,
                adaptive=self.published or (self._adaptive(settings) if settings.adaptive else None),
                remote_rows=self._remote_rows if workers > 1 else None,
            ),
        )

    def _adaptive(self, settings: Settings) -> AdaptiveLimits:
        bounds = ConcurrencyBounds(settings.min_limit, settings.max_limit)
        return AdaptiveLimits(bounds, loop=self.engine, clock=self.engine, rows=self._remote_rows)

    def meet(self, others: Sequence[Worker]) -> None:
        """All workers exist: the pool can begin."""
        self._others = [one for one in others if one is not self]
        self.pool.set_members(self.upstreams)
        self._sweep()

    def _sweep(self) -> None:
        if self.pool.adaptive is not None:
            self.pool.adaptive.sweep()
        self.engine.after(_SWEEP, self._sweep)

    def _remote_rows(self, row: int) -> list[memoryview[int]]:
        return [other.upstreams[row - 1].cells for other in self._others]


class Exchange:
    """One request from its client's point of view: waits in the queue, runs at a replica, or is over.

    It does what the proxy's `connecting` and `attempt` do when nothing goes wrong on the wire.
    """

    __slots__ = ("_came", "_figures", "_first_byte_ns", "_inflight", "_on_end", "_over", "_pool", "_sent_ns",
                 "_streaming", "_upstream", "_waiting", "_worker", "route")  # fmt: skip

    def __init__(
        self, worker: Worker, figures: Figures, route: str, on_end: Callable[[], None] | None = None
    ) -> None:
        self._worker = worker
        self._pool = worker.pool
        self._figures = figures
        self._came = worker.engine.passed
        self._on_end = on_end
        self._over = False
        self._waiting = False
        self._streaming = False
        self._upstream: Upstream | None = None
        self._sent_ns = 0
        self._inflight = 0  # in flight at its upstream when it was sent, including itself
        self._first_byte_ns = -1
        self.route = route

    # --- the client

    def begin(self, patience: float) -> None:
        """The request arrives; its client leaves after `patience` seconds."""
        self._pool.retry_budget.requests += 1
        queue = self._pool.queue
        if queue is not None and (queue.waiting or self._worker.all_wait):
            self._wait()
        elif not self._take_slot(self._worker.engine.monotonic_ns()):
            self._wait_or_fail()
        if not self._over and patience < float("inf"):
            self._worker.engine.after(patience, self._leave)

    def _leave(self) -> None:
        if self._over:
            return
        if self._waiting:
            self._leave_queue(-1)
        elif self._upstream is not None and self._first_byte_ns < 0:
            self._upstream.cells[UPSTREAM_LEFT] += 1
        if self._first_byte_ns < 0:
            engine = self._worker.engine
            self._pool.client_left(round((engine.passed - self._came) * 1e9), engine.monotonic_ns())
        self._end(End.LEFT, "", Outcome.CLIENT_GONE)

    @property
    def left(self) -> bool:
        return self._over

    # --- the queue (Waiter)

    def network(self) -> str:
        """Each route has a client of its own."""
        return self.route

    def offered(self, now_ns: int) -> bool:
        if self._take_slot(now_ns, waited=True):
            return True
        if self._pool.is_full(()):
            return False
        self._leave_queue(-1)
        self._refuse(NO_UPSTREAM)
        return True

    def gave_up(self, failure: Failure) -> None:
        self._waiting = False
        self._refuse(failure)

    def _wait_or_fail(self) -> None:
        if self._pool.is_full(()):
            self._wait()
        else:
            self._refuse(NO_UPSTREAM)

    def _wait(self) -> None:
        queue = self._pool.queue
        refused = UPSTREAMS_FULL if queue is None else queue.join(self)
        if refused is None:
            self._waiting = True
        else:
            self._refuse(refused)

    def _leave_queue(self, served_ns: int) -> None:
        self._waiting = False
        queue = self._pool.queue
        assert queue is not None
        queue.leave(self, served_ns)

    # --- the upstream

    def _take_slot(self, now_ns: int, *, waited: bool = False) -> bool:
        worker = self._worker
        upstream = self._pool.choose(0, (), now_ns)
        if upstream is None:
            return False
        if waited:
            self._leave_queue(now_ns)
        self._upstream = upstream
        self._sent_ns = now_ns
        self._inflight = upstream.inflight
        worker.engine.after(worker.wire, worker.replica_of[upstream].begin, self)
        return True

    def answered(self, body: float) -> None:
        worker = self._worker
        worker.engine.after(worker.wire, self._response, body)

    def _response(self, body: float) -> None:
        if self._over:
            return
        upstream = self._upstream
        assert upstream is not None
        self._first_byte_ns = first_byte = self._worker.engine.monotonic_ns() - self._sent_ns
        upstream.answered_ns = self._worker.engine.monotonic_ns()
        cells = upstream.cells
        cells[CODE_COLUMN[200]] += 1
        cells[UPSTREAM_FIRST_BYTE + STANDARD.cell(first_byte)] += 1
        cells[UPSTREAM_FIRST_BYTE_SUM] += first_byte
        if body:
            self._streaming = True
            self._pool.stream_began(upstream)
            self._worker.engine.after(body, self._last_byte)
        else:
            self._last_byte()

    def _last_byte(self) -> None:
        if not self._over:
            self._end(End.SERVED, "", Outcome.SUCCESS)

    # --- the end

    def _refuse(self, failure: Failure) -> None:
        self._end(End.REFUSED, failure.reason, Outcome.CANCELLED)

    def _end(self, end: End, reason: str, outcome: Outcome) -> None:
        self._over = True
        engine = self._worker.engine
        upstream = self._upstream
        if upstream is not None:
            now = engine.monotonic_ns()
            if self._streaming:
                self._pool.stream_ended(upstream)
            latency = self._first_byte_ns if self._first_byte_ns >= 0 else now - self._sent_ns
            self._pool.finished(upstream, latency, outcome)
            if self._worker.published is not None:
                self._worker.published.ended(upstream, self._sent_ns / 1e9, self._inflight, end is End.LEFT)
        self._figures.records.append(Record(self._came, engine.passed, end, reason, self.route))
        if self._on_end is not None:
            self._on_end()


def _cells() -> memoryview[int]:
    return memoryview(bytearray(CELLS_PER_ROW * 8)).cast("q")


def _raise(error: Exception) -> None:
    raise error
