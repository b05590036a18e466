"""Starts, watches, replaces and finally shuts down the workers of this instance (L7)."""

import logging
from collections.abc import Callable
from functools import partial
from typing import assert_never

from balancer.clock import Clock
from balancer.messages import (
    Access,
    Adopt,
    CameBack,
    Doubt,
    Drain,
    Drained,
    Eject,
    Elsewhere,
    Explained,
    Failures,
    Fatal,
    FromSupervisor,
    FromWorker,
    Heartbeat,
    Heritage,
    LogLine,
    Others,
    Ready,
    Recovered,
    Released,
    Retire,
    Traces,
)
from balancer.runtime.adoption import abandon, adopt, release
from balancer.runtime.generation import Generation
from balancer.runtime.memory import room_for_a_worker
from balancer.runtime.predecessors import Predecessors
from balancer.runtime.slot import Life, Renewal, Slot, SlotState
from balancer.runtime.watchdog import Finding, Watchdog
from balancer.runtime.worker_events import WorkerEvents
from balancer.runtime.worker_log import WorkerLog
from balancer.runtime.worker_process import Ended
from balancer.runtime.worker_samples import see
from balancer.spec.part import replaced
from balancer.telemetry.ledger import Ledger
from balancer.telemetry.samples import WorkerSample

ADOPT_AFTER = 1.0
STOPPING = "the instance is stopping"


class Workers:
    """All slots. Call `tick` every `slot.TICK` seconds; time comes only from `clock`."""

    def __init__(
        self,
        generation: Generation,
        *,
        ledger: Ledger,
        clock: Clock,
        log: logging.Logger,
        events: WorkerEvents,
        has_room: Callable[[], bool] = room_for_a_worker,
    ) -> None:
        """`has_room`: whether there is memory for one more worker."""
        self._has_room = has_room
        self._generation = generation
        self._slots = [Slot(number) for number in range(generation.slots)]
        for slot in self._slots[generation.workers :]:
            slot.unused()
        self._ledger = ledger
        self._clock = clock
        self._log = log
        self._events = events
        self._established = False
        self._stopping = False
        self._worker_log = WorkerLog(log)
        self._predecessors = Predecessors()
        # The pages of running incarnations, and of those that were superseded, as last told to all.
        self._told: tuple[tuple[int, ...], tuple[int, ...]] = (), ()
        # The page of what another program, or an earlier instance, has learned; freed once all are ready.
        self.ancestor: int | None = None

    def start(self) -> None:
        """Start a worker in every slot that has one."""
        for slot in self._slots[: self._generation.workers]:
            self._start(slot)

    def tick(self) -> None:
        """Watch for silent workers, start due ones, let another worker adopt sockets that are not served."""
        now = self._now()
        for slot, life in self._lives():
            self._watch(slot, life, now)
        for slot in self._slots:
            if self._stopping:
                continue
            if slot.renewal is not None and slot.renewal.life is None:
                self._begin(slot, slot.renewal)
            if slot.is_due(now) and slot.renewal is None:
                self._start(slot)
            if slot.is_lingering(now, ADOPT_AFTER):
                adopt(self._slots, slot, self._log)
        self._tell_pages()

    def _lives(self) -> list[tuple[Slot, Life]]:
        """All incarnations that are running, those that serve first."""
        serving = [(slot, slot.life) for slot in self._slots if slot.life is not None]
        coming = [
            (slot, slot.renewal.life)
            for slot in self._slots
            if slot.renewal is not None and slot.renewal.life is not None
        ]
        return [*serving, *coming, *self._predecessors]

    def _tell_pages(self) -> None:
        """Tell all workers which others are running, and which precede them, if that has changed."""
        lives = self._lives()
        told = tuple(life.page for _, life in lives), tuple(life.page for _, life in self._predecessors)
        if told != self._told:
            self._told = told
            for slot, life in lives:
                if not life.drained:
                    self._send(slot, life, self._others(slot, life.generation, life))

    def _others(self, slot: Slot, generation: Generation, life: Life | None = None) -> Others:
        """The others from the view of a worker of the slot: `life`, or one that is about to start. It has
        predecessors in slots that its generation does not have too: each is that of one worker."""
        before: list[int] = []
        for of, one in [*self._predecessors, (slot, slot.life)]:
            if one is life or one is None:
                break
            if of.number % generation.workers == slot.number:
                before.append(one.page)
        return Others(pages=tuple(one.page for _, one in self._lives()), predecessors=tuple(before))

    def _watch(self, slot: Slot, life: Life, now: float) -> None:
        who = (slot.number, life.process.pid)
        match life.watchdog.tick():
            case Finding.SILENT:
                self._log.warning("worker %d (pid %d) does not answer; its stack goes to stderr", *who)
                life.process.ask_for_stack()
            case Finding.LATE:
                self._log.warning("worker %d (pid %d) is late, but works: it is left alone", *who)
            case Finding.STUCK if life is slot.life and self._may_supersede(slot) and slot.renewal is None:
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
            if not life.drained:
                self._send(slot, life, message)

    def _send(self, slot: Slot, life: Life, message: FromSupervisor) -> None:
        if not life.process.send(message):
            self._log.error("worker %d cannot be reached by its channel; killing it", slot.number)
            life.process.kill()

    # --- another generation

    def renew(self, number: int, generation: Generation, done: Callable[[str], None]) -> None:
        """Start a worker of that generation in a slot, whose present worker retires when it is ready. `done`
        is called once: with "", or with a sentence if it has failed; nothing has changed then."""
        while len(self._slots) <= number:
            slot = Slot(len(self._slots))
            slot.unused()
            self._slots.append(slot)
        if self._stopping:
            done(STOPPING)
            return
        slot = self._slots[number]
        slot.renewal = Renewal(generation, done)
        self._begin(slot, slot.renewal)

    def give_up(self, number: int, why: str) -> None:
        """End the renewal of a slot, if one is under way: it has failed for this reason."""
        slot = self._slots[number]
        renewal, slot.renewal = slot.renewal, None
        if renewal is not None:
            if renewal.life is not None:
                self._predecessors.add(slot, renewal.life)
                renewal.life.process.kill()
            renewal.done(why)

    def pages(self, but_not: Generation | None = None) -> list[int]:
        """Those of all workers that are running, without those of a generation."""
        return [life.page for _, life in self._lives() if life.generation is not but_not]

    def take_over(self, generation: Generation) -> None:
        """Workers that start from now on are of that generation."""
        self._generation = generation

    def stale(self) -> list[int]:
        """The slots whose worker is of an earlier generation, as no new one could be started."""
        serial = self._generation.serial
        return [
            slot.number
            for slot in self._slots[: self._generation.workers]
            if slot.life is not None and slot.life.generation.serial != serial
        ]

    @property
    def generation(self) -> Generation:
        """What workers that start now are made from."""
        return self._generation

    @property
    def most(self) -> int:
        """How many workers a generation may have: each has a page, and its successor needs one too."""
        return self._ledger.pages - 1

    @property
    def stopping(self) -> bool:
        """Whether they have been told to drain."""
        return self._stopping

    def fit(self) -> None:
        """Slots that the present generation does not need retire; those that it has no worker for, as none
        could be started, get one like those of workers that have ended."""
        if self._stopping:
            return
        generation = self._generation
        for slot in self._slots[: generation.workers]:
            if slot.state is SlotState.UNUSED:
                slot.vacated(self._now())
        unused = self._slots[generation.workers :]
        befores = [slot.unused() for slot in unused]
        for slot, before in zip(unused, befores, strict=True):
            abandon(self._slots, slot)
            if before is not None:
                self._predecessors.add(slot, before)
        for slot in unused:
            if slot.adopted_by is None:
                adopt(self._slots, slot, self._log)
            self._predecessors.dismiss(slot, generation)

    def _begin(self, slot: Slot, renewal: Renewal) -> None:
        """Start the successor, now or as soon as a page is free."""
        if not self._has_room():
            slot.renewal = None
            renewal.done(f"there is no memory for a second worker {slot.number} while the first one drains")
            return
        life = self._spawned(slot, renewal.generation)
        if isinstance(life, str):
            slot.renewal = None
            renewal.done(life)
        else:
            renewal.life = life

    def _renewed(self, slot: Slot, renewal: Renewal, life: Life) -> None:
        before = slot.renewed(life, self._now())
        for other in self._slots:
            if other.adopted_by == slot.number:
                life.process.send(Adopt(slot=other.number))
        release(self._slots, slot)
        if before is not None:
            self._predecessors.add(slot, before)
        self._predecessors.dismiss(slot, renewal.generation)
        self._tell_pages()
        renewal.done("")

    # --- the end

    def retire(self, within: float, ends: tuple[int, ...]) -> None:
        """Tell all workers that others serve now, which are not ours; `gone` follows. `within` and `ends` as
        in `Retire`."""
        self._stopping = True
        for slot in self._slots:
            self.give_up(slot.number, "the program is replaced")
        self.broadcast(Retire(within=within, ends=ends))
        self._check_gone()

    def drain(self) -> None:
        """Tell all workers to finish and exit; `gone` follows."""
        self._stopping = True
        for slot in self._slots:
            self.give_up(slot.number, STOPPING)
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
            if slot.state not in (SlotState.READY, SlotState.UNUSED)
        ]

    def states(self) -> dict[int, str]:
        """Of each slot in use, in words."""
        return {slot.number: slot.state.value for slot in self._slots if slot.state is not SlotState.UNUSED}

    def sampling(self) -> Callable[[], list[WorkerSample]]:
        """The workers at this moment. What it returns reads /proc for their samples, and may be called from
        another thread: a worker that ends or is superseded meanwhile is still counted once."""
        seen = see(self._slots, self._predecessors)
        return lambda: [one.sample() for one in seen]

    def _start(self, slot: Slot) -> None:
        slot.incarnation += 1
        life = self._spawned(slot, self._generation)
        if isinstance(life, str):
            self._startup_error(slot, life)
            slot.vacated(self._now())
        elif life is not None:
            slot.started(life)

    def _spawned(self, slot: Slot, generation: Generation) -> Life | str | None:
        """A new worker, or why it cannot be started; None if all pages are in use, which a tick later will
        not be so."""
        if not self._ledger.has_page():
            ended = self._predecessors.end_oldest()
            if ended is not None:
                self._log.warning(
                    "worker %d (pid %d), which was draining, is ended: too many workers drain at a time",
                    slot.number,
                    ended.process.pid,
                )
            return None
        page = self._ledger.take_page()
        life = Life(generation, page, Watchdog(partial(self._ledger.fingerprint, page)))
        start = generation.start_message(slot.number, page)
        others, heritage = self._others(slot, generation), self._heritage(slot, generation)
        start = replaced(start, others=others, heritage=heritage)
        try:
            life.process = generation.spawn(
                start,
                on_message=partial(self._message, slot, life),
                on_ended=partial(self._ended, slot, life),
            )
        except OSError as error:
            self._ledger.fold(page)
            return f"worker {slot.number} cannot be started: {error.strerror or error}"
        return life

    def _heritage(self, slot: Slot, generation: Generation) -> Heritage | None:
        """The worker that knows the upstreams best: the one that serves the slot, or another one."""
        ready = [one.life for one in self._slots if one.state is SlotState.READY and one.life is not None]
        if not ready and self.ancestor is not None:
            return Heritage(page=self.ancestor, part=1 / generation.workers)
        if not ready:
            return None
        of = slot.life if slot.state is SlotState.READY and slot.life is not None else ready[0]
        return Heritage(page=of.page, part=of.generation.workers / generation.workers)

    def _ended(self, slot: Slot, life: Life, ended: Ended) -> None:
        self._ledger.fold(life.page)
        slot.cpu_seconds += ended.cpu_seconds
        renewal = slot.renewal
        if self._predecessors.ended(slot, life):
            self._log.info("worker %d's predecessor (pid %d) has ended", slot.number, life.process.pid)
        elif renewal is not None and life is renewal.life:
            slot.renewal = None
            renewal.done(f"worker {slot.number} ended before it was ready ({ended})")
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
        if not self._stopping and slot.is_due(now) and slot.renewal is None:
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
            case Heartbeat():
                pass  # it only shows that the worker is alive
            case Drained():
                life.drained = True
            case Access():
                self._events.access(message)
            case Failures():
                self._events.failures(message)
            case Traces():
                self._events.traced(message)
            case Explained():
                self._events.explained(message)
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
            case Ready() if slot.renewal is not None and life is slot.renewal.life:
                self._renewed(slot, slot.renewal, life)
            case Ready() if life is slot.life:
                self._became_ready(slot)
            case Ready():
                pass  # it was given up
            case Fatal() if slot.renewal is not None and life is slot.renewal.life:
                renewal, slot.renewal = slot.renewal, None
                self._predecessors.add(slot, life)  # it is about to end
                renewal.done(f"worker {slot.number} cannot start: {message.error}")
            case Fatal():
                self._startup_error(slot, f"worker {slot.number} cannot start: {message.error}")
            case _:
                assert_never(message)

    def _became_ready(self, slot: Slot) -> None:
        slot.became_ready(self._now())
        release(self._slots, slot)
        self._predecessors.dismiss(slot, self._generation)
        self._tell_pages()
        if slot.restarts:
            self._log.info("worker %d is ready again", slot.number)
        if not self._established and not self.unready():
            self._established = True
            if self.ancestor is not None:
                self._ledger.fold(self.ancestor)
                self.ancestor = None
            self._events.established()
