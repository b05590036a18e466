"""Fake worker processes, controlled by the test."""

from balancer.messages import FromSupervisor, FromWorker, Others, Start
from balancer.runtime.process_stats import ProcessStats
from balancer.runtime.worker_process import Ended, OnEnded, OnMessage


class FakeProcess:
    """One incarnation; `sent` are the supervisor's messages after `start`."""

    def __init__(self, pid: int, start: Start, on_message: OnMessage, on_ended: OnEnded) -> None:
        self.pid = pid
        self.start = start
        self.sent: list[FromSupervisor] = []
        self.others = start.others.pages  # as last told
        self.predecessors = start.others.predecessors
        self.killed = False
        self.stacks = 0  # how often it was asked for one
        self.reachable = True
        self.cpu_seconds = 0.0
        self._on_message = on_message
        self._on_ended = on_ended

    @property
    def slot(self) -> int:
        """The slot it was started for."""
        return self.start.slot

    def stats(self) -> ProcessStats:
        return ProcessStats(self.cpu_seconds)

    def send(self, message: FromSupervisor) -> bool:
        if self.reachable and isinstance(message, Others):
            self.others, self.predecessors = message.pages, message.predecessors
        elif self.reachable:
            self.sent.append(message)
        return self.reachable

    def ask_for_stack(self) -> None:
        self.stacks += 1

    def kill(self) -> None:
        self.killed = True

    def say(self, message: FromWorker) -> None:
        """Send a message to the supervisor."""
        self._on_message(message)

    def end(self, exit_code: int = -9, cpu_seconds: float = 0.0) -> None:
        """The process ends."""
        self.cpu_seconds = cpu_seconds
        self._on_ended(Ended(exit_code, cpu_seconds))


class FakeSpawn:
    """Starts fake processes and records them, the newest last. If `error` is set, it is raised instead."""

    def __init__(self) -> None:
        self.processes: list[FakeProcess] = []
        self.error: OSError | None = None

    def __call__(self, start: Start, *, on_message: OnMessage, on_ended: OnEnded) -> FakeProcess:
        if self.error is not None:
            raise self.error
        process = FakeProcess(100 + len(self.processes), start, on_message, on_ended)
        self.processes.append(process)
        return process

    @property
    def last(self) -> FakeProcess:
        """The newest process."""
        return self.processes[-1]
