"""The case `websocket`: messages through tunnels."""

import json
import sys
from dataclasses import dataclass

from loadtests.bench.case import Case
from loadtests.bench.figures import Figure
from loadtests.bench.load import GRACE_SECONDS
from loadtests.bench.stage import Running, Stage


@dataclass(frozen=True, kw_only=True)
class Messages(Case):
    """Each of `connections` sends a message of 1 KiB when the last one has come back."""

    main: Figure = Figure.CPU_MESSAGE
    connections: int = 64

    def measure(self, stage: Stage, proxy: Running, seconds: int) -> dict[Figure, float]:
        argv = [sys.executable, "-m", "loadtests.bench.generators.messages"]
        argv += [str(proxy.port), str(self.connections), str(seconds)]
        spent = stage.load(proxy, argv, seconds + GRACE_SECONDS)
        seen = json.loads(spent.output)
        return {
            Figure.CPU_MESSAGE: spent.cpu / seen["messages"],
            Figure.RATE: seen["messages"] / seen["seconds"],
            Figure.CORE: spent.cpu / seen["seconds"],
            Figure.OTHERS: spent.others / seen["seconds"],
            Figure.P50: seen["p50"],
            Figure.P99: seen["p99"],
        }
