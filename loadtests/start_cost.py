"""The cost of starting, and of being there: time to the first proxied request, and memory at rest.

    python -m loadtests.start_cost [--rounds 5] [--only ours,nginx] [--max-seconds 0.8] [--max-mib 72]

Each round starts every proxy in turn, with one worker and otherwise its own defaults, in front of one origin,
and asks it over a new connection every few milliseconds until the first response of the origin arrives. After
--rest seconds without a request, memory is read from /proc/PID/smaps_rollup of every process of its tree:

RSS      resident memory; pages that processes share count in each of them
PSS      the same with shared pages divided among those who share them: what the tree costs, and what the
         bound of an instance refers to. Sharers outside the tree lower it, so end other Python programs
private  pages of this process only: what its end would free

`--scrape` reads /readyz and /metrics of ours before the memory is read. Exits 1 if a median of ours exceeds
--max-seconds or --max-mib.
"""

import argparse
import http.client
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from loadtests.arguments import names
from loadtests.bench.contenders import installed, launch
from loadtests.bench.setup import Place, Setup
from loadtests.cpu import cpu_seconds, running_tree
from loadtests.errors import BenchError
from loadtests.processes import Processes, free_ports
from loadtests.proxies import origin

OURS = "ours"
KNOWN = ("nginx", "haproxy", OURS)
BODY = 2
POLL = 0.004  # seconds between two attempts to get a response
PATIENCE = 30.0


@dataclass(frozen=True, slots=True)
class Memory:
    """One process's memory in KiB, and the program that it runs."""

    program: str
    rss: int
    pss: int
    private: int


@dataclass(frozen=True, slots=True)
class Start:
    """One start: seconds until the first response of the origin, CPU seconds of the tree until then, and the
    memory of each process at rest."""

    seconds: float
    cpu: float
    processes: list[Memory]

    @property
    def pss(self) -> int:
        """KiB of the whole tree."""
        return sum(one.pss for one in self.processes)


def parse_rollup(program: str, text: str) -> Memory:
    """Read /proc/PID/smaps_rollup, proc(5). Raises BenchError if a line is missing."""
    sizes = {name: int(size) for name, size in re.findall(r"^(\w+): +(\d+) kB$", text, re.MULTILINE)}
    try:
        private = sizes["Private_Clean"] + sizes["Private_Dirty"]
        return Memory(program, sizes["Rss"], sizes["Pss"], private)
    except KeyError as error:
        raise BenchError(f"smaps_rollup has no line {error}") from None


def memory(pid: int) -> list[Memory]:
    """The memory of `pid` and its descendants, as of now."""
    return [
        parse_rollup(_program(stat.pid), Path(f"/proc/{stat.pid}/smaps_rollup").read_text())
        for stat in running_tree(pid)
    ]


def _program(pid: int) -> str:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode(errors="replace").split("\0")
    if "-m" in words[:-1]:
        return words[words.index("-m") + 1]
    return words[0] if len(words) > 1 else Path(words[0].split(":")[0]).name


def measure(name: str, rest: float, *, scrape: bool) -> Start:
    """Start it once, and end it."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="balancer-start-")))
        processes = stack.enter_context(Processes(directory))
        app, port, spare = free_ports(3)
        (directory / "origin").mkdir()
        replica = origin(directory / "origin", [app], BODY)
        pid = processes.start("origin", replica.argv, None, replica.environment)
        processes.wait_for_body("origin", pid, app, BODY)
        # Ours with the access log, as by default.
        proxy = launch(name, Place(directory, port, spare, [app]), Setup(upstreams=1, log=name == OURS))
        begun = time.monotonic()
        pid = processes.start(name, proxy.argv, None, proxy.environment)
        _await_response(name, port)
        seconds = time.monotonic() - begun
        cpu = cpu_seconds(pid)
        if scrape and name == OURS:
            for path in ("/readyz", "/metrics"):
                _get(spare, path)
        time.sleep(rest)
        processes.require_running(name, pid)
        return Start(seconds, cpu, memory(pid))


def _await_response(name: str, port: int) -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        try:
            if _get(port, "/") == (200, BODY):
                return
        except (OSError, http.client.HTTPException):
            pass  # it does not listen yet
        time.sleep(POLL)
    raise BenchError(f"{name} did not respond within {PATIENCE:.0f} s")


def _get(port: int, path: str) -> tuple[int, int]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, len(response.read())
    finally:
        connection.close()


def report(name: str, starts: Sequence[Start]) -> str:
    """The medians, and the memory of the start whose PSS is their median."""
    times = sorted(one.seconds for one in starts)
    middle = sorted(starts, key=lambda one: one.pss)[len(starts) // 2]
    lines = [
        f"{name}: first response after {statistics.median(times):.3f} s ({times[0]:.3f} to {times[-1]:.3f}, "
        f"{len(times)} starts), CPU {statistics.median(one.cpu for one in starts):.2f} s; "
        f"at rest {_mib(middle.pss)} MiB"
    ]
    lines += [
        f"  {one.program:<26} RSS {_mib(one.rss):>6} MiB, PSS {_mib(one.pss):>6}, "
        f"private {_mib(one.private):>6}"
        for one in middle.processes
    ]
    return "\n".join(lines)


def _mib(kib: int) -> str:
    return f"{kib / 1024:.1f}"


def main(arguments: Sequence[str]) -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtests.start_cost",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=5, help="starts of each (default 5)")
    parser.add_argument(
        "--only", type=names(KNOWN), default=tuple(installed(KNOWN)), help="default: all that are installed"
    )
    parser.add_argument("--rest", type=float, default=3.0, help="seconds of rest before memory is read")
    parser.add_argument("--scrape", action="store_true", help="read /readyz and /metrics of ours first")
    parser.add_argument("--max-seconds", type=float, default=0.8, help="for ours (default 0.8)")
    parser.add_argument("--max-mib", type=float, default=72.0, help="PSS of ours (default 72)")
    options = parser.parse_args(arguments)
    starts: dict[str, list[Start]] = {name: [] for name in options.only}
    try:
        for _ in range(options.rounds):
            for name in options.only:
                starts[name].append(measure(name, options.rest, scrape=options.scrape))
    except (BenchError, OSError, subprocess.SubprocessError) as error:
        print(f"start_cost: {error}", file=sys.stderr)
        return 1
    for name, found in starts.items():
        print(report(name, found))
    ours = starts.get(OURS, [])
    if not ours:
        return 0
    seconds = statistics.median(one.seconds for one in ours)
    mib = statistics.median(one.pss for one in ours) / 1024
    return 0 if seconds <= options.max_seconds and mib <= options.max_mib else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
