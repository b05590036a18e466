"""Cases with thousands of clients: all at once on cold connections, and idle ones."""

import json
import sys
import time
from dataclasses import dataclass

from loadtests.bench import load, scripts
from loadtests.bench.case import Case
from loadtests.bench.figures import Figure
from loadtests.bench.generators.crowd import LIMIT
from loadtests.bench.memory import resident
from loadtests.bench.stage import Running, Stage

CLIENTS = 8_000
_CONNECT_SECONDS = 60.0
_SETTLE_SECONDS = 1.0  # until memory is what it will stay


@dataclass(frozen=True, kw_only=True)
class Burst(Case):
    """Clients that are connected send a request at once; there is no connection to an upstream yet."""

    main: Figure = Figure.ALL_SERVED
    base: str = "haproxy"
    fresh: bool = True
    warms_up: bool = False
    clients: int = CLIENTS

    def measure(self, stage: Stage, proxy: Running, seconds: int) -> dict[Figure, float]:
        argv = [sys.executable, "-m", "loadtests.bench.generators.crowd", "burst"]
        before = stage.connections_made()
        spent = stage.load(proxy, [*argv, str(proxy.port), str(self.clients)], LIMIT + _CONNECT_SECONDS)
        seen = json.loads(spent.output)
        made = stage.connections_made() - before - 1  # the last one was our own
        return {
            Figure.ALL_SERVED: seen["seconds"],
            Figure.REFUSED: seen["refused"],
            Figure.MADE: made,
            Figure.CPU: spent.cpu / self.clients,
        }


@dataclass(frozen=True, kw_only=True)
class Idle(Case):
    """What an idle keep-alive client takes, and what it does to the response times of others."""

    main: Figure = Figure.CLIENT
    base: str = ""
    fresh: bool = True
    warms_up: bool = False
    clients: int = CLIENTS

    def measure(self, stage: Stage, proxy: Running, seconds: int) -> dict[Figure, float]:
        paced = scripts.paced(load.half_rate(stage, proxy), 64)
        load.run(stage, proxy, 64, 1, paced)
        alone, _, _ = load.run(stage, proxy, 64, seconds, paced)
        time.sleep(_SETTLE_SECONDS)
        before = resident(proxy.pid)
        generator = "tls_clients" if stage.scheme == "https" else "crowd"
        argv = [sys.executable, "-m", f"loadtests.bench.generators.{generator}", "idle"]
        holder = stage.start_load([*argv, str(proxy.port), str(self.clients)], "holds")
        try:
            time.sleep(_SETTLE_SECONDS)
            after = resident(proxy.pid)
            beside, cpu, others = load.run(stage, proxy, 64, seconds, paced)
        finally:
            stage.end_load(holder)
        return {
            Figure.CLIENT: (after - before) / self.clients,
            Figure.P99: alone.p99,
            Figure.P99_IDLE: beside.p99,
            Figure.P99_RATIO: beside.p99 / alone.p99,
            Figure.CORE: cpu / beside.seconds,
            Figure.OTHERS: others / beside.seconds,
        }
