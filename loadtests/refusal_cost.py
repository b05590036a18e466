"""The cost of a refusal compared with a served request: CPU time of the balancer's whole process tree.

    python -m loadtests.refusal_cost [--rounds 5] [--seconds 3] [--connections 64]

One balancer has an upstream that never answers, with a limit of one request, so that all others are refused
at once: the path of nearly all requests at ten times the capacity. Another one serves the same requests from
four upstreams. They are loaded in turn by wrk with eight request headers; checks and access log are off.
Exits 1 if a refusal costs as much as a served request, or --max-share of that.
"""

import argparse
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from loadtests import wrk
from loadtests.cpu import cpu_seconds
from loadtests.errors import BenchError
from loadtests.processes import Processes, free_ports
from loadtests.proxies import Launch, balancer, origin

BODY = 100  # bytes
START_SECONDS = 20.0
WRK_GRACE_SECONDS = 15.0
SERVED, REFUSED = "served", "refused"


class Cost:
    """Both balancers, each with its port and pid."""

    def __init__(self, processes: Processes, cores: tuple[int, int], stack: ExitStack) -> None:
        self._processes = processes
        self._load_core, self._core = cores
        self._stack = stack
        self._running: dict[str, tuple[int, int]] = {}

    def start(self, directory: Path) -> None:
        """Start both; returns when one serves and the other refuses."""
        *upstreams, first, second, third, fourth = free_ports(8)
        launch = origin(directory, upstreams, BODY)
        pid = self._processes.start("origin", launch.argv, self._load_core, launch.environment)
        for port in upstreams:
            self._processes.wait_for_body("origin", pid, port, BODY)
        addresses = [f"127.0.0.1:{port}" for port in upstreams]
        self._start(SERVED, first, balancer(first, second, addresses, HEALTH_CHECK__ENABLED="false"))
        self._processes.wait_for_body(SERVED, self._running[SERVED][1], first, BODY)
        silent = self._stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self._start(
            REFUSED,
            third,
            balancer(
                *(third, fourth, [f"127.0.0.1:{silent.getsockname()[1]}"]),
                HEALTH_CHECK__ENABLED="false",
                LIMITS__MAX_INFLIGHT="1",
                LIMITS__QUEUE_SIZE="1",
                LIMITS__QUEUE_TIMEOUT="1h",
                TIMEOUTS__FIRST_BYTE="1h",
            ),
        )
        for _ in range(2):  # one has the slot, the other waits for it
            held = self._connect(third)
            held.sendall(b"GET / HTTP/1.1\r\nHost: app.example.com\r\n\r\n")
            time.sleep(0.3)

    def _start(self, name: str, port: int, launch: Launch) -> None:
        pid = self._processes.start(name, launch.argv, self._core, launch.environment)
        self._running[name] = port, pid

    def _connect(self, port: int) -> socket.socket:
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                return self._stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            except ConnectionRefusedError:
                if time.monotonic() > until:
                    raise BenchError(f"no process listens on port {port}") from None
                time.sleep(0.05)

    def round(self, name: str, connections: int, seconds: int) -> float:
        """Microseconds of CPU time per request."""
        port, pid = self._running[name]
        before = cpu_seconds(pid)
        argv = wrk.command(port, connections, seconds)
        seen = wrk.parse(self._processes.run("wrk", argv, self._load_core, seconds + WRK_GRACE_SECONDS))
        used = cpu_seconds(pid) - before
        bad = (f"{seen.requests} responses with status 4xx or 5xx",) if name == REFUSED else ()
        if seen.errors != bad:
            raise BenchError(f"not all were {name}: {', '.join(seen.errors) or 'no errors'}")
        return used / seen.requests * 1e6


def measure(options: argparse.Namespace) -> dict[str, list[float]]:
    """Microseconds per request in each round."""
    costs: dict[str, list[float]] = {SERVED: [], REFUSED: []}
    with (
        tempfile.TemporaryDirectory(prefix="balancer-refusals-") as name,
        ExitStack() as stack,
        Processes(Path(name)) as processes,
    ):
        cost = Cost(processes, (0, 1), stack)
        cost.start(Path(name))
        for which in costs:
            cost.round(which, options.connections, 1)  # to warm up
        for _ in range(options.rounds):
            for which, seen in costs.items():
                seen.append(cost.round(which, options.connections, options.seconds))
    return costs


def main(arguments: Sequence[str]) -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtests.refusal_cost",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=5, help="figures are medians (default 5)")
    parser.add_argument(
        "--seconds", type=int, default=3, help="seconds of load per round and balancer (default 3)"
    )
    parser.add_argument("--connections", type=int, default=64, help="keep-alive connections (default 64)")
    parser.add_argument(
        "--max-share",
        type=float,
        default=1.0,
        help="bound on the cost of a refusal, in served requests (default 1)",
    )
    options = parser.parse_args(arguments)
    try:
        costs = measure(options)
    except BenchError as error:
        print(f"refusal_cost: {error}", file=sys.stderr)
        return 1
    for which, seen in costs.items():
        print(f"{which}: {statistics.median(seen):.1f} us of CPU ({min(seen):.1f} to {max(seen):.1f})")
    share = statistics.median(costs[REFUSED]) / statistics.median(costs[SERVED])
    print(f"a refusal costs {share:.2f} of a served request")
    return 0 if share < options.max_share else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
