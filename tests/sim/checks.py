"""Health checks, which wait in the replica's backlog like requests."""

from random import Random

from tests.sim.engine import Engine
from tests.sim.figures import Figures
from tests.sim.replicas import Replica

ROUTE = "check"


class Checks:
    """One check of each replica every 90 to 100 % of `interval` seconds, given up after `timeout`."""

    def __init__(
        self, engine: Engine, random: Random, figures: Figures, interval: float = 2.0, timeout: float = 1.0
    ) -> None:
        self._engine = engine
        self._random = random
        self._figures = figures
        self._interval = interval
        self._timeout = timeout

    def begin(self, replica: Replica) -> None:
        """Check `replica` from now on."""
        probe = _Probe()
        replica.begin(probe)
        self._engine.after(self._timeout, self._due, probe)
        self._engine.after(self._interval * self._random.uniform(0.9, 1.0), self.begin, replica)

    def _due(self, probe: "_Probe") -> None:
        if not probe.done:
            probe.left = True
            self._figures.probes_late.append(self._engine.passed)


class _Probe:
    __slots__ = ("done", "left", "route")

    def __init__(self) -> None:
        self.route = ROUTE
        self.done = False
        self.left = False

    def answered(self, body: float) -> None:
        self.done = True
