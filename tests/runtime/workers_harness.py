"""Workers whose processes, and whose supervisor, are in the hands of a test."""

import logging

from balancer.messages import (
    Access,
    CameBack,
    Doubt,
    Eject,
    Elsewhere,
    Explained,
    FailureRecord,
    Failures,
    Heartbeat,
    Ready,
    Recovered,
    Traces,
    Verdict,
)
from balancer.runtime.generation import Generation
from balancer.runtime.slot import TICK
from balancer.runtime.workers import Workers
from balancer.spec.traced import TracedRequest
from balancer.telemetry.ledger import Ledger
from balancer.telemetry.segment import Segment
from tests.fakes.loop import FakeClock
from tests.fakes.messages import start_message
from tests.fakes.worker_process import FakeProcess, FakeSpawn


class Harness:
    """Fake workers; `said` are the reports to the supervisor."""

    def __init__(self, segment: Segment, workers: int) -> None:
        self.segment = segment
        self.ledger = Ledger(segment)
        self.clock = FakeClock()
        self.spawn = FakeSpawn()
        self.said: list[str] = []
        self.access_log = b""
        self.errors: list[FailureRecord] = []
        self.traces: list[TracedRequest] = []
        self.explanations: list[Explained] = []
        self.verdict: Verdict | None = None
        self.room = True
        self.results: list[str] = []  # of renewals
        self.generation = self.make(workers)
        self.workers = Workers(
            self.generation,
            ledger=self.ledger,
            clock=self.clock,
            log=logging.getLogger("test"),
            events=self,
            has_room=lambda: self.room,
        )

    def cpu_seconds(self) -> list[float]:
        """Of each slot in use."""
        return [sample.cpu_seconds for sample in self.workers.sampling()()]

    def make(
        self, workers: int, slots: int = 0, addresses: tuple[object, ...] = (80,), drain: float = 3600.0
    ) -> Generation:
        return Generation(
            workers=workers,
            slots=max(slots, workers),
            addresses=addresses,
            start_message=lambda slot, page: start_message(slot=slot, page=page),
            spawn=self.spawn,
            drain=drain,
        )

    def established(self) -> None:
        self.said.append("established")

    def failed(self, error: str) -> None:
        self.said.append(error)

    def gone(self) -> None:
        self.said.append("gone")

    def access(self, message: Access) -> None:
        self.access_log += message.text()

    def traced(self, message: Traces) -> None:
        self.traces += message.records

    def explained(self, message: Explained) -> None:
        self.explanations.append(message)

    def failures(self, message: Failures) -> None:
        self.errors += message.records

    def suspected(self, worker: int, message: Eject) -> Verdict | None:
        self.said.append(f"worker {worker} suspects {message.id}")
        return self.verdict

    def doubted(self, worker: int, message: Doubt) -> None:
        self.said.append(f"worker {worker} doubts {message.id}")

    def recovered(self, message: Recovered) -> None:
        self.said.append(f"{message.id} recovered")

    def looped(self, message: CameBack) -> None:
        self.said.append(f"a loop in {message.pool}")

    def elsewhere(self, message: Elsewhere) -> None:
        self.said.append(f"row {message.row} is at {message.other}")

    def start_all(self) -> list[FakeProcess]:
        self.workers.start()
        for process in self.spawn.processes:
            process.say(Ready())
        return self.spawn.processes

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds / TICK)):
            self.clock.advance(TICK)
            for process in self.spawn.processes:
                if not process.killed:
                    process.say(Heartbeat())
            self.workers.tick()

    def renew(self, number: int, generation: Generation) -> FakeProcess:
        """Begin to replace the worker of a slot; returns the successor. Results go to `results`."""
        self.workers.renew(number, generation, self.results.append)
        return self.spawn.last

    def take_over(self, generation: Generation) -> list[FakeProcess]:
        """A whole reload, all of whose workers become ready; returns them."""
        made = []
        for number in range(generation.workers):
            made.append(self.renew(number, generation))
            made[-1].say(Ready())
            if not number:
                self.workers.take_over(generation)
        self.workers.fit()
        return made
