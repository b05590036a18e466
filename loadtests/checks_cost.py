"""The cost of active checks: the share of a core that the supervisor needs to check many upstreams.

    python -m loadtests.checks_cost [--upstreams 1000] [--interval 2] [--seconds 20] [--replicas well]

The replicas run in separate processes (a port each, on loopback) and are not counted; this process runs only
the checker, on uvloop as in the supervisor. Exits 1 if the share is above --max-share.
"""

import argparse
import asyncio
import random
import resource
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import cast

import uvloop

from balancer.clock import SystemClock
from balancer.health.active import ActiveChecks
from balancer.health.probe import Probes
from balancer.spec.instance import CheckSpec

REPLICA_PROCESSES = 2
SPARE_FILES = 200
OK = (
    b"HTTP/1.1 200 OK\r\nDate: Sat, 01 Nov 2025 12:00:00 GMT\r\nServer: app\r\nContent-Type: text/plain\r\n"
    b"Content-Length: 2\r\n\r\nok"
)
ERROR = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"


class Replica(asyncio.Protocol):
    """Answers each received segment as one request, as a check is one small segment."""

    def __init__(self, answer: bytes, close: bool) -> None:
        self._answer = answer
        self._close = close
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's has another base class

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        if self._answer:
            self._transport.write(self._answer)
        if self._close:
            self._transport.close()


REPLICAS: dict[str, Callable[[], Replica]] = {
    "well": partial(Replica, OK, False),
    "failing": partial(Replica, ERROR, False),
    "closing": partial(Replica, OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), True),
    "hanging": partial(Replica, b"", False),
}


@dataclass(eq=False, slots=True)
class Upstream:
    """One upstream under checks."""

    id: str
    port: int
    pool: str = "default"
    address: str = "127.0.0.1"
    server_name: str = ""


class NoSink:
    """Unused: state is not measured."""

    def failing(self, upstream: Upstream, why: str) -> None: ...
    def passing(self, upstream: Upstream, why: str) -> None: ...
    def draining(self, upstream: Upstream, on: bool, why: str) -> None: ...
    def passed_first(self, upstream: Upstream, what: str) -> None: ...
    def unanswered(self, upstream: Upstream, why: str) -> None: ...
    def served(self, upstream: Upstream) -> int:
        return 0

    def answers(self, upstream: Upstream) -> int:
        return 0

    def silent(self, upstream: Upstream, since_ns: int) -> None: ...
    def is_busy(self, upstream: Upstream) -> bool:
        return False


async def serve(count: int, kind: str) -> None:
    """A process of replicas: prints their ports in one line, and ends with its standard input."""
    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(REPLICAS[kind], "127.0.0.1", 0) for _ in range(count)]
    print(*(server.sockets[0].getsockname()[1] for server in servers), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


def start_replicas(count: int, kind: str, stack: ExitStack) -> list[int]:
    """Start `count` replicas, which end with the stack; returns their ports."""
    ports: list[int] = []
    for number in range(REPLICA_PROCESSES):
        share = count // REPLICA_PROCESSES + (number < count % REPLICA_PROCESSES)
        argv = [sys.executable, "-m", "loadtests.checks_cost", "--serve", str(share), "--replicas", kind]
        process = stack.enter_context(subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        assert process.stdout is not None
        ports += [int(word) for word in process.stdout.readline().split()]
    return ports


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds of this process, the time, and the results of its checks so far."""

    time: float
    cpu: float
    results: Counter[str]


async def measure(ports: Sequence[int], interval: float, seconds: float) -> tuple[float, Usage, Usage]:
    """The seconds until all were checked once, and the usage at the begin and end of `seconds`."""
    loop = asyncio.get_running_loop()
    timeout = min(1.0, interval)
    settings = CheckSpec(
        path="/", interval=interval, timeout=timeout, rise=2, fall=2, expect=((200, 399),), body="", port=0,
        headers=(), drain_status=0,
    )  # fmt: skip
    upstreams = [Upstream(f"127.0.0.1:{port}", port) for port in ports]
    checks = ActiveChecks[Upstream](
        clock=SystemClock(), random=random.Random(), sink=NoSink(), open_probe=Probes(), loop=loop
    )

    def usage() -> Usage:
        used = resource.getrusage(resource.RUSAGE_SELF)
        results: Counter[str] = Counter()
        for upstream in upstreams:
            results.update(checks.counts(upstream))
        return Usage(loop.time(), used.ru_utime + used.ru_stime, results)

    begin = loop.time()
    for upstream in upstreams:
        checks.add(upstream, settings)
    checks.start()
    while not checks.first_round_done:  # noqa: ASYNC110  # it is looked at, as /readyz does; nobody is told
        await asyncio.sleep(0.01)
    first_round = loop.time() - begin
    await asyncio.sleep(2 * interval)  # until the checks have spread out
    before = usage()
    await asyncio.sleep(seconds)
    after = usage()
    await checks.close()
    return first_round, before, after


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.checks_cost", description=__doc__)
    parser.add_argument("--upstreams", type=int, default=1000)
    parser.add_argument(
        "--interval", type=float, default=2.0, help="seconds between two checks of an upstream"
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="how long to measure")
    parser.add_argument("--replicas", choices=[*REPLICAS, "gone"], default="well")
    parser.add_argument("--max-share", type=float, default=0.2, help="bound on the share of a core")
    parser.add_argument("--serve", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    """Measure and print; the exit code says whether the share is within its bound."""
    options = parse()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if options.serve:
        uvloop.run(serve(options.serve, options.replicas))
        return 0
    if hard < options.upstreams + SPARE_FILES:
        print(
            f"the limit of open files is {hard}: too few for {options.upstreams} upstreams", file=sys.stderr
        )
        return 1
    with ExitStack() as stack:
        gone = options.replicas == "gone"
        with ExitStack() as serving:
            ports = start_replicas(options.upstreams, "well" if gone else options.replicas, serving)
            if not gone:
                stack.push(serving.pop_all())
        first_round, before, after = uvloop.run(measure(ports, options.interval, options.seconds))
    results = after.results - before.results
    seconds, cpu = after.time - before.time, after.cpu - before.cpu
    share = cpu / seconds
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{options.upstreams} upstreams ({options.replicas}) every {options.interval:g} s")
    print(f"first round   {first_round:.2f} s")
    print(f"checks        {results.total() / seconds:.0f} per second: {dict(results)}")
    print(f"CPU per check   {cpu / max(1, results.total()) * 1e6:.0f} µs")
    print(f"memory        {kib / 1024:.0f} MiB at most")
    print(f"CPU           {share:.1%} of a core (at most {options.max_share:.0%})")
    return 0 if share <= options.max_share else 1


if __name__ == "__main__":
    sys.exit(main())
