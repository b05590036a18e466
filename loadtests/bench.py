"""The side-by-side benchmark: CPU per request of balancer, nginx and HAProxy in the same run (`make bench`).

wrk and the nginx origin share the first core; the proxy under load has the second one to itself, as the
other proxies are idle meanwhile. Rounds are interleaved (nginx, haproxy, ours, nginx, ...), figures are
medians. The main figure is the CPU time of the proxy's whole process tree per request, as a ratio to nginx.
Exits 0 on success, 1 on any error or if --max-ratio is exceeded, 130 on Ctrl-C.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from loadtests import command, report, wrk
from loadtests import options as command_line
from loadtests.cpu import core_time, cpu_seconds, time_of_others
from loadtests.errors import BenchError
from loadtests.figures import Round, summarise
from loadtests.options import Options
from loadtests.processes import Processes, free_ports
from loadtests.proxies import PROXIES, Proxy, origin

UPSTREAMS = 4
WARM_UP_SECONDS = 2
WRK_GRACE_SECONDS = 15.0  # wrk waits for its last responses


class Bench:
    """One benchmark: the origin and all proxies run; the proxies are loaded one at a time."""

    def __init__(
        self, options: Options, processes: Processes, cores: tuple[int, int], console: Console
    ) -> None:
        self._options = options
        self._processes = processes
        self._load_core, self._proxy_core = cores
        self._console = console
        self._ports: dict[str, int] = {}
        self._pids: dict[str, int] = {}

    def start(self, directory: Path, proxies: Sequence[Proxy]) -> None:
        """Start the origin and every proxy; returns when each has answered once."""
        upstreams = free_ports(UPSTREAMS + 2 * len(proxies))
        spares = [upstreams.pop() for _ in proxies]
        ports = [upstreams.pop() for _ in proxies]
        launch = origin(directory, upstreams, self._options.body)
        pid = self._processes.start("origin", launch.argv, self._load_core, launch.environment)
        for port in upstreams:
            self._processes.wait_for_body("origin", pid, port, self._options.body)
        for proxy, port, spare in zip(proxies, ports, spares, strict=True):
            launch = proxy.prepare(directory, port, spare, upstreams)
            pid = self._processes.start(proxy.name, launch.argv, self._proxy_core, launch.environment)
            self._processes.wait_for_body(proxy.name, pid, port, self._options.body)
            self._ports[proxy.name], self._pids[proxy.name] = port, pid

    def run(self) -> list[Round]:
        """A warm-up of each proxy, then all rounds."""
        for name in self._ports:
            self._load(name, WARM_UP_SECONDS)
        rounds = []
        for number in range(1, self._options.rounds + 1):
            for name in self._ports:
                one = self._load(name, self._options.seconds)
                rounds.append(one)
                self._console.print(report.round_line(number, self._options.rounds, one), highlight=False)
        return rounds

    def _load(self, name: str, seconds: int) -> Round:
        pid = self._pids[name]
        argv = wrk.command(self._ports[name], self._options.connections, seconds)
        before = cpu_seconds(pid)
        core_before = core_time(self._proxy_core)
        output = self._processes.run("wrk", argv, self._load_core, seconds + WRK_GRACE_SECONDS)
        cpu = cpu_seconds(pid) - before
        others = time_of_others(core_before, core_time(self._proxy_core), cpu)
        self._processes.require_running(name, pid)
        seen = wrk.parse(output)
        if seen.errors:
            raise BenchError(f"{name} failed under load: {', '.join(seen.errors)}")
        if seen.requests == 0:
            raise BenchError(f"{name} answered no request within {seconds} s")
        return Round(name, seen.requests, seen.seconds, cpu, others, seen.p50, seen.p99)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark and return the exit code."""
    options = command_line.parse(argv)
    console = Console(width=None if sys.stdout.isatty() else 110)
    return command.run("bench", lambda: _measure(options, console))


def _measure(options: Options, console: Console) -> int:
    cores = _cores()
    proxies = _available(options, console)
    with tempfile.TemporaryDirectory(prefix="balancer-bench-") as name, Processes(Path(name)) as processes:
        bench = Bench(options, processes, cores, console)
        bench.start(Path(name), proxies)
        rounds = bench.run()
    summaries = summarise(rounds)
    title = (
        f"medians of {options.rounds} rounds of {options.seconds} s, {options.connections} connections, "
        f"{options.body:,} byte responses, {UPSTREAMS} upstreams"
    )
    console.print(report.table(summaries, title))
    for remark in report.remarks(summaries):
        console.print(remark, highlight=False)
    if options.json is not None:
        settings = {key: getattr(options, key) for key in ("rounds", "seconds", "connections", "body")}
        report.write_json(options.json, settings, rounds, summaries)
    ours = next((one.ratio for one in summaries if one.proxy == "ours"), None)
    if options.max_ratio is not None and ours is not None and ours > options.max_ratio:
        raise BenchError(f"ours costs {ours:.2f} times nginx; --max-ratio allows {options.max_ratio:.2f}")
    return 0


def _cores() -> tuple[int, int]:
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        raise BenchError(
            "the benchmark needs two cores, one for the load and one for the proxy; only one is available"
        )
    return allowed[0], allowed[1]


def _available(options: Options, console: Console) -> list[Proxy]:
    proxies = [PROXIES[name] for name in options.proxies]
    needed = {
        "wrk": "wrk",
        "nginx": "nginx-light",
        "taskset": "util-linux",
    }  # nginx is always the origin
    needed |= {proxy.program: proxy.package for proxy in proxies if not proxy.optional and proxy.package}
    missing = [program for program in needed if shutil.which(program) is None]
    if missing:
        packages = " ".join(needed[program] for program in missing)
        raise BenchError(f"{' and '.join(missing)} not found: on Debian, apt-get install {packages}")
    for proxy in proxies:
        if shutil.which(proxy.program) is None:
            console.print(
                f"{proxy.name} is not installed; left out (on Debian: apt-get install {proxy.package})",
                highlight=False,
            )
    return [proxy for proxy in proxies if shutil.which(proxy.program) is not None]


if __name__ == "__main__":
    sys.exit(main())
