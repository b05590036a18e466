"""The case `start`: how long a start takes, and the memory of an instance at rest."""

import time
from dataclasses import dataclass

from loadtests.bench.case import Case
from loadtests.bench.figures import Figure
from loadtests.bench.memory import resident
from loadtests.bench.stage import Running, Stage

_REST_SECONDS = 3.0  # imports and first checks are over


@dataclass(frozen=True, kw_only=True)
class Start(Case):
    """From the start of the process to the first response through it; then it rests. All cores are free."""

    main: Figure = Figure.STARTED
    base: str = ""
    fresh: bool = True
    warms_up: bool = False
    pinned: bool = False

    def measure(self, stage: Stage, proxy: Running, seconds: int) -> dict[Figure, float]:
        time.sleep(_REST_SECONDS)
        return {Figure.STARTED: proxy.started, Figure.MEMORY: float(resident(proxy.pid))}
