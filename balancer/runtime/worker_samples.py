"""Samples of the workers for the metrics (L7): which processes there are is seen on the event loop, what each
has used is read in a thread."""

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from balancer.runtime.generation import Process
from balancer.runtime.process_stats import ProcessStats
from balancer.runtime.slot import Life, Slot, SlotState
from balancer.telemetry.samples import WorkerSample


class Seen(NamedTuple):
    """A slot at a moment. A process that ends or is superseded after it is neither missed nor counted twice:
    its `stats` go on to say what it has used."""

    slot: int
    up: bool
    restarts: int
    ended_cpu_seconds: float
    serving: Process | None
    draining: tuple[Process, ...]

    def sample(self) -> WorkerSample:
        """May be called in another thread; reads /proc."""
        stats = ProcessStats() if self.serving is None else self.serving.stats()
        cpu = self.ended_cpu_seconds + stats.cpu_seconds
        cpu += sum(process.stats().cpu_seconds for process in self.draining)
        return WorkerSample(self.slot, self.up, self.restarts, cpu, stats.resident_bytes, stats.open_fds)


def see(slots: Iterable[Slot], predecessors: Iterable[tuple[Slot, Life]]) -> list[Seen]:
    """The slots that are in use."""
    draining: defaultdict[int, list[Process]] = defaultdict(list)
    for slot, superseded in predecessors:
        draining[slot.number].append(superseded.process)
    return [
        Seen(
            slot.number,
            slot.state is SlotState.READY,
            slot.restarts,
            slot.cpu_seconds,
            None if slot.life is None else slot.life.process,
            tuple(draining[slot.number]),
        )
        for slot in slots
        if slot.state is not SlotState.UNUSED
    ]
