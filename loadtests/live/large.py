"""The case `large`: members of a pool of 1,000 upstreams change by reload, under load."""

import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from loadtests import proxies
from loadtests.balancers import OURS, Balancer
from loadtests.live import settings
from loadtests.live.instance import Instance
from loadtests.live.play import Say
from loadtests.live.report import counted
from loadtests.live.stage import SORTS
from loadtests.open_loop import records
from loadtests.open_loop.arrivals import Phase
from loadtests.open_loop.figures import Latency, latency
from loadtests.open_loop.order import Order
from loadtests.open_loop.records import Kind
from loadtests.processes import Processes
from loadtests.proxies import Launch
from loadtests.stage import RunningReplica, Stage

UPSTREAMS = 1000
MOVED = 20  # upstreams that each reload replaces
PROGRAMS = 4  # that serve all of them: each its own addresses of 127.0.0.0/8
ANY = "0.0.0.0"
WORKERS = 2
PATIENCE = 10.0  # seconds a client waits
BEFORE = 10.0  # seconds without reloads, with which those with reloads are compared
BETWEEN = 1.0  # seconds between two reloads
LONGEST = 600.0  # seconds of all rounds, at most
MOST = 1.0  # seconds of a reload
WAITS = 0.1  # seconds that a request may take longer than before


class LargeStage(Stage):
    """Programs that serve all upstreams, and a balancer."""

    def __init__(self, processes: Processes, directory: Path) -> None:
        super().__init__(processes, directory, PROGRAMS)
        self.file = directory / "balancer.yaml"
        for replica in self.replicas:
            replica.host = ANY

    def command(self, replica: RunningReplica) -> Sequence[str]:
        return [sys.executable, "-m", "loadtests.live.replica", replica.host, str(replica.port)]

    def write(self, first: int) -> None:
        """Write the settings: upstreams from the one with this number on."""
        upstreams = [self._address(number) for number in range(first, first + UPSTREAMS)]
        settings.write_tree(self.file, {"upstreams": upstreams, "health_check": {"path": "/health"}})

    def launch(self, _directory: Path, port: int, spare: int, _upstreams: Sequence[str]) -> Launch:
        """How the balancer is started."""
        self.write(0)
        return proxies.balancer(port, spare, [], CONFIG=str(self.file), WORKERS=str(WORKERS))

    def _address(self, number: int) -> str:
        port = self.replicas[number % PROGRAMS].port
        return f"127.2.{number // 250}.{number % 250 + 1}:{port}"


@dataclass(frozen=True, slots=True)
class Round:
    """Seconds of each reload, and what clients saw before and meanwhile."""

    took: Sequence[float]
    before: Latency
    during: Latency
    requests: int
    failed: Counter[str]

    @property
    def waited(self) -> float:
        """Seconds that the slowest request took longer than the slowest before."""
        return self.during.max - self.before.max


def perform(rounds: int, reloads: int, rate: int, say: Say) -> list[Round]:
    """In each round, the same time without and with reloads."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="balancer-large-")))
        stage = LargeStage(stack.enter_context(Processes(directory)), directory)
        stage.start(Balancer(OURS, "", "", stage.launch))
        instance = Instance(stage.spare, stage.balancer_pid, WORKERS)
        instance.becomes_ready()
        order = Order(stage.port, [Phase(rate, LONGEST, SORTS)], PATIENCE, 1, stage.records)
        pid, _ = stage.start_load(order)
        time.sleep(BEFORE)  # connections are made
        windows = []
        for number in range(rounds):
            begun = time.monotonic()
            time.sleep(BEFORE)
            onset, took = time.monotonic(), []
            for reload in range(reloads):
                stage.write(MOVED * (number * reloads + reload + 1))
                answer = instance.ask("POST", "/api/reload", {}).require(200)
                took.append(float(answer["seconds"]))
                time.sleep(BETWEEN)
            windows.append((begun, onset, time.monotonic(), took))
            say(f"large: round {number + 1} of {rounds}, reloads of {min(took):.2f} to {max(took):.2f} s")
        os.kill(pid, signal.SIGUSR1)
        stage.wait_for_load(pid, 3 * PATIENCE)
        seen = records.read(stage.records)
    found = []
    for begun, onset, ended, took in windows:
        before = [one for one in seen if begun <= one.begun and one.ended < onset]
        during = [one for one in seen if onset <= one.ended and one.begun < ended]
        failed = Counter(one.failure for one in (*before, *during) if one.kind is not Kind.OK)
        times = latency([one.took for one in before]), latency([one.took for one in during])
        found.append(Round(took, *times, len(before) + len(during), failed))
    return found


def broken_promises(rounds: Sequence[Round]) -> list[str]:
    """A sentence for each broken promise. Times count in the best round: a busy machine only adds."""
    failed = sum((one.failed for one in rounds), Counter[str]())
    found = [f"large: failed requests: {counted(failed)}"] if failed else []
    longest = min(max(one.took) for one in rounds)
    if longest > MOST:
        found.append(f"large: a reload took {longest:.2f} s, at most {MOST:.0f} s")
    waited = min(one.waited for one in rounds)
    if waited > WAITS:
        found.append(f"large: a request took {waited * 1e3:.0f} ms longer than before")
    return found


def lines(rounds: Sequence[Round]) -> list[str]:
    """A line for each round."""
    return [
        f"large, round {number}: reloads {sorted(one.took)[len(one.took) // 2]:.2f} s (at most "
        f"{max(one.took):.2f}); p99 / slowest before {_ms(one.before)}, meanwhile {_ms(one.during)}; "
        f"{one.requests:,} requests, failed {counted(one.failed)}"
        for number, one in enumerate(rounds, 1)
    ]


def _ms(times: Latency) -> str:
    return f"{times.p99 * 1e3:.0f} / {times.max * 1e3:.0f} ms"
