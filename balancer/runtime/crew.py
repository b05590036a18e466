"""The workers of this instance (L6): started, watched, replaced, and led out at the end."""

import logging
from collections.abc import Callable
from functools import partial
from typing import Protocol

from balancer.clock import Clock
from balancer.errors import BalancerError
from balancer.runtime.channel import Message
from balancer.runtime.process_stats import read_stats
from balancer.runtime.slot import Process, Slot, SlotState
from balancer.runtime.worker_process import Ended, OnEnded, OnMessage
from balancer.telemetry.ledger import Ledger
from balancer.telemetry.samples import WorkerSample

ADOPT_AFTER = 1.0
_SAID_KEPT = 4096  # of what is said once; then it is forgotten


class Spawn(Protocol):
    """Starts a worker process. Raises OSError where the machine does not let it."""

    def __call__(self, start: Message, *, on_message: OnMessage, on_ended: OnEnded) -> Process:
        """The running process."""


class CrewEvents(Protocol):
    """What the supervisor is told."""

    def established(self) -> None:
        """All workers are ready for the first time."""

    def failed(self, error: str) -> None:
        """A worker failed before all were ready for the first time: one sentence."""

    def gone(self) -> None:
        """After `drain` or `kill`: no worker is left."""

    def access(self, records: list[list[object]]) -> None:
        """Access-log records of a worker."""

    def failures(self, records: list[dict[str, object]]) -> None:
        """Errors that a worker has made, oldest first."""

    def suspected(self, worker: int, message: Message) -> Message | None:
        """A worker has found an outlier; what it is answered."""

    def doubted(self, worker: int, message: Message) -> None:
        """A worker has seen failures that a check is to prove."""

    def recovered(self, message: Message) -> None:
        """An upstream on probation has answered a worker well."""

    def looped(self, message: Message) -> None:
        """A request has come back to a worker that has sent it on, or to another of them."""

    def elsewhere(self, message: Message) -> None:
        """An upstream does not answer at its address, but at another one that its name has."""


class Crew:
    """All slots. `tick` is to be called every `slot.TICK` seconds; time comes from `clock` alone."""

    def __init__(
        self,
        workers: int,
        *,
        spawn: Spawn,
        start_message: Callable[[int, int], Message],
        ledger: Ledger,
        clock: Clock,
        log: logging.Logger,
        events: CrewEvents,
    ) -> None:
        self._slots = [Slot(number) for number in range(workers)]
        self._spawn = spawn
        self._start_message = start_message
        self._ledger = ledger
        self._clock = clock
        self._log = log
        self._events = events
        self._established = False
        self._stopping = False
        self._said: set[str] = set()  # what all workers would say, and one has said
        self._handlers: dict[str, Callable[[Slot, Message], None]] = {
            "ready": self._on_ready,
            "heartbeat": self._on_heartbeat,
            "access": self._on_access,
            "failures": self._on_failures,
            "released": self._on_released,
            "eject": self._on_eject,
            "doubt": self._on_doubt,
            "recovered": self._on_recovered,
            "loop": self._on_loop,
            "elsewhere": self._on_elsewhere,
            "log": self._on_log,
            "fatal": self._on_fatal,
            "drained": self._on_heartbeat,
        }

    def start(self) -> None:
        """Start a worker in every slot."""
        for slot in self._slots:
            self._start(slot)

    def tick(self) -> None:
        """Kill who is silent, start who is due, find a sibling for sockets that nobody serves."""
        now = self._now()
        for slot in self._slots:
            if slot.tick_is_silent() and slot.process is not None:
                self._log.error(
                    "worker %d (pid %d) does not answer; killing it", slot.number, slot.process.pid
                )
                slot.process.kill()
            if self._stopping:
                continue
            if slot.is_due(now):
                self._start(slot)
            if slot.is_lingering(now, ADOPT_AFTER):
                self._adopt(slot)

    def broadcast(self, message: Message) -> None:
        """Send a change to all workers. One that cannot take it would work on old state, so it is killed."""
        for slot in self._slots:
            self._send(slot, message)

    def _send(self, slot: Slot, message: Message) -> None:
        if slot.process is not None and not slot.process.send(message):
            self._log.error("worker %d cannot be reached by its channel; killing it", slot.number)
            slot.process.kill()

    def drain(self) -> None:
        """Tell all workers to finish and exit; `gone` follows."""
        self._stopping = True
        self.broadcast({"type": "drain"})
        self._check_gone()

    def kill(self) -> None:
        """End all workers at once; `gone` follows."""
        self._stopping = True
        for slot in self._slots:
            if slot.process is not None:
                slot.process.kill()
        self._check_gone()

    def running(self) -> int:
        """How many worker processes there are."""
        return sum(slot.process is not None for slot in self._slots)

    def unready(self) -> list[str]:
        """A sentence for each worker that is not ready; none when all are."""
        return [
            f"worker {slot.number} is {slot.state.value}"
            for slot in self._slots
            if slot.state is not SlotState.READY
        ]

    def samples(self) -> list[WorkerSample]:
        """For the metrics; reads /proc. May be called from another thread."""
        samples = []
        for slot in self._slots:
            process = slot.process
            ended_cpu = slot.cpu_seconds
            stats = read_stats(process.pid if process is not None else 0)
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
        try:
            process = self._spawn(
                self._start_message(slot.number, page),
                on_message=partial(self._message, slot, slot.incarnation),
                on_ended=partial(self._ended, slot, page),
            )
        except OSError as error:
            self._ledger.fold(page)
            self._startup_error(slot, f"worker {slot.number} cannot be started: {error.strerror or error}")
            slot.ended(self._now(), 0.0)
            return
        slot.started(process, page)

    def _ended(self, slot: Slot, page: int, ended: Ended) -> None:
        was, process = slot.state, slot.process
        self._ledger.fold(page)
        now = self._now()
        delay = slot.ended(now, ended.cpu_seconds)
        self._abandon(slot)
        if self._stopping:
            self._check_gone()
            return
        if was is SlotState.STARTING:
            if slot.fatal is None:
                self._startup_error(slot, f"worker {slot.number} ended before it was ready ({ended})")
        else:
            pid = process.pid if process is not None else 0
            when = f"in {delay:g} s" if delay else "now"
            self._log.error("worker %d (pid %d) ended (%s); replacing it %s", slot.number, pid, ended, when)
        if not self._stopping and slot.is_due(now):
            self._start(slot)

    def _startup_error(self, slot: Slot, error: str) -> None:
        if not self._established:
            self._stopping = True  # an error in start-up is reported once, not looped
            self._events.failed(error)
        elif slot.fatal != error:  # the same error is said once, not at each attempt
            self._log.error("%s; trying again, less and less often", error)
        slot.fatal = error

    def _adopt(self, slot: Slot) -> None:
        ready = [sibling for sibling in self._slots if sibling.state is SlotState.READY]
        adopted = [each.adopted_by for each in self._slots]
        for sibling in sorted(ready, key=lambda each: adopted.count(each.number)):
            if sibling.process is not None and sibling.process.send({"type": "adopt", "slot": slot.number}):
                slot.adopted_by = sibling.number
                self._log.warning(
                    "worker %d accepts for worker %d until it is back", sibling.number, slot.number
                )
                return

    def _abandon(self, ended: Slot) -> None:
        """What the ended worker had adopted needs another one."""
        for slot in self._slots:
            if slot.adopted_by == ended.number:
                slot.adopted_by = None

    def _release(self, slot: Slot) -> None:
        if slot.adopted_by is not None:
            sibling = self._slots[slot.adopted_by]
            slot.adopted_by = None
            if sibling.process is not None:
                sibling.process.send({"type": "release", "slot": slot.number})

    def _check_gone(self) -> None:
        if not self.running():
            self._events.gone()

    def _now(self) -> float:
        return self._clock.monotonic_ns() / 1e9

    # Messages of workers

    def _message(self, slot: Slot, incarnation: int, message: Message) -> None:
        slot.heard()
        handler = self._handlers.get(message.get("type", ""))
        if handler is None:
            raise BalancerError(f"worker {slot.number}.{incarnation} sent an unknown message: {message}")
        handler(slot, message)

    def _on_ready(self, slot: Slot, message: Message) -> None:
        slot.became_ready(self._now())
        self._release(slot)
        if slot.restarts:
            self._log.info("worker %d is ready again", slot.number)
        if not self._established and not self.unready():
            self._established = True
            self._events.established()

    def _on_heartbeat(self, slot: Slot, message: Message) -> None:
        """Having been heard is all."""

    def _on_access(self, slot: Slot, message: Message) -> None:
        self._events.access(message["records"])

    def _on_failures(self, slot: Slot, message: Message) -> None:
        self._events.failures(message["records"])

    def _on_released(self, slot: Slot, message: Message) -> None:
        self._ledger.release(slot.page, message["rows"])

    def _on_eject(self, slot: Slot, message: Message) -> None:
        verdict = self._events.suspected(slot.number, message)
        if verdict is not None:
            self._send(slot, verdict)

    def _on_doubt(self, slot: Slot, message: Message) -> None:
        self._events.doubted(slot.number, message)

    def _on_recovered(self, slot: Slot, message: Message) -> None:
        self._events.recovered(message)

    def _on_loop(self, slot: Slot, message: Message) -> None:
        self._events.looped(message)

    def _on_elsewhere(self, slot: Slot, message: Message) -> None:
        self._events.elsewhere(message)

    def _on_log(self, slot: Slot, message: Message) -> None:
        once = message.get("once")
        if once is not None:
            if once in self._said:
                return
            if len(self._said) >= _SAID_KEPT:
                self._said.clear()
            self._said.add(once)
        text = f"worker {slot.number}: {message['message']}"
        if message.get("traceback"):
            text = f"{text}\n{message['traceback'].rstrip()}"
        self._log.log(logging.getLevelNamesMapping()[message["level"].upper()], "%s", text)

    def _on_fatal(self, slot: Slot, message: Message) -> None:
        self._startup_error(slot, f"worker {slot.number} cannot start: {message['error']}")
