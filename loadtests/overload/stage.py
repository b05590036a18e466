"""The processes of one run: replicas, each with its behaviour, and a balancer in front of them."""

import sys
from collections.abc import Sequence
from pathlib import Path

from loadtests import control
from loadtests.overload import behaviour
from loadtests.overload.behaviour import Behaviour
from loadtests.processes import Processes
from loadtests.stage import RunningReplica, Stage


class OverloadStage(Stage):
    """The processes of one run. A restarted replica has its initial behaviour again."""

    def __init__(self, processes: Processes, directory: Path, behaviours: Sequence[Behaviour]) -> None:
        super().__init__(processes, directory, len(behaviours))
        self._behaviours = behaviours

    def command(self, replica: RunningReplica) -> Sequence[str]:
        works = behaviour.encode(self._behaviours[self.replicas.index(replica)]).decode()
        module = [sys.executable, "-m", "loadtests.overload.replica"]
        return [*module, replica.host, str(replica.port), str(replica.control), works]

    def tell(self, number: int, change: Behaviour) -> None:
        """Set the behaviour of one replica, counted from 0."""
        control.tell(self.replicas[number].control, behaviour.encode(change))

    def log_of(self, name: str) -> str:
        """The output of a process so far."""
        return (self._directory / f"{name}.log").read_text(errors="replace")
