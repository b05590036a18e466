"""The supervisor (L7): the composition root of the control plane, and the life cycle of the instance."""

import asyncio
import gc
import logging
import os
import socket
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from balancer import __version__, build
from balancer.clock import SystemClock
from balancer.errors import StartupError
from balancer.health.overload import LOOK
from balancer.messages import (
    Access,
    CameBack,
    Doubt,
    Eject,
    Elsewhere,
    Explained,
    Failures,
    FromSupervisor,
    Recovered,
    Start,
    Traces,
    Verdict,
)
from balancer.runtime import signals
from balancer.runtime.admin import Admin
from balancer.runtime.control_plane import ControlPlane, Surroundings
from balancer.runtime.explanations import Explanations
from balancer.runtime.figures import SampledFigures
from balancer.runtime.generation import Generation
from balancer.runtime.handover import Handover
from balancer.runtime.inheritance import Successor
from balancer.runtime.instance import Instance
from balancer.runtime.interpreter import Interpreters
from balancer.runtime.keeping import Keeping
from balancer.runtime.kept import Kept
from balancer.runtime.listening import Listening
from balancer.runtime.notify import READY, STOPPING, notify
from balancer.runtime.open_files import Reserve, hard_limit, shares
from balancer.runtime.overviews import Overviews
from balancer.runtime.places import Places
from balancer.runtime.plan import Plan
from balancer.runtime.reload import Reloads
from balancer.runtime.rereader import Rereader
from balancer.runtime.seeing import Seeing
from balancer.runtime.settings_watch import SettingsWatch
from balancer.runtime.slot import TICK
from balancer.runtime.sockets import bound_address
from balancer.runtime.state_file import read as read_state
from balancer.runtime.state_keeper import StateKeeper
from balancer.runtime.traces import Tracer
from balancer.runtime.worker_process import OnEnded, OnMessage, WorkerProcess
from balancer.runtime.workers import Workers
from balancer.spec.part import replaced
from balancer.telemetry.events import EventLog
from balancer.telemetry.ledger import Ledger
from balancer.telemetry.line_writer import LineWriter
from balancer.telemetry.segment import Segment

if TYPE_CHECKING:
    from balancer.runtime.acme import Acme

DRAIN_MARGIN = 2.0  # seconds that a worker may take to end beyond its drain timeout
_GLANCE = 0.05  # seconds
ADMIN_WAITS = 1.0  # seconds at most that the admin server waits until the workers are ready


class Supervisor:
    """Connects the parts, and runs the instance from start to stop."""

    def __init__(
        self,
        plan: Plan,
        listening: Listening,
        admin: socket.socket,
        log: logging.Logger,
        access_writer: LineWriter,
        interpreters: Interpreters,
        config_file: str | None = None,
        successor: Successor | None = None,
    ) -> None:
        """`config_file` is that of the command line. `successor`: this process replaces another one."""
        self._successor = successor
        spec = plan.instance.worker
        self._interpreters = interpreters
        self._listening = listening
        self._admin_socket = admin
        self._log = log
        self._access_writer = access_writer
        self._established = asyncio.Event()
        self._segment = Segment.create(spec.workers)
        most = shares(hard_limit(), spec.workers, len(listening.wanted))
        self._reserve = Reserve()
        loop = asyncio.get_running_loop()
        clock = SystemClock()
        ledger = Ledger(self._segment)
        events = EventLog()
        around = Surroundings(ledger, events, clock, log, loop, self._broadcast, most)
        self._explanations = Explanations(
            spec,
            broadcast=self._broadcast,
            failure=lambda request_id: self._instance.failure(request_id),
            clock=clock,
        )
        self._plane = plane = ControlPlane(plan, listening.addresses, bound_address(admin), around)
        self._workers = Workers(
            self._generation(plan, listening, plane.places()),
            ledger=ledger,
            clock=clock,
            log=log,
            events=self,
        )
        self._reloads = Reloads(
            plane,
            self._workers,
            Rereader(config_file),
            self._generation,
            self._took_over,
            listening=listening,
            established=self._established,
            clock=clock,
            log=log,
        )
        self._keeping = Keeping(
            plane.operator, plane.outliers, plane.checks.failing, ledger, loop.call_later, log
        )
        plane.fleet.watchers.append(self._keeping)
        self._state = StateKeeper(plan.state_file, lambda: self._keeping.now(plane.fleet.upstreams()), log)
        self._handover = Handover(
            plane,
            self._reloads,
            self._keeping,
            listening=lambda: self._listening,
            admin=admin.fileno,
            is_stopping=lambda: self._instance.stopping,
            finish=self._finish,
            log=log,
        )
        self._tracer = Tracer(log, loop)
        self._tracer.settle(spec)
        self._instance = Instance(
            fleet=plane.fleet,
            operator=plane.operator,
            routes=plane.routes,
            ledger=ledger,
            slos=plane.slos,
            workers=self._workers,
            checks=plane.checks,
            outliers=plane.outliers,
            events=events,
            config=plan.config,
            certificates=plane.tls,
            acme=plane.acme,
            discovery=plane.discovery,
            reloads=self._reloads,
            replace=self._handover.replace,
            is_replacing=lambda: self._handover.running,
            keeps=lambda: self._state.works,
            log_dropped=lambda: access_writer.dropped,
            spans=self._tracer.counts,
            clock=clock,
        )
        seeing = Seeing(
            self._instance, plane.fleet, plane.routes, self._workers, self._reloads, ledger, clock
        )
        self._overviews = Overviews(SampledFigures(ledger), seeing.look, seeing.see, clock, log)
        self._instance.overviews = self._overviews
        self._instance.explanations = self._explanations
        self._admin = Admin(self._instance, plan, most.admin, lambda: self._plane.plan.registration_tokens)
        self._acme_orders: tuple[Acme, asyncio.Task[None]] | None = None
        self._exit: asyncio.Future[int] = loop.create_future()
        self._all_gone = asyncio.Event()
        self._ready_for_admin = asyncio.Event()  # if it replaces another program
        self._hurried = False  # told to end soon
        self._tasks: set[asyncio.Task[None]] = set()
        self._while_serving: list[asyncio.Task[None]] = []  # of these, what a program that is replaced stops

    def _generation(self, plan: Plan, listening: Listening, places: Places) -> Generation:
        """What workers are made from by these settings."""

        def start_message(slot: int, page: int) -> Start:
            return replaced(places.start_message(slot, page), watch=self._explanations.update())

        return Generation(
            workers=plan.instance.worker.workers,
            slots=listening.slots,
            addresses=tuple(listening.addresses),
            start_message=start_message,
            spawn=partial(self._spawn, [self._segment.fd, *listening.descriptors]),
            drain=plan.reload.drain,
        )

    async def run(self) -> int:
        """Run from start to stop; returns the exit code (`launch`). Raises StartupError."""
        loop = asyncio.get_running_loop()
        for number in signals.STOPPING:
            loop.add_signal_handler(number, self._on_signal, number)
        loop.add_signal_handler(signals.RELOADING, self._on_reload)
        if signals.asked_to_reload_early():
            self._on_reload()
        loop.add_signal_handler(signals.REPLACING, self._on_replace)
        for ignored, why in signals.WITHOUT_EFFECT.items():
            loop.add_signal_handler(ignored, self._on_other_signal, ignored, why)
        try:
            self._in_background(self._operate(), "operate")
            self._in_background(self._serve_admin(), "admin")
            self._while_serving.append(self._in_background(self._plane.tls.run(), "certificates"))
            return await self._exit
        finally:
            for task in self._tasks:
                task.cancel()
            self._workers.kill()
            await self._all_gone.wait()
            await self._plane.checks.close()
            await self._admin.stop()
            self._listening.close_unless_in()
            self._reserve.close()
            self._segment.close()

    def _on_reload(self) -> None:
        self._in_background(self._reloads.by(signals.name_of(signals.RELOADING)), "reload")

    def _on_replace(self) -> None:
        self._in_background(self._handover.by(signals.name_of(signals.REPLACING)), "replace")

    def _on_other_signal(self, number: int, why: str) -> None:
        self._log.warning("%s is ignored: %s", signals.name_of(number), why)

    # --- the workers' events (WorkerEvents)

    def established(self) -> None:
        """All workers are ready for the first time."""
        self._established.set()
        notify(READY)
        self._log.info(
            "balancer %s (%s) listens on %s, admin on %s; workers: %d, upstreams: %d",
            __version__,
            build.kind(),
            _where(self._listening),
            bound_address(self._admin_socket),
            self._plane.plan.instance.worker.workers,
            len(self._plane.fleet.upstreams()),
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

    def traced(self, message: Traces) -> None:
        """Requests that a worker has traced."""
        self._tracer.take(message)

    def explained(self, message: Explained) -> None:
        """A worker has explained requests."""
        self._explanations.take(message)

    def suspected(self, worker: int, message: Eject) -> Verdict | None:
        """A worker has found an outlier."""
        return self._plane.outliers.suspected(worker, message)

    def doubted(self, worker: int, message: Doubt) -> None:
        """A worker has seen failures that one client may have caused."""
        self._plane.outliers.doubted(worker, message)

    def recovered(self, message: Recovered) -> None:
        """A worker's request to an upstream on probation has succeeded."""
        self._plane.outliers.recovered(message)

    def looped(self, message: CameBack) -> None:
        """A request has come back to this instance."""
        self._plane.fleet.circles.came_back(message.pool, message.upstream, message.text)

    def elsewhere(self, message: Elsewhere) -> None:
        """An upstream answers a worker at another address of its name."""
        for upstream in self._plane.fleet.upstreams():
            if (upstream.row, upstream.address) == (message.row, message.host):
                self._plane.discovery.unanswered(upstream, message.why, message.other)

    # --- the life cycle of the instance

    async def _operate(self) -> None:
        self._in_background(self._plane.discovery.run(), "discovery")
        await self._plane.discovery.asked()
        if circles := self._plane.fleet.circles.at_start(self._plane.fleet.pools.values()):
            self.failed("; ".join(circles))
            return
        self._restore()
        self._plane.fleet.established()
        if self._instance.stopping:
            return
        self._plane.checks.start()
        self._workers.start()
        self._in_background(self._tick(), "tick")
        self._order_certificates()
        self._in_background(self._watch_load(), "watch load")
        self._in_background(self._overviews.run(), "take samples")
        watch = SettingsWatch(lambda: self._plane.plan.reload.watched, self._reloads.by)
        self._while_serving.append(self._in_background(watch.run(), "watch the settings"))
        if self._successor is not None:
            self._in_background(self._succeed(self._successor), "succeed")

    def _restore(self) -> None:
        """Put in force what was kept by the program before this one."""
        fleet, path = self._plane.fleet, self._state.path
        if self._successor is not None:
            kept = self._successor.inheritance.kept
        else:
            kept, problem = read_state(path) if path else (Kept(), "")
            if problem:
                self._log.error("BALANCER_STATE__FILE: %s", problem)
        self._keeping.restore(kept, fleet)
        self._workers.ancestor = self._keeping.seed(kept, fleet)
        self._plane.operator.on_change = self._state.changed
        self._in_background(self._state.run(), "keep the state")

    async def _succeed(self, successor: Successor) -> None:
        """Tell the program that this one replaces to finish, as soon as it can."""
        while self._instance.unready():  # noqa: ASYNC110 - once in the life of an instance
            await asyncio.sleep(_GLANCE)
        self._ready_for_admin.set()
        successor.serves(self._listening.wanted)
        self._log.info("this process replaces %d, which drains", os.getppid())

    def _order_certificates(self) -> None:
        """Order those of the present settings."""
        ordering, acme = self._acme_orders, self._plane.acme
        if ordering is not None and ordering[0] is not acme:
            ordering[1].cancel()
            self._acme_orders = None
        if acme is not None and self._acme_orders is None:
            task = self._in_background(self._order(acme), "order certificates")
            self._acme_orders = acme, task

    async def _order(self, acme: "Acme") -> None:
        await self._established.wait()  # authorities look for proofs here
        await acme.run()

    # --- reloads

    def _took_over(self, listening: Listening) -> None:
        """Other settings are in force, with these sockets."""
        if listening.addresses != self._listening.addresses:
            self._log.info("listens on %s now", _where(listening))
        self._listening = listening
        self._state.settle(self._plane.plan.state_file)
        self._tracer.settle(self._plane.plan.instance.worker)
        self._explanations.settle(self._plane.plan.instance.worker)
        self._order_certificates()
        self._instance.settle(self._plane.plan.config, self._plane.acme)
        self._admin.settle(self._plane.plan)

    # --- another program

    def _finish(self, ends: tuple[int, ...]) -> None:
        self._instance.stopping = True
        self._in_background(self._hand_over(ends), "hand over")

    async def _hand_over(self, ends: tuple[int, ...]) -> None:
        """Finish what is under way; another program serves. It does not have the listeners in `ends`, and it
        alone keeps the state, watches files, and orders certificates from now on."""
        for task in self._while_serving:
            task.cancel()
        await self._state.close()
        within = self._plane.plan.reload.drain
        self._workers.retire(within, ends)
        self._listening.close_unless_in()
        if self._acme_orders is not None:
            self._acme_orders[1].cancel()
        await self._admin.stop()
        await self._plane.checks.close()
        await self._drained(within + DRAIN_MARGIN)

    async def _serve_admin(self) -> None:
        # Its clients wait in the accept queue until then; a program that is replaced serves them so far.
        if self._successor is not None:
            await self._ready_for_admin.wait()
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
                self._plane.overload.look()
                self._plane.splits.look()
            except Exception:  # mere watching must not end the instance
                self._log.exception("looking at the pools' load failed")

    def _on_signal(self, number: int) -> None:
        name = signals.name_of(number)
        if self._instance.stopping and not self._hurried:  # it has been replaced
            self._hurried = True
            self._log.info("%s: draining in %g s", name, self._plane.plan.instance.worker.drain)
            self._workers.drain()
            return
        if self._instance.stopping:
            self._log.warning("%s again: exiting at once", name)
            if not self._exit.done():
                self._exit.set_result(128 + number)
            return
        self._instance.stopping = self._hurried = True
        notify(STOPPING)
        self._log.info("%s: draining", name)
        self._in_background(self._stop(), "stop")

    async def _stop(self) -> None:
        await self._handover.give_up()
        if self._workers.running():
            await asyncio.sleep(self._plane.plan.drain_delay)
        self._workers.drain()
        self._listening.close_unless_in()
        await self._drained(self._plane.plan.instance.worker.drain + DRAIN_MARGIN)

    async def _drained(self, within: float) -> None:
        """Exit when all workers have ended, for `within` seconds at most."""
        if not self._handover.done:
            await self._state.write()
        try:
            async with asyncio.timeout(within):
                await self._all_gone.wait()
        except TimeoutError:
            self._log.error("workers outlast the drain time; killing them")
            self._workers.kill()
            await self._all_gone.wait()
        await self._tracer.close()
        self._log.info("drained, exiting")
        if not self._exit.done():
            self._exit.set_result(0)

    def _broadcast(self, message: FromSupervisor) -> None:
        self._workers.broadcast(message)

    def _spawn(
        self, descriptors: Sequence[int], start: Start, *, on_message: OnMessage, on_ended: OnEnded
    ) -> WorkerProcess:
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

    def _in_background(self, work: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._on_done)
        return task

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._exit.done():
            # The instance cannot go on without a part of the control plane.
            self._log.error("the supervisor's task %s failed", task.get_name(), exc_info=error)
            self._exit.set_result(1)


def _where(listening: Listening) -> str:
    plain, *tls = listening.addresses
    return f"{plain}, TLS on {tls[0]}" if tls else str(plain)
