"""The order for the load: one argument of JSON on its command line."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from loadtests.open_loop.arrivals import Phase, Sort

BEGINS = "begins at "  # and seconds of the monotonic clock: what the load prints when it is ready


@dataclass(frozen=True, slots=True)
class Order:
    """Requests to `port` of 127.0.0.1 by clients that wait `patience` seconds for the whole response.

    With `reuse` a client takes the idle connection that was used last, as HTTP clients do, or else opens one;
    without, each opens its own. `records` is the file for their records.
    """

    port: int
    phases: Sequence[Phase]
    patience: float
    seed: int
    records: Path
    reuse: bool = True

    @property
    def seconds(self) -> float:
        """From the first arrival's time to the end of the last phase."""
        return sum(phase.seconds for phase in self.phases)

    @property
    def command(self) -> list[str]:
        """The command of the load's process."""
        values = asdict(self) | {"records": str(self.records)}
        return [sys.executable, "-m", "loadtests.open_loop.load", json.dumps(values)]


def decode(argument: str) -> Order:
    """Parse the order in a command's last argument."""
    values = json.loads(argument)
    phases = [
        Phase(**(phase | {"sorts": tuple(Sort(**sort) for sort in phase["sorts"])}))
        for phase in values["phases"]
    ]
    return Order(**(values | {"phases": phases, "records": Path(values["records"])}))
