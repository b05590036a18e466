"""One stage: four replicas, of which the first is the one that falls ill, and a balancer in front of them."""

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from loadtests.faults import behaviour, ledger
from loadtests.faults.balancers import Balancer
from loadtests.faults.behaviour import Behaviour
from loadtests.faults.ledger import Entry
from loadtests.faults.load import BEGINS
from loadtests.faults.namespace import Namespace
from loadtests.faults.replica import READY
from loadtests.processes import Processes, free_ports

REPLICAS = 4
FIRST_ANSWER = len(b"ok")


@dataclass(slots=True)
class RunningReplica:
    """A replica's process and how to reach it. `lives` counts its starts."""

    name: str
    host: str
    port: int
    directory: Path
    prefix: list[str]
    pid: int = 0
    lives: int = 0

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def control(self) -> Path:
        return self.directory / f"{self.name}.sock"

    @property
    def ledger(self) -> Path:
        return self.directory / f"{self.name}.ledger"


class Stage:
    """The processes of one run. The first replica is the ill one; in a namespace, where there is one."""

    def __init__(self, processes: Processes, directory: Path, namespace: Namespace | None = None) -> None:
        self._processes = processes
        self._directory = directory
        self._namespace = namespace
        self._balancer = "", 0
        *ports, self.port, self._spare = free_ports(REPLICAS + 2)
        self.replicas = [
            RunningReplica(f"replica{number}", "127.0.0.1", port, directory, [])
            for number, port in enumerate(ports, 1)
        ]
        if namespace is not None:
            self.ill.host, self.ill.prefix = namespace.address, namespace.prefix

    @property
    def ill(self) -> RunningReplica:
        return self.replicas[0]

    def start(self, balancer: Balancer) -> None:
        """Start all; the balancer has answered through a replica when this returns."""
        for replica in self.replicas:
            self._launch(replica)
        for replica in self.replicas:
            self._await(replica)
        launch = balancer.prepare(
            self._directory, self.port, self._spare, [replica.address for replica in self.replicas]
        )
        pid = self._processes.start(balancer.name, launch.argv, None, launch.environment)
        self._processes.wait_for_body(balancer.name, pid, self.port, FIRST_ANSWER)
        self._balancer = balancer.name, pid

    def start_load(self, rate: int, seconds: float, seed: int) -> tuple[int, float]:
        """Start the load; gives its pid, and the moment at which it begins, by the monotonic clock."""
        module = [sys.executable, "-m", "loadtests.faults.load"]
        arguments = [str(self.port), str(rate), str(seconds), str(seed), str(self.records)]
        pid = self._processes.start("load", [*module, *arguments], None)
        return pid, float(self._processes.wait_for_line("load", pid, BEGINS))

    def wait_for_load(self, pid: int, limit: float) -> None:
        """Wait until the load has ended, and see that the balancer has not."""
        self._processes.wait("load", pid, limit)
        self._processes.require_running(*self._balancer)

    @property
    def records(self) -> Path:
        """Where the load writes what its clients saw."""
        return self._directory / "records"

    def ledgers(self) -> list[list[Entry]]:
        """What each replica has read, the ill one's first."""
        return [ledger.read(replica.ledger) for replica in self.replicas]

    def tell(self, change: Behaviour) -> None:
        """Tell the ill replica how to behave."""
        behaviour.tell(self.ill.control, change)

    def send(self, number: signal.Signals) -> None:
        """Send the ill replica a signal that it outlives."""
        os.kill(self.ill.pid, number)

    def end(self, replica: RunningReplica, number: signal.Signals) -> None:
        """End a replica at once."""
        self._processes.end(replica.pid, number)

    def start_again(self, replica: RunningReplica) -> None:
        """Start a replica that was ended, at the same address, and wait until it serves."""
        self._launch(replica)
        self._await(replica)

    def swallow(self, begin: bool) -> None:
        """Drop the ill replica's packets, or stop it; without a namespace it swallows SYNs by itself."""
        if self._namespace is not None:
            self._namespace.swallow(begin)
        else:
            self.tell(Behaviour(door=behaviour.Door.FULL) if begin else behaviour.HEALTHY)

    def _launch(self, replica: RunningReplica) -> None:
        replica.lives += 1
        module = [*replica.prefix, sys.executable, "-m", "loadtests.faults.replica"]
        arguments = [replica.host, str(replica.port), str(replica.control), str(replica.ledger)]
        replica.pid = self._processes.start(_log_name(replica), [*module, *arguments], None)

    def _await(self, replica: RunningReplica) -> None:
        self._processes.wait_for_line(_log_name(replica), replica.pid, READY)


def _log_name(replica: RunningReplica) -> str:
    return f"{replica.name}-{replica.lives}"
