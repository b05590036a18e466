"""Starts, watches, replaces and finally shuts down the workers of this instance (L7)."""

import logging
from collections.abc import Callable
from functools import partial
from typing import Protocol, assert_never

from balancer.clock import Clock
from balancer.messages import (
    Access,
    CameBack,
    Doubt,
    Drain,
    Drained,
    Eject,
    Elsewhere,
    Failures,
    Fatal,
    FromSupervisor,
    FromWorker,
    Heartbeat,
    LogLine,
    Ready,
    Recovered,
    Released,
    Start,
    Verdict,
)
from balancer.runtime.adoption import abandon, adopt, release
from balancer.runtime.memory import room_for_a_worker
from balancer.runtime.predecessors import Predecessors
from balancer.runtime.process_stats import read_stats
from balancer.runtime.slot import Life, Process, Slot, SlotState
from balancer.runtime.watchdog import Finding, Watchdog
from balancer.runtime.worker_log import WorkerLog
from balancer.runtime.worker_process import Ended, OnEnded, OnMessage
from balancer.telemetry.ledger import Ledger
from balancer.telemetry.samples import WorkerSample

ADOPT_AFTER = 1.0


class Spawn(Protocol):
    """Starts a worker process. Raises OSError if the machine does not allow it."""

    def __call__(self, start: Start, *, on_message: OnMessage, on_ended: OnEnded) -> Process:
        """The running process."""


class WorkerEvents(Protocol):
    """Events for the supervisor."""

    def established(self) -> None:
        """All workers are ready for the first time."""

    def failed(self, error: str) -> None:
        """A worker failed before all were ready for the first time: one sentence."""

    def gone(self) -> None:
        """After `drain` or `kill`: no worker is left."""

    def access(self, message: Access) -> None:
        """Access-log lines of a worker."""

    def failures(self, message: Failures) -> None:
        """Errors that a worker has answered, oldest first."""

    def suspected(self, worker: int, message: Eject) -> Verdict | None:
        """A worker has found an outlier; returns the answer to it."""

    def doubted(self, worker: int, message: Doubt) -> None:
        """A worker has seen failures that a check should confirm."""

    def recovered(self, message: Recovered) -> None:
        """A worker's request to an upstream on probation has succeeded."""

    def looped(self, message: CameBack) -> None:
        """A request has come back to the worker that sent it, or to another one."""

    def elsewhere(self, message: Elsewhere) -> None:
        """An upstream does not answer at its own address, but at another one of its name."""


class Workers:
    """All slots. Call `tick` every `slot.TICK` seconds; time comes only from `clock`."""

    def __init__(
        self,
        workers: int,
        *,
        spawn: Spawn,
        start_message: Callable[[int, int], Start],
        ledger: Ledger,
        clock: Clock,
        log: logging.Logger,
        events: WorkerEvents,
        has_room: Callable[[], bool] = room_for_a_worker,
    ) -> None:
        """`has_room`: whether there is memory for one more worker."""
        self._has_room = has_room
        self._slots = [Slot(number) for number in range(workers)]
        self._spawn = spawn
        self._start_message = start_message
        self._ledger = ledger
        self._clock = clock
        self._log = log
        self._events = events
        self._established = False
        self._stopping = False
        self._worker_log = WorkerLog(log)
        self._predecessors = Predecessors()

    def start(self) -> None:
        """Start a worker in every slot."""
        for slot in self._slots:
            self._start(slot)

    def tick(self) -> None:
        """Watch for silent workers, start due ones, let another worker adopt sockets that are not served."""
        now = self._now()
        for slot, life in self._lives():
            self._watch(slot, life, now)
        for slot in self._slots:
            if self._stopping:
                continue
            if slot.is_due(now):
                self._start(slot)
            if slot.is_lingering(now, ADOPT_AFTER):
                adopt(self._slots, slot, self._log)

    def _lives(self) -> list[tuple[Slot, Life]]:
        return [(slot, slot.life) for slot in self._slots if slot.life is not None] + [*self._predecessors]

    def _watch(self, slot: Slot, life: Life, now: float) -> None:
        who = (slot.number, life.process.pid)
        match life.watchdog.tick():
            case Finding.SILENT:
                self._log.warning("worker %d (pid %d) does not answer; its stack goes to stderr", *who)
                life.process.ask_for_stack()
            case Finding.LATE:
                self._log.warning("worker %d (pid %d) is late, but works: it is left alone", *who)
            case Finding.STUCK if life is slot.life and self._may_supersede(slot):
                self._log.error("worker %d (pid %d) is stuck; its successor takes over", *who)
                self._supersede(slot, life, now)
            case Finding.STUCK:
                self._log.error("worker %d (pid %d) does not answer; killing it", *who)
                life.process.kill()

    def _may_supersede(self, slot: Slot) -> bool:
        """Whether a successor can start while the stuck worker is still running: its counts, requests and
        connections may still end well."""
        return slot.state is SlotState.READY and not self._stopping and self._has_room()

    def _supersede(self, slot: Slot, life: Life, now: float) -> None:
        self._predecessors.add(slot, life)
        slot.vacated(now)
        abandon(self._slots, slot)

    def broadcast(self, message: FromSupervisor) -> None:
        """Send a change to all workers. One that cannot take it would use old state, so it is killed."""
        for slot, life in self._lives():
            self._send(slot, life, message)

    def _send(self, slot: Slot, life: Life, message: FromSupervisor) -> None:
        if not life.process.send(message):
            self._log.error("worker %d cannot be reached by its channel; killing it", slot.number)
            life.process.kill()

    def drain(self) -> None:
        """Tell all workers to finish and exit; `gone` follows."""
        self._stopping = True
        self.broadcast(Drain())
        self._check_gone()

    def kill(self) -> None:
        """End all workers at once; `gone` follows."""
        self._stopping = True
        for _, life in self._lives():
            life.process.kill()
        self._check_gone()

    def running(self) -> int:
        """The number of worker processes."""
        return len(self._lives())

    def unready(self) -> list[str]:
        """One sentence for each worker that is not ready; empty if all are."""
        return [
            f"worker {slot.number} is {slot.state.value}"
            for slot in self._slots
            if slot.state is not SlotState.READY
        ]

    def samples(self) -> list[WorkerSample]:
        """Samples for the metrics; reads /proc. May be called from another thread."""
        samples = []
        for slot in self._slots:
            life = slot.life
            ended_cpu = slot.cpu_seconds
            stats = read_stats(life.process.pid if life is not None else 0)
            samples.append(
                WorkerSample(
                    slot.number,
                    slot.state is SlotState.READY,
                    slot.restarts,
                    ended_cpu + stats.cpu_seconds,
                    stats.resident_bytes,
                    stats.open_fds,
                )
            )
        return samples

    def _start(self, slot: Slot) -> None:
        slot.incarnation += 1
        page = self._ledger.take_page()
        life = Life(slot.incarnation, page, Watchdog(partial(self._ledger.fingerprint, page)))
        try:
            life.process = self._spawn(
                self._start_message(slot.number, page),
                on_message=partial(self._message, slot, life),
                on_ended=partial(self._ended, slot, life),
            )
        except OSError as error:
            self._ledger.fold(page)
            self._startup_error(slot, f"worker {slot.number} cannot be started: {error.strerror or error}")
            slot.vacated(self._now())
            return
        slot.started(life)

    def _ended(self, slot: Slot, life: Life, ended: Ended) -> None:
        self._ledger.fold(life.page)
        slot.cpu_seconds += ended.cpu_seconds
        if self._predecessors.ended(slot, life):
            self._log.info("worker %d's predecessor (pid %d) has ended", slot.number, life.process.pid)
        else:
            self._replace(slot, life, ended)
        if self._stopping:
            self._check_gone()

    def _replace(self, slot: Slot, life: Life, ended: Ended) -> None:
        was = slot.state
        now = self._now()
        delay = slot.vacated(now)
        abandon(self._slots, slot)
        if self._stopping:
            return
        if was is SlotState.STARTING:
            if slot.fatal is None:
                self._startup_error(slot, f"worker {slot.number} ended before it was ready ({ended})")
        else:
            when = f"in {delay:g} s" if delay else "now"
            who = (slot.number, life.process.pid)
            self._log.error("worker %d (pid %d) ended (%s); replacing it %s", *who, ended, when)
        if not self._stopping and slot.is_due(now):
            self._start(slot)

    def _startup_error(self, slot: Slot, error: str) -> None:
        if not self._established:
            self._stopping = True  # a start-up error is reported once, without a restart loop
            self._events.failed(error)
        elif slot.fatal != error:  # the same error is logged once, not at each attempt
            self._log.error("%s; trying again, with growing delays", error)
        slot.fatal = error

    def _check_gone(self) -> None:
        if not self.running():
            self._events.gone()

    def _now(self) -> float:
        return self._clock.monotonic_ns() / 1e9

    # --- messages of workers

    def _message(self, slot: Slot, life: Life, message: FromWorker) -> None:
        life.watchdog.heard()
        match message:
            case Heartbeat() | Drained():
                pass  # it only shows that the worker is alive
            case Access():
                self._events.access(message)
            case Failures():
                self._events.failures(message)
            case Released():
                self._ledger.release(life.page, message.rows)
            case Eject():
                verdict = self._events.suspected(slot.number, message)
                if verdict is not None:
                    self._send(slot, life, verdict)
            case Doubt():
                self._events.doubted(slot.number, message)
            case Recovered():
                self._events.recovered(message)
            case CameBack():
                self._events.looped(message)
            case Elsewhere():
                self._events.elsewhere(message)
            case LogLine():
                self._worker_log.take(slot.number, message)
            case Ready():
                self._became_ready(slot)
            case Fatal():
                self._startup_error(slot, f"worker {slot.number} cannot start: {message.error}")
            case _:
                assert_never(message)

    def _became_ready(self, slot: Slot) -> None:
        slot.became_ready(self._now())
        release(self._slots, slot)
        self._predecessors.dismiss(slot)
        if slot.restarts:
            self._log.info("worker %d is ready again", slot.number)
        if not self._established and not self.unready():
            self._established = True
            self._events.established()
