"""The supervisor (L7): the composition root of the control plane, and the life cycle of the instance."""

import asyncio
import gc
import logging
import socket
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

from balancer import __version__, build
from balancer.clock import Clock, SystemClock
from balancer.config.address import Address, needs_no_look_up
from balancer.config.ourselves import ourselves
from balancer.discovery.discovery import Discovery
from balancer.discovery.lookup import SystemResolver
from balancer.errors import StartupError
from balancer.health.active import ActiveChecks
from balancer.health.overload import LOOK
from balancer.health.probe import Probes
from balancer.messages import (
    Access,
    CameBack,
    Doubt,
    Eject,
    Elsewhere,
    Failures,
    FromSupervisor,
    Recovered,
    Start,
    Verdict,
)
from balancer.runtime import signals
from balancer.runtime.admin import Admin
from balancer.runtime.checking import CheckedFleet, FleetCheckSink
from balancer.runtime.fleet import Fleet
from balancer.runtime.instance import Instance
from balancer.runtime.interpreter import Interpreters
from balancer.runtime.live_tls import LiveTls
from balancer.runtime.open_files import Reserve, hard_limit, shares
from balancer.runtime.outliers import Outliers
from balancer.runtime.overload import OverloadWatch
from balancer.runtime.places import Places, pool_states
from balancer.runtime.plan import Plan
from balancer.runtime.readonly import ReadonlyRoutes
from balancer.runtime.route_counts import RouteCounts, tally
from balancer.runtime.slot import TICK
from balancer.runtime.sockets import bound_address
from balancer.runtime.splits import Splits
from balancer.runtime.states import UpstreamState
from balancer.runtime.worker_process import OnEnded, OnMessage, WorkerProcess
from balancer.runtime.workers import Workers
from balancer.spec.instance import CheckSpec
from balancer.telemetry.columns import Kind
from balancer.telemetry.events import EventLog
from balancer.telemetry.ledger import Ledger
from balancer.telemetry.line_writer import LineWriter
from balancer.telemetry.segment import Segment

if TYPE_CHECKING:
    from balancer.runtime.acme import Acme

DRAIN_MARGIN = 2.0  # seconds that a worker may take to end beyond its drain timeout
ADMIN_WAITS = 1.0  # seconds at most that the admin server waits until the workers are ready


class Supervisor:
    """Connects the parts, and runs the instance from start to stop."""

    def __init__(
        self,
        plan: Plan,
        listeners: list[socket.socket],
        admin: socket.socket,
        log: logging.Logger,
        access_writer: LineWriter,
        interpreters: Interpreters,
    ) -> None:
        spec = plan.instance
        self._plan = plan
        self._worker_spec = spec.worker
        self._interpreters = interpreters
        self._listeners = listeners
        self._admin_socket = admin
        self._log = log
        self._access_writer = access_writer
        self._segment = Segment.create(spec.worker.workers)
        self._shares = shares(hard_limit(), spec.worker.workers, len(listeners) // spec.worker.workers)
        self._reserve = Reserve()
        loop = asyncio.get_running_loop()
        clock = SystemClock()
        ledger = Ledger(self._segment)
        events = EventLog()
        self._fleet = Fleet(
            pool_states(spec, ledger),
            ledger=ledger,
            events=events,
            clock=clock,
            log=log,
            call_later=loop.call_later,
            broadcast=self._broadcast,
            own=ourselves(bound_address(listeners[0]), bound_address(admin), self._tls_address()),
        )
        self._splits = Splits(
            spec.worker.routes,
            note=partial(self._fleet.note, "split"),
            broadcast=self._broadcast,
            tally=lambda route, pool: tally(ledger.total(Kind.ROUTE, ledger.row(Kind.ROUTE, route, pool))),
            clock=clock,
            log=log,
        )
        self._tls = LiveTls(plan, note=self._fleet.note, broadcast=self._broadcast, clock=clock, log=log)
        self._acme = self._open_acme(clock)
        readonly = ReadonlyRoutes(
            [route.name for route in spec.worker.routes],
            note=partial(self._fleet.note, "read_only"),
            broadcast=self._broadcast,
            call_later=loop.call_later,
            clock=clock,
            log=log,
        )
        self._workers = Workers(
            spec.worker.workers,
            spawn=self._spawn,
            start_message=Places(
                spec.worker, self._fleet, self._splits, readonly, ledger, self._tls, self._acme
            ).start_message,
            ledger=ledger,
            clock=clock,
            log=log,
            events=self,
        )
        self._discovery = Discovery(self._fleet, SystemResolver(max_threads=self._shares.lookups), log, clock)
        for upstream in self._fleet.upstreams():
            if not needs_no_look_up(upstream.host):
                self._discovery.watch(upstream)
        for pool in spec.pools:
            for name in pool.names:
                self._discovery.watch_entry(pool.name, name)
        checks = {pool.name: pool.check for pool in spec.pools if pool.check is not None}
        self._checks = self._open_checks(checks, ledger, loop, clock) if checks else None
        self._outliers = Outliers(
            self._fleet,
            {pool.name: pool.ejection for pool in spec.pools},
            clock=clock,
            call_later=loop.call_later,
            check_now=None if self._checks is None else self._checks.check_now,
        )
        self._fleet.watchers.append(self._outliers)
        self._overload = OverloadWatch(self._fleet, ledger, clock)
        self._instance = Instance(
            fleet=self._fleet,
            routes=RouteCounts(spec.worker.routes, self._splits, readonly, self._fleet, ledger),
            ledger=ledger,
            workers=self._workers,
            checks=self._checks,
            outliers=self._outliers,
            events=events,
            config=plan.config,
            certificates=self._tls,
            acme=self._acme,
            log_dropped=lambda: access_writer.dropped,
            clock=clock,
        )
        self._admin = Admin(self._instance, plan, self._shares.admin)
        self._established = asyncio.Event()
        self._exit: asyncio.Future[int] = loop.create_future()
        self._all_gone = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def _tls_address(self) -> Address | None:
        """Where the TLS listener listens: its sockets are after those of the plain one."""
        return None if self._plan.tls is None else bound_address(self._listeners[self._worker_spec.workers])

    def _open_acme(self, clock: Clock) -> "Acme | None":
        if self._tls.listener is None or self._plan.tls is None or self._plan.tls.acme is None:
            return None
        from balancer.runtime.acme import Acme  # half a MiB that others need not have

        return Acme(
            self._plan.tls.acme,
            self._tls.listener,
            note=self._fleet.note,
            broadcast=self._broadcast,
            clock=clock,
            log=self._log,
        )

    def _open_checks(
        self, specs: Mapping[str, CheckSpec], ledger: Ledger, loop: asyncio.AbstractEventLoop, clock: Clock
    ) -> ActiveChecks[UpstreamState]:
        tls = {pool.name: pool.tls for pool in self._worker_spec.pools}
        probes = Probes(self._worker_spec.via, self._shares.checks, tls)
        self._tls.on_upstreams = probes.update
        checks: ActiveChecks[UpstreamState] = ActiveChecks(
            clock=clock,
            random=Random(),
            sink=FleetCheckSink(self._fleet, ledger, self._discovery.unanswered),
            open_probe=probes,
            loop=loop,
        )
        watcher = CheckedFleet(checks, specs)
        for upstream in self._fleet.upstreams():
            watcher.added(upstream)
        self._fleet.watchers.append(watcher)
        return checks

    async def run(self) -> int:
        """Run from start to stop; returns the exit code (`launch`). Raises StartupError."""
        loop = asyncio.get_running_loop()
        for number in signals.STOPPING:
            loop.add_signal_handler(number, self._on_signal, number)
        for ignored, why in signals.WITHOUT_EFFECT.items():
            loop.add_signal_handler(ignored, self._on_other_signal, ignored, why)
        try:
            self._in_background(self._operate(), "operate")
            self._in_background(self._serve_admin(), "admin")
            for certificates in self._tls.watched:
                self._in_background(certificates.run(), "certificates")
            return await self._exit
        finally:
            for task in self._tasks:
                task.cancel()
            self._workers.kill()
            await self._all_gone.wait()
            if self._checks is not None:
                await self._checks.close()
            await self._admin.stop()
            self._reserve.close()
            self._segment.close()

    def _on_other_signal(self, number: int, why: str) -> None:
        self._log.warning("%s is ignored: %s", signals.name_of(number), why)

    # --- the workers' events (WorkerEvents)

    def established(self) -> None:
        """All workers are ready for the first time."""
        self._established.set()
        tls = self._tls_address()
        self._log.info(
            "balancer %s (%s) listens on %s,%s admin on %s; workers: %d, upstreams: %d",
            __version__,
            build.kind(),
            bound_address(self._listeners[0]),
            "" if tls is None else f" TLS on {tls},",
            bound_address(self._admin_socket),
            self._worker_spec.workers,
            len(self._fleet.upstreams()),
        )

    def failed(self, error: str) -> None:
        """A worker failed before all were ready for the first time: the instance cannot start."""
        if not self._exit.done():
            self._exit.set_exception(StartupError(error))

    def gone(self) -> None:
        """No worker is left."""
        self._all_gone.set()

    def access(self, message: Access) -> None:
        """Access-log lines of a worker."""
        self._access_writer.write(message.text, message.count)

    def failures(self, message: Failures) -> None:
        """Errors that a worker has answered."""
        self._instance.failed(message.records)

    def suspected(self, worker: int, message: Eject) -> Verdict | None:
        """A worker has found an outlier."""
        return self._outliers.suspected(worker, message)

    def doubted(self, worker: int, message: Doubt) -> None:
        """A worker has seen failures that one client may have caused."""
        self._outliers.doubted(worker, message)

    def recovered(self, message: Recovered) -> None:
        """A worker's request to an upstream on probation has succeeded."""
        self._outliers.recovered(message)

    def looped(self, message: CameBack) -> None:
        """A request has come back to this instance."""
        self._fleet.circles.came_back(message.pool, message.upstream, message.text)

    def elsewhere(self, message: Elsewhere) -> None:
        """An upstream answers a worker at another address of its name."""
        for upstream in self._fleet.upstreams():
            if (upstream.row, upstream.address) == (message.row, message.host):
                self._discovery.unanswered(upstream, message.why, message.other)

    # --- the life cycle of the instance

    async def _operate(self) -> None:
        self._in_background(self._discovery.run(), "discovery")
        await self._discovery.asked()
        if circles := self._fleet.circles.at_start(self._fleet.pools.values()):
            self.failed("; ".join(circles))
            return
        self._fleet.established()
        if self._instance.stopping:
            return
        if self._checks is not None:
            self._checks.start()
        self._workers.start()
        self._in_background(self._tick(), "tick")
        if self._acme is not None:
            self._in_background(self._order_certificates(self._acme), "order certificates")
        self._in_background(self._watch_load(), "watch load")

    async def _order_certificates(self, acme: "Acme") -> None:
        await self._established.wait()  # authorities look for proofs here
        await acme.run()

    async def _serve_admin(self) -> None:
        # Its clients wait in the accept queue until then.
        with suppress(TimeoutError):
            async with asyncio.timeout(ADMIN_WAITS):
                await self._established.wait()
        await self._admin.serve(self._admin_socket)

    async def _tick(self) -> None:
        frozen = False
        while True:
            await asyncio.sleep(TICK)
            self._reserve.refill()
            try:
                self._workers.tick()
            except Exception:  # one failed tick must not end the ticks
                self._log.exception("watching the workers failed")
            if not frozen and self._admin.serves and not self._instance.unready():
                # Objects alive now stay alive: with 1,000 upstreams a full collection took 60 to 96 ms.
                gc.collect()
                gc.freeze()
                frozen = True

    async def _watch_load(self) -> None:
        while True:
            await asyncio.sleep(LOOK)
            try:
                self._overload.look()
                self._splits.look()
            except Exception:  # mere watching must not end the instance
                self._log.exception("looking at the pools' load failed")

    def _on_signal(self, number: int) -> None:
        name = signals.name_of(number)
        if self._instance.stopping:
            self._log.warning("%s again: exiting at once", name)
            if not self._exit.done():
                self._exit.set_result(128 + number)
            return
        self._instance.stopping = True
        self._log.info("%s: draining", name)
        self._in_background(self._stop(), "stop")

    async def _stop(self) -> None:
        if self._workers.running():
            await asyncio.sleep(self._plan.drain_delay)
        self._workers.drain()
        for listener in self._listeners:
            listener.close()
        try:
            async with asyncio.timeout(self._worker_spec.drain + DRAIN_MARGIN):
                await self._all_gone.wait()
        except TimeoutError:
            self._log.error("workers outlast the drain time; killing them")
            self._workers.kill()
            await self._all_gone.wait()
        self._log.info("drained, exiting")
        if not self._exit.done():
            self._exit.set_result(0)

    def _broadcast(self, message: FromSupervisor) -> None:
        self._workers.broadcast(message)

    def _spawn(self, start: Start, *, on_message: OnMessage, on_ended: OnEnded) -> WorkerProcess:
        descriptors = [self._segment.fd, *(listener.fileno() for listener in self._listeners)]
        with self._reserve.lent():
            return WorkerProcess(
                start,
                self._interpreters.take(descriptors),
                on_message=on_message,
                on_ended=on_ended,
                on_error=self._on_message_error,
            )

    def _on_message_error(self, what: str, error: Exception) -> None:
        self._log.error("a worker's message %s could not be handled", what, exc_info=error)

    def _in_background(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._on_done)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._exit.done():
            # The instance cannot go on without a part of the control plane.
            self._log.error("the supervisor's task %s failed", task.get_name(), exc_info=error)
            self._exit.set_result(1)
