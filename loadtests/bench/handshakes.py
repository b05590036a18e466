"""The case `tls-newconn`: a full TLS handshake for each request."""

import json
import sys
from dataclasses import dataclass

from loadtests.bench.case import Case
from loadtests.bench.figures import Figure
from loadtests.bench.load import GRACE_SECONDS
from loadtests.bench.stage import Running, Stage


@dataclass(frozen=True, kw_only=True)
class Handshakes(Case):
    """Each of `connections` clients makes one request after the other, on a connection of its own each."""

    connections: int = 32

    def measure(self, stage: Stage, proxy: Running, seconds: int) -> dict[Figure, float]:
        argv = [sys.executable, "-m", "loadtests.bench.generators.tls_clients", "new"]
        argv += [str(proxy.port), str(self.connections), str(seconds)]
        spent = stage.load(proxy, argv, seconds + GRACE_SECONDS)
        seen = json.loads(spent.output)
        return {
            Figure.CPU: spent.cpu / seen["requests"],
            Figure.RATE: seen["requests"] / seen["seconds"],
            Figure.CORE: spent.cpu / seen["seconds"],
            Figure.OTHERS: spent.others / seen["seconds"],
            Figure.P50: seen["p50"],
            Figure.P99: seen["p99"],
        }
