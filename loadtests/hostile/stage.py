"""The processes of one run: two replicas, a balancer in front of them, good clients, and the attacker."""

import sys
from collections.abc import Sequence

from loadtests.hostile.attacks import Attack, Target
from loadtests.hostile.balancers import connections_of_a_process
from loadtests.open_loop.order import BEGINS
from loadtests.processes import Processes
from loadtests.stage import RunningReplica, Stage

REPLICAS = 2


class HostileStage(Stage):
    """The processes of one run."""

    def command(self, replica: RunningReplica) -> Sequence[str]:
        return [sys.executable, "-m", "loadtests.hostile.replica", replica.host, str(replica.port)]

    def attack(self, processes: Processes, attack: Attack, seconds: float) -> dict[str, int]:
        """Begin the attack; returns the pids of its processes by the names of their logs."""
        port = self.port if attack.target is Target.CLIENTS else self.spare
        most = connections_of_a_process()
        pids = {}
        for first in range(0, attack.connections, most):
            name = f"attacker{first // most}"
            ordered = (attack.name, port, seconds, min(most, attack.connections - first))
            argv = [sys.executable, "-m", "loadtests.hostile.attacker", *map(str, ordered)]
            pids[name] = processes.start(name, argv, None)
        for name, pid in pids.items():
            processes.wait_for_line(name, pid, BEGINS)
        return pids
