"""One stage: two replicas, a balancer in front of them, good clients, and the attacker."""

import sys
from collections.abc import Sequence

from loadtests.hostile.attacks import Attack, Target
from loadtests.open_loop.order import BEGINS
from loadtests.processes import Processes
from loadtests.stage import RunningReplica, Stage

REPLICAS = 2


class HostileStage(Stage):
    """The processes of one run."""

    def command(self, replica: RunningReplica) -> Sequence[str]:
        return [sys.executable, "-m", "loadtests.hostile.replica", replica.host, str(replica.port)]

    def attack(self, processes: Processes, attack: Attack, seconds: float) -> int:
        """Begin the attack; its process's pid."""
        port = self.port if attack.target is Target.CLIENTS else self.spare
        argv = [sys.executable, "-m", "loadtests.hostile.attacker", attack.name, str(port), str(seconds)]
        pid = processes.start("attacker", argv, None)
        processes.wait_for_line("attacker", pid, BEGINS)
        return pid
