"""The cost of a live change: the time of each POST of an upstream, from the first to the thousandth.

    python -m loadtests.change_cost [--upstreams 1000] [--batch 200] [--workers 2] [--without-checks]

Upstreams are added to a balancer in its own process by its admin API, one after the other over one
connection. All of them are addresses of one program, which answers the checks. Prints for each batch its
duration and the balancer's CPU time. Exits 1 if a POST of the last batch takes more than --max-growth times
as long as one of the first, by their medians.
"""

import argparse
import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from loadtests.cpu import cpu_seconds
from loadtests.errors import BenchError
from loadtests.processes import Processes, free_ports
from loadtests.proxies import balancer

PATIENCE = 20.0
APP = """
import asyncio
ANSWER = b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok"
class App(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
    def data_received(self, data):
        self.transport.write(ANSWER)
async def serve(port):
    loop = asyncio.get_running_loop()
    await (await loop.create_server(App, "0.0.0.0", port, backlog=4096)).serve_forever()
"""


@dataclass(frozen=True, slots=True)
class Batch:
    """Successive POSTs: seconds of each, and CPU seconds of the balancer's processes for all of them."""

    first: int
    seconds: list[float]
    cpu: float

    @property
    def median(self) -> float:
        """Seconds of one POST."""
        return statistics.median(self.seconds)


def address(number: int) -> str:
    """A different loopback address for each upstream."""
    return f"127.1.{number // 250}.{number % 250 + 1}"


def measure(options: argparse.Namespace) -> list[Batch]:
    """Add all upstreams."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="balancer-changes-")))
        processes = stack.enter_context(Processes(directory))
        app, port, admin = free_ports(3)
        processes.start("app", [sys.executable, "-c", f"{APP}\nasyncio.run(serve({app}))"], None)
        settings = {"HEALTH_CHECK__ENABLED": "false"} if options.without_checks else {}
        launch = balancer(port, admin, [f"127.0.0.1:{app}"], WORKERS=str(options.workers), **settings)
        pid = processes.start("balancer", launch.argv, None, launch.environment)
        connection = ready(admin)
        stack.callback(connection.close)
        batches = []
        for first in range(0, options.upstreams, options.batch):
            before = cpu_seconds(pid)
            last = min(first + options.batch, options.upstreams)
            seconds = [_add(connection, f"{address(number)}:{app}") for number in range(first, last)]
            batches.append(Batch(first, seconds, cpu_seconds(pid) - before))
        return batches


def ready(admin: int) -> http.client.HTTPConnection:
    """A connection to the admin listener of a balancer, once that is ready."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        connection = http.client.HTTPConnection("127.0.0.1", admin, timeout=PATIENCE)
        try:
            connection.request("GET", "/readyz")
            response = connection.getresponse()
            response.read()
            if response.status == 200:
                return connection
        except OSError:
            pass
        connection.close()
        time.sleep(0.05)
    raise BenchError("the balancer did not become ready")


def _add(connection: http.client.HTTPConnection, upstream: str) -> float:
    begun = time.perf_counter()
    body = json.dumps({"upstream": upstream})
    connection.request(
        "POST", "/api/pools/default/upstreams", body, headers={"Content-Type": "application/json"}
    )
    response = connection.getresponse()
    said = response.read()
    if response.status != 201:
        raise BenchError(f"{response.status}: {said.decode()}")
    return time.perf_counter() - begun


def main(arguments: Sequence[str]) -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtests.change_cost",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--upstreams", type=int, default=1000, help="upstreams to add (default 1000)")
    parser.add_argument("--batch", type=int, default=200, help="POSTs per line (default 200)")
    parser.add_argument("--workers", type=int, default=2, help="(default 2)")
    parser.add_argument("--without-checks", action="store_true", help="without active checks")
    parser.add_argument(
        "--max-growth", type=float, default=2.0, help="last batch relative to the first (default 2)"
    )
    options = parser.parse_args(arguments)
    try:
        batches = measure(options)
    except (BenchError, OSError, subprocess.SubprocessError) as error:
        print(f"change_cost: {error}", file=sys.stderr)
        return 1
    for batch in batches:
        last = batch.first + len(batch.seconds)
        print(
            f"{batch.first + 1:>5} to {last:<5} {sum(batch.seconds):6.2f} s, a POST "
            f"{batch.median * 1e3:6.2f} ms (at most {max(batch.seconds) * 1e3:.0f}), {batch.cpu:.2f} s of CPU"
        )
    growth = batches[-1].median / batches[0].median
    print(f"POSTs of the last batch take {growth:.1f} times as long as those of the first")
    return 0 if growth <= options.max_growth else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
