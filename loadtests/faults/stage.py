"""The processes of one run: four replicas, the first of which falls ill, and a balancer in front of them."""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from loadtests import control
from loadtests.faults import behaviour, ledger
from loadtests.faults.behaviour import Behaviour
from loadtests.faults.ledger import TARGET, Entry
from loadtests.faults.namespace import Namespace
from loadtests.open_loop.arrivals import Phase, Sort
from loadtests.open_loop.order import Order
from loadtests.processes import Processes
from loadtests.stage import RunningReplica, Stage

REPLICAS = 4
PATIENCE = 5.0  # seconds a client waits for the whole response
SORTS = (Sort(TARGET, 0.9), Sort(TARGET, 0.1, "POST"))


class FaultStage(Stage):
    """The processes of one run. The first replica is the ill one, in a namespace if there is one."""

    def __init__(self, processes: Processes, directory: Path, namespace: Namespace | None = None) -> None:
        super().__init__(processes, directory, REPLICAS)
        self._namespace = namespace
        if namespace is not None:
            self.ill.host = namespace.address

    @property
    def ill(self) -> RunningReplica:
        return self.replicas[0]

    def command(self, replica: RunningReplica) -> Sequence[str]:
        prefix = self._namespace.prefix if self._namespace is not None and replica is self.ill else []
        module = [*prefix, sys.executable, "-m", "loadtests.faults.replica"]
        return [*module, replica.host, str(replica.port), str(replica.control), str(self._ledger(replica))]

    def order(self, rate: int, seconds: float, seed: int) -> Order:
        """The order for the load."""
        return Order(self.port, [Phase(rate, seconds, SORTS)], PATIENCE, seed, self.records)

    def ledgers(self) -> list[list[Entry]]:
        """The requests read by each replica, the ill one's first."""
        return [ledger.read(self._ledger(replica)) for replica in self.replicas]

    def tell(self, change: Behaviour) -> None:
        """Set the ill replica's behaviour."""
        control.tell(self.ill.control, behaviour.encode(change))

    def send(self, number: signal.Signals) -> None:
        """Send the ill replica a signal that does not end it."""
        os.kill(self.ill.pid, number)

    def swallow(self, begin: bool) -> None:
        """Drop the ill replica's packets, or stop dropping; without a namespace it swallows SYNs itself."""
        if self._namespace is not None:
            self._namespace.swallow(begin)
        else:
            self.tell(Behaviour(door=behaviour.Door.FULL) if begin else behaviour.HEALTHY)

    def _ledger(self, replica: RunningReplica) -> Path:
        return self._directory / f"{replica.name}.ledger"
