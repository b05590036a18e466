"""The processes of one run: replicas, a balancer in front of them, and the load."""

import signal
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtests.balancers import Balancer
from loadtests.open_loop.order import BEGINS, Order
from loadtests.processes import Processes, free_ports

FIRST_ANSWER = len(b"ok")
READY = "serves on "  # printed by a replica when it listens, with its address


@dataclass(slots=True)
class RunningReplica:
    """A replica's process and how to reach it. `lives` counts its starts."""

    name: str
    host: str
    port: int
    directory: Path
    pid: int = 0
    lives: int = 0

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def control(self) -> Path:
        return self.directory / f"{self.name}.sock"

    @property
    def log_name(self) -> str:
        """One log for each life."""
        return f"{self.name}-{self.lives}"


class Stage(ABC):
    """The processes of one run, on free ports of 127.0.0.1."""

    def __init__(self, processes: Processes, directory: Path, replicas: int) -> None:
        self._processes = processes
        self._directory = directory
        self.balancer_pid = 0
        self._balancer_name = ""
        *ports, self.port, self.spare = free_ports(replicas + 2)
        self.replicas = [
            RunningReplica(f"replica{number}", "127.0.0.1", port, directory)
            for number, port in enumerate(ports, 1)
        ]

    @abstractmethod
    def command(self, replica: RunningReplica) -> Sequence[str]:
        """The command of a replica."""

    @property
    def records(self) -> Path:
        """The file for the records of the load's clients."""
        return self._directory / "records"

    def start(self, balancer: Balancer) -> None:
        """Start all; returns when the balancer has answered through a replica."""
        for replica in self.replicas:
            self._launch(replica)
        for replica in self.replicas:
            self._await(replica)
        launch = balancer.prepare(
            self._directory, self.port, self.spare, [replica.address for replica in self.replicas]
        )
        self._balancer_name = balancer.name
        self.balancer_pid = self._processes.start(balancer.name, launch.argv, None, launch.environment)
        self._processes.wait_for_body(balancer.name, self.balancer_pid, self.port, FIRST_ANSWER)

    def start_load(self, order: Order) -> tuple[int, float]:
        """Start the load; returns its pid, and when it begins, by the monotonic clock."""
        pid = self._processes.start("load", order.command, None)
        return pid, float(self._processes.wait_for_line("load", pid, BEGINS))

    def wait_for_load(self, pid: int, limit: float) -> None:
        """Wait until the load has ended, and check that the balancer has not."""
        self._processes.wait("load", pid, limit)
        self._processes.require_running(self._balancer_name, self.balancer_pid)

    def end(self, replica: RunningReplica, number: signal.Signals) -> None:
        """End a replica at once."""
        self._processes.end(replica.pid, number)

    def start_again(self, replica: RunningReplica) -> None:
        """Start a replica that was ended, at the same address, and wait until it serves."""
        self._launch(replica)
        self._await(replica)

    def _launch(self, replica: RunningReplica) -> None:
        replica.lives += 1
        replica.pid = self._processes.start(replica.log_name, self.command(replica), None)

    def _await(self, replica: RunningReplica) -> None:
        self._processes.wait_for_line(replica.log_name, replica.pid, READY)
