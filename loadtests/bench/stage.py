"""The processes of one case: the origin, and the proxies, which are loaded one at a time.

The load and the origin share the first core; the proxy under load has the second one to itself, as the other
proxies are idle meanwhile.
"""

import http.client
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtests.bench import tls
from loadtests.bench.contenders import Contender
from loadtests.bench.origins import first_length, origin
from loadtests.bench.setup import Place, Setup
from loadtests.cpu import core_time, time_of_others, tree_seconds
from loadtests.errors import BenchError
from loadtests.processes import Processes, free_ports


@dataclass(frozen=True, slots=True)
class Running:
    """A proxy that answers. `started` is the seconds from its start to the first response through it."""

    row: str
    port: int
    pid: int
    started: float


@dataclass(frozen=True, slots=True)
class Spent:
    """What a load cost: its output, and CPU seconds of the proxy's process tree and of others on its core."""

    output: str
    cpu: float
    others: float


class Stage:
    """One case's processes. `shared` is for what cases measure once for all proxies."""

    def __init__(
        self, processes: Processes, directory: Path, setup: Setup, cores: tuple[int, int], pinned: bool = True
    ) -> None:
        self._processes = processes
        self._directory = directory
        self._setup = setup
        self._load_core, self._proxy_core = cores
        self._pinned = pinned
        self._upstreams: Sequence[int] = ()
        self._started = 0
        self.shared: dict[str, float] = {}
        self._certificate = tls.certificate(directory) if setup.tls else Path()

    @property
    def directory(self) -> Path:
        return self._directory

    @property
    def scheme(self) -> str:
        """How the proxies are asked."""
        return "https" if self._setup.tls else "http"

    def start_origin(self) -> None:
        """Start the origin; returns when its first and last port answer."""
        self._upstreams = free_ports(self._setup.upstreams)
        launch = origin(self._directory, self._upstreams, self._setup)
        pid = self._processes.start("origin", launch.argv, self._load_core, launch.environment)
        for port in (self._upstreams[0], self._upstreams[-1]):
            self._processes.wait_for_body("origin", pid, port, first_length(self._setup))

    def start(self, row: str, contender: Contender, settings: Mapping[str, str]) -> Running:
        """Start a proxy; returns when it has answered through the origin."""
        port, spare = free_ports(2)
        self._started += 1
        directory = self._directory / f"{self._started}"
        directory.mkdir()
        place = Place(directory, port, spare, self._upstreams, self._certificate)
        launch = contender.prepare(place, self._setup, settings)
        core = self._proxy_core if self._pinned else None
        name = f"{row} {self._started}"
        pid = self._processes.start(name, launch.argv, core, launch.environment)
        context = tls.client() if self._setup.tls else None
        started = self._processes.wait_for_body(name, pid, port, first_length(self._setup), context)
        if self._setup.tls:
            tls.require_suite(row, port)
        return Running(row, port, pid, started)

    def end(self, proxy: Running) -> None:
        """End a proxy."""
        self._processes.end(proxy.pid, signal.SIGTERM)

    def load(self, proxy: Running, argv: Sequence[str], limit: float) -> Spent:
        """Run a load generator to its end, at most `limit` seconds."""
        before = tree_seconds(proxy.pid)
        core_before = core_time(self._proxy_core)
        output = self._processes.run("load", argv, self._load_core, limit)
        cpu = tree_seconds(proxy.pid) - before
        others = time_of_others(core_before, core_time(self._proxy_core), cpu)
        self._processes.require_running(proxy.row, proxy.pid)
        return Spent(output, cpu, others)

    def connections_made(self) -> int:
        """How many connections the origin, an nginx, has accepted, with the one that asks."""
        connection = http.client.HTTPConnection("127.0.0.1", self._upstreams[0], timeout=10.0)
        try:
            connection.request("GET", "/made")
            return int(connection.getresponse().read())
        finally:
            connection.close()

    def start_load(self, argv: Sequence[str], ready: str) -> int:
        """Start a load generator that stays; returns its pid when it has printed a line with this start."""
        pid = self._processes.start("clients", argv, self._load_core)
        self._processes.wait_for_line("clients", pid, ready)
        return pid

    def end_load(self, pid: int) -> None:
        """End a load generator that stays."""
        self._processes.end(pid, signal.SIGTERM)


def two_cores() -> tuple[int, int]:
    """One core for the load and one for the proxy; `BenchError` if there is only one."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        raise BenchError(
            "the benchmark needs two cores, one for the load and one for the proxy; only one is available"
        )
    return allowed[0], allowed[1]
