"""The processes of one run: replicas, a balancer in front of them, and clients of three kinds."""

import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from loadtests.faults.ledger import TARGET
from loadtests.live import long_lived
from loadtests.live.clients import BEGINS
from loadtests.live.long_lived import LongLived
from loadtests.open_loop import records
from loadtests.open_loop.arrivals import Phase, Sort
from loadtests.open_loop.order import Order
from loadtests.open_loop.records import Record
from loadtests.processes import Processes
from loadtests.stage import RunningReplica, Stage

REPLICAS = 5  # three of the main pool, the canary, and the spare
SORTS = (Sort(TARGET, 0.8), Sort(TARGET, 0.2, "POST"))
PATIENCE = 10.0  # seconds a client waits for the whole response
ENDS = 30.0  # seconds within which clients end


@dataclass(slots=True)
class Seen:
    """What the clients have seen."""

    requests: list[Record] = field(default_factory=list)
    long_lived: list[LongLived] = field(default_factory=list)


class LiveStage(Stage):
    """The processes of one run, and what their clients have seen so far."""

    def __init__(self, processes: Processes, directory: Path) -> None:
        super().__init__(processes, directory, REPLICAS)
        self._load = 0
        self._clients: list[tuple[str, int, Path]] = []
        self._started = 0
        self.seen = Seen()

    def command(self, replica: RunningReplica) -> Sequence[str]:
        return [sys.executable, "-m", "loadtests.live.replica", replica.host, str(replica.port)]

    def begin_requests(self, rate: int, longest: float) -> None:
        """Start the load, if it is not running: until `end_requests`, for `longest` seconds at most."""
        if not self._load:
            order = Order(self.port, [Phase(rate, longest, SORTS)], PATIENCE, 1, self.records)
            self._load, _ = self.start_load(order)

    def end_requests(self) -> None:
        """Let the load end, if it is running."""
        if not self._load:
            return
        os.kill(self._load, signal.SIGUSR1)
        self._processes.wait("load", self._load, PATIENCE + ENDS)
        self.seen.requests += records.read(self.records)
        self._load = 0

    def open_long_lived(self, websockets: int, downloads: int) -> None:
        """Open WebSockets and begin downloads."""
        self._started += 1
        name = f"clients{self._started}"
        file = self._directory / f"{name}.ends"
        module = [sys.executable, "-m", "loadtests.live.clients"]
        pid = self._processes.start(
            name, [*module, str(self.port), str(websockets), str(downloads), str(file)], None
        )
        self._processes.wait_for_line(name, pid, BEGINS)
        self._clients.append((name, pid, file))

    def close_long_lived(self) -> None:
        """End them all, by their clients."""
        for name, pid, file in self._clients:
            os.kill(pid, signal.SIGUSR1)
            self._processes.wait(name, pid, ENDS)
            self.seen.long_lived += long_lived.read(file)
        self._clients.clear()
