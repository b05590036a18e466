"""Goodput at three times the capacity of the app replicas.

    python -m loadtests.queue_goodput [--seconds 20] [--times 3] [--queue-timeout 500ms] [--max-inflight 2]

Four app replicas each work on --at-once requests of 20 ms at a time; the others wait, first come first
served. Requests are sent at their planned times, whatever happens to earlier ones, and a client waits 5 s.
The balancer limits each replica to what it can work on (--max-inflight, 0 for no limit).

Goodput is the number of 200s per second, from the second second to the last arrival. Capacity is the
throughput of replicas that are never idle: their 20 ms are really a little more, because of timers and a busy
machine, so the real time is measured. Exits 1 if goodput is below 95 % of capacity, or if a client saw
anything but 200 and 503.
"""

import argparse
import asyncio
import os
import re
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import uvloop

from loadtests.faults.ledger import TARGET
from loadtests.open_loop import records
from loadtests.open_loop.arrivals import Phase, Sort
from loadtests.open_loop.order import BEGINS, Order
from loadtests.open_loop.records import Kind, Record

REPLICAS = 4
SERVICE = 0.02  # seconds
START = 20.0
PATIENCE = 5.0  # seconds: the patience of a client
SORTS = (Sort(TARGET, 0.9), Sort(TARGET, 0.1, "POST"))
LEAST = 0.95  # of capacity
SKIPPED = 1.0  # seconds at the start, in which queues fill
_LISTENS = re.compile(rb" listens on \S+:(\d+), admin on ")
_REQUEST = re.compile(rb"^\S+ %b(\d+) .*?\r\n\r\n" % TARGET.encode(), re.DOTALL)
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")


class Replica:
    """Works on `at_once` requests at a time; `most` is the largest number it has had at once, waiting
    included.

    `done` requests have taken `worked` seconds, summed over requests.
    """

    def __init__(self, at_once: int) -> None:
        self._free = at_once
        self._waiting: deque[Connection] = deque()
        self._has = 0
        self.most = 0
        self.done = 0
        self.worked = 0.0

    def begin(self, connection: "Connection") -> None:
        """A request arrives."""
        self._has += 1
        self.most = max(self.most, self._has)
        if self._free:
            self._free -= 1
            self._work(connection)
        else:
            self._waiting.append(connection)

    def _work(self, connection: "Connection") -> None:
        asyncio.get_running_loop().call_later(SERVICE, self._done, connection, time.monotonic())

    def _done(self, connection: "Connection", begun: float) -> None:
        self._has -= 1
        self.done += 1
        self.worked += time.monotonic() - begun
        connection.answer()
        if self._waiting:
            self._work(self._waiting.popleft())  # also for a client that has left: an app does not know
        else:
            self._free += 1


class Connection(asyncio.Protocol):
    """A connection of the balancer to a replica; answers with the request's number."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._received = b""
        self._number = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's has another base class

    def data_received(self, data: bytes) -> None:
        self._received += data
        found = _REQUEST.match(self._received)
        if found is None:
            return
        length = _LENGTH.search(self._received, 0, found.end())
        if len(self._received) >= found.end() + (int(length[1]) if length is not None else 0):
            self._received = b""
            self._number = found[1]
            self._replica.begin(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None

    def answer(self) -> None:
        """The work has ended."""
        if self._transport is not None:
            number = self._number
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(number), number))


@dataclass(frozen=True, slots=True)
class Outcome:
    """The results for clients. Times in seconds."""

    nominal: float  # requests per second if each took SERVICE
    capacity: float  # by their real service time
    goodput: float
    p50: float
    p99: float
    others: Counter[str]  # outcomes other than 200
    lag: float  # the 99th percentile of how much later than planned a request was sent
    most: int  # the most requests that a replica has had at once


def judge(
    seen: Sequence[Record], begins: float, seconds: float, at_once: int, replicas: Sequence[Replica]
) -> Outcome:
    """`begins`: when the first request was due, by the monotonic clock; `seconds`: the length of the load."""
    done = sum(replica.done for replica in replicas)
    service = sum(replica.worked for replica in replicas) / done if done else SERVICE
    served = [one for one in seen if one.kind is Kind.OK]
    counted = [one for one in served if begins + SKIPPED <= one.ended < begins + seconds]
    took = sorted(one.took for one in served) or [0.0]
    lags = sorted(one.lag for one in seen)
    return Outcome(
        nominal=len(replicas) * at_once / SERVICE,
        capacity=len(replicas) * at_once / service,
        goodput=len(counted) / (seconds - SKIPPED),
        p50=took[len(took) // 2],
        p99=took[len(took) * 99 // 100],
        others=Counter(one.failure for one in seen if one.kind is not Kind.OK),
        lag=lags[len(lags) * 99 // 100],
        most=max(replica.most for replica in replicas),
    )


async def measure(options: argparse.Namespace) -> Outcome:
    """One run."""
    loop = asyncio.get_running_loop()
    replicas = [Replica(options.at_once) for _ in range(REPLICAS)]
    nominal = REPLICAS * options.at_once / SERVICE
    async with AsyncExitStack() as stack:
        ports = []
        for replica in replicas:
            made = await loop.create_server(lambda one=replica: Connection(one), "127.0.0.1", 0)  # type: ignore[misc]  # its type is known
            stack.callback(made.close)
            ports.append(made.sockets[0].getsockname()[1])
        port = await stack.enter_async_context(_balancer(options, ports))
        file = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "records"
        rate, seconds = round(nominal * options.times), options.seconds
        order = Order(port, [Phase(rate, seconds, SORTS)], PATIENCE, options.seed, file)
        load = await asyncio.create_subprocess_exec(*order.command, stdout=asyncio.subprocess.PIPE)
        output, _ = await load.communicate()
        if load.returncode:
            sys.exit(f"the load ended with {load.returncode}")
        begins = float(output.decode().removeprefix(BEGINS))
        return judge(records.read(file), begins, seconds, options.at_once, replicas)


@asynccontextmanager
async def _balancer(options: argparse.Namespace, ports: Sequence[int]) -> AsyncIterator[int]:
    """The port of a balancer that runs until the end of the block."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BALANCER_")}
    environment |= {
        "BALANCER_LISTEN": "127.0.0.1:0",
        "BALANCER_ADMIN_LISTEN": "127.0.0.1:0",
        "BALANCER_WORKERS": str(options.workers),
        "BALANCER_UPSTREAMS": ",".join(f"127.0.0.1:{port}" for port in ports),
        "BALANCER_HEALTH_CHECK__ENABLED": "false",
        "BALANCER_ADAPTIVE__ENABLED": "false",  # the queue is measured with a given limit
        "BALANCER_ACCESS_LOG__ENABLED": "false",
    }
    if options.max_inflight:
        environment["BALANCER_LIMITS__MAX_INFLIGHT"] = str(options.max_inflight)
        environment["BALANCER_LIMITS__QUEUE_SIZE"] = str(options.queue_size)
        environment["BALANCER_LIMITS__QUEUE_TIMEOUT"] = options.queue_timeout
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "balancer", env=environment, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    reading: asyncio.Task[bytes] | None = None
    try:
        async with asyncio.timeout(START):
            while (match := _LISTENS.search(line := await process.stderr.readline())) is None:
                if not line:
                    sys.exit("the balancer did not start")
        reading = asyncio.create_task(process.stderr.read())  # otherwise it would wait for a reader
        yield int(match[1])
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
        if reading is not None:
            await reading


def report(outcome: Outcome) -> bool:
    """Print the outcome; returns whether it is within bounds."""
    share = outcome.goodput / outcome.capacity
    others = ", ".join(f"{count} x {what}" for what, count in sorted(outcome.others.items())) or "nothing"
    print(
        f"goodput {outcome.goodput:.0f}/s, {share:.1%} of the {outcome.capacity:.0f} that the replicas "
        f"could do ({outcome.nominal:.0f} by the book); served requests took "
        f"p50 {outcome.p50 * 1e3:.0f} ms, p99 {outcome.p99 * 1e3:.0f} ms; besides {others}; "
        f"a replica had {outcome.most} at once at most; the load was {outcome.lag * 1e3:.0f} ms late (p99)",
        flush=True,
    )
    return share >= LEAST and outcome.others.keys() <= {"status 503"}


def main(arguments: Sequence[str]) -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtests.queue_goodput",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="seconds of load, at least 2 (default 20)"
    )
    parser.add_argument(
        "--times", type=float, default=3.0, help="load as a multiple of the capacity (default 3)"
    )
    parser.add_argument("--at-once", type=int, default=2, help="concurrent requests of a replica (default 2)")
    parser.add_argument("--max-inflight", type=int, default=2, help="LIMITS__MAX_INFLIGHT (default 2)")
    parser.add_argument("--queue-size", type=int, default=1000, help="LIMITS__QUEUE_SIZE (default 1000)")
    parser.add_argument("--queue-timeout", default="500ms", help="LIMITS__QUEUE_TIMEOUT (default 500ms)")
    parser.add_argument("--workers", type=int, default=1, help="WORKERS (default 1)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the arrivals (default 1)")
    options = parser.parse_args(arguments)
    if options.seconds < 2:
        parser.error("--seconds: at least 2")
    return 0 if report(uvloop.run(measure(options))) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
