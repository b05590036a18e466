"""A balancer under test in front of replicas: its name, program, and how it is started."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtests.errors import BenchError
from loadtests.proxies import Launch

OURS = "balancer"


@dataclass(frozen=True, slots=True)
class Balancer:
    """`prepare` takes a directory, the port to listen on, a spare port, and the replicas' addresses."""

    name: str
    program: str  # "" = always installed
    package: str
    prepare: Callable[[Path, int, int, Sequence[str]], Launch]

    def require(self) -> None:
        """`BenchError` with the remedy if it is not installed."""
        if self.program and shutil.which(self.program) is None:
            raise BenchError(f"{self.program} not found: on Debian, apt-get install {self.package}")
