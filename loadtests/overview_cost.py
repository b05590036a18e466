"""The cost of the dashboard for the supervisor: its CPU time with and without somebody who looks.

    python -m loadtests.overview_cost [--upstreams 1000] [--routes 50] [--rate 500] [--seconds 15]

A balancer in its own process has as many pools as routes, which share the upstreams; all of these are
addresses of one program. Clients send requests to all routes in turn, so that each second every figure
changes. Prints the supervisor's share of a core without a stream, and with one. Exits 1 if the difference,
which is what a page costs, or the whole is above --most.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from loadtests.change_cost import APP, address, ready
from loadtests.processes import Processes, free_ports
from loadtests.proxies import balancer

CLIENTS = 20
_TICKS = os.sysconf("SC_CLK_TCK")


def settings(upstreams: int, routes: int, app: int) -> dict[str, str]:
    """A pool for each route."""
    made = {"HEALTH_CHECK__ENABLED": "false", "POLICY": "round_robin", "ACCESS_LOG__ENABLED": "false"}
    for number in range(routes):
        members = range(number, upstreams, routes)
        made[f"POOLS__P{number}__UPSTREAMS"] = ",".join(f"{address(each)}:{app}" for each in members)
    made["ROUTES"] = ", ".join([*(f"/r{number}=p{number}" for number in range(1, routes)), "/=p0"])
    return made


async def load(port: int, routes: int, rate: float, until: float) -> int:
    """Requests to all routes in turn; returns their number."""
    sent = 0

    async def client(number: int) -> None:
        nonlocal sent
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        pause, turn = CLIENTS / rate, number
        while time.monotonic() < until:
            begun = time.monotonic()
            writer.write(f"GET /r{turn % routes} HTTP/1.1\r\nHost: bench.test\r\n\r\n".encode())
            await reader.readuntil(b"\r\n\r\nok")
            sent += 1
            turn += 1
            await asyncio.sleep(max(0.0, pause - (time.monotonic() - begun)))
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    return sent


async def look(admin: int, until: float) -> tuple[int, int]:
    """Read the stream as a page does; returns its events and bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", admin, limit=1 << 24)
    writer.write(b"GET /api/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
    events = size = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(until - time.monotonic()):
            while data := await reader.read(1 << 16):
                size += len(data)
                events += data.count(b"event: ")
    writer.close()
    await writer.wait_closed()
    return events, size


def used(pid: int) -> float:
    """CPU seconds of this process alone."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


async def phase(
    pid: int, port: int, admin: int, options: argparse.Namespace, looks: bool
) -> tuple[float, str]:
    """The supervisor's share of a core, and a line about it."""
    before, begun = used(pid), time.monotonic()
    until = begun + options.seconds
    jobs = [asyncio.create_task(load(port, options.routes, options.rate, until))]
    stream = asyncio.create_task(look(admin, until)) if looks else None
    (sent,) = await asyncio.gather(*jobs)
    events, size = await stream if stream is not None else (0, 0)
    seconds = time.monotonic() - begun
    share = (used(pid) - before) / seconds
    line = f"{'a page' if looks else 'no page'}: {share:.1%} of a core; {sent / seconds:.0f} requests/s"
    if looks:
        line += f", {events} events of {size / max(1, events) / 1024:.0f} KiB"
    return share, line


async def measure(pid: int, port: int, admin: int, options: argparse.Namespace) -> float:
    """Both phases; returns the larger share."""
    await phase(pid, port, admin, argparse.Namespace(**{**vars(options), "seconds": 3}), False)  # warm-up
    alone, line = await phase(pid, port, admin, options, False)
    print(line)
    watched, line = await phase(pid, port, admin, options, True)
    print(line)
    return max(alone, watched)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="overview_cost", description=__doc__.partition("\n")[0])
    parser.add_argument("--upstreams", type=int, default=1000)
    parser.add_argument("--routes", type=int, default=50)
    parser.add_argument("--rate", type=float, default=500.0, help="requests per second")
    parser.add_argument("--seconds", type=float, default=15.0, help="of each of the two phases")
    parser.add_argument("--most", type=float, default=0.05, help="share of a core")
    options = parser.parse_args(arguments)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="balancer-overview-")))
        processes = stack.enter_context(Processes(directory))
        app, port, admin = free_ports(3)
        processes.start("app", [sys.executable, "-c", f"{APP}\nasyncio.run(serve({app}))"], None)
        given = settings(options.upstreams, options.routes, app)
        launch = balancer(port, admin, [f"127.0.0.1:{app}"], WORKERS="1", **given)
        pid = processes.start("balancer", launch.argv, None, launch.environment)
        ready(admin).close()
        share = asyncio.run(measure(pid, port, admin, options))
    return int(share > options.most)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
