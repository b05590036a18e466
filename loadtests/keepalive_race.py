"""The keepalive race: an app that closes idle connections, and requests that arrive at about that moment.

    python -m loadtests.keepalive_race [--requests 10000] [--idle 0.5] [--clients 100] [--methods GET,POST]

One app replica closes each connection that has been idle for --idle seconds. The clients repeatedly send one
request each, all at once, with random pauses around that time: from zero to twice that, or closer to it with
--spread. Each method has its own balancer; exits 1 if a GET failed, if a POST failed after the idle time was
known, or if the replica has seen a POST twice. `--no-learn` shows the figures without learning.
"""

import argparse
import asyncio
import os
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import cast

import uvloop

SERVICE = 0.02  # seconds; long enough that all requests of a moment need separate connections
START = 20.0
_LISTENS = re.compile(rb" listens on \S+:(\d+), admin on \S+:(\d+);")
_STALE = re.compile(rb'^balancer_retries_total{.*reason="stale_connection".*} (\S+)$', re.MULTILINE)
_KNOWN = b"closes idle connections after"
_TARGET = re.compile(rb"^\S+ /(\d+) ")


class Replica(asyncio.Protocol):
    """Answers after SERVICE seconds, and closes `idle` seconds after that."""

    def __init__(self, idle: float, seen: Counter[int]) -> None:
        self._idle = idle
        self._seen = seen
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's has another base class

    def data_received(self, data: bytes) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if (match := _TARGET.match(data)) is not None:
            self._seen[int(match[1])] += 1
        self._timer = self._loop.call_later(SERVICE, self._answer)

    def _answer(self) -> None:
        assert self._transport is not None
        self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        self._timer = self._loop.call_later(self._idle, self._transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()


@dataclass
class Outcome:
    """The outcomes of the requests of one method."""

    statuses: Counter[int] = field(default_factory=Counter)
    failed_unknowing: int = 0  # before the idle time was known
    failed_knowing: int = 0
    known_after: float | None = None  # seconds
    known: bytes = b""  # in the balancer's words
    stale: int = 0  # requests sent on a connection that was being closed, and sent again
    twice: int = 0  # requests that the replica has seen more than once


class Race:
    """One balancer in front of one replica, and the clients."""

    def __init__(self, options: argparse.Namespace, method: str) -> None:
        self._options = options
        self._method = method.encode()
        self._random = random.Random(options.seed)
        self._seen: Counter[int] = Counter()
        self._ports: asyncio.Future[tuple[int, int]] = asyncio.get_running_loop().create_future()
        self._began = time.monotonic()
        self.outcome = Outcome()

    async def run(self) -> Outcome:
        """The whole race."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Replica(self._options.idle, self._seen), "127.0.0.1", 0)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("BALANCER_")}
        environment |= {
            "BALANCER_LISTEN": "127.0.0.1:0",
            "BALANCER_ADMIN_LISTEN": "127.0.0.1:0",
            "BALANCER_UPSTREAMS": f"127.0.0.1:{server.sockets[0].getsockname()[1]}",
            "BALANCER_HEALTH_CHECK__ENABLED": "false",
            "BALANCER_ACCESS_LOG__ENABLED": "false",
            "BALANCER_KEEPALIVE__MAX_IDLE": str(self._options.clients),
            "BALANCER_KEEPALIVE__LEARN": str(self._options.learn).lower(),
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "balancer", env=environment, stderr=asyncio.subprocess.PIPE
        )
        reading = asyncio.create_task(self._listen_to(process))
        try:
            async with asyncio.timeout(START):
                port, admin_port = await self._ports
            self._began = time.monotonic()
            await self._play(port)
            self.outcome.stale = await _count_stale(admin_port)
        finally:
            with suppress(ProcessLookupError):
                process.terminate()
            await process.wait()
            await reading
            server.close()
        self.outcome.twice = sum(count > 1 for count in self._seen.values())
        return self.outcome

    async def _listen_to(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        async for line in process.stderr:
            if (match := _LISTENS.search(line)) is not None:
                self._ports.set_result((int(match[1]), int(match[2])))
            elif _KNOWN in line and self.outcome.known_after is None:
                self.outcome.known_after = time.monotonic() - self._began
                self.outcome.known = line.rstrip()

    async def _play(self, port: int) -> None:
        options = self._options
        clients = [await asyncio.open_connection("127.0.0.1", port) for _ in range(options.clients)]
        number = 0
        while number < options.requests:
            count = min(len(clients), options.requests - number)
            asking = [self._ask(*clients[each], number + each) for each in range(count)]
            number += count
            await asyncio.gather(*asking)
            await asyncio.sleep(options.idle * (1 + self._random.uniform(-1, 1) * options.spread))
        for _, writer in clients:
            writer.close()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        body = b"Content-Length: 2\r\n\r\nhi" if self._method == b"POST" else b"\r\n"
        writer.write(b"%s /%d HTTP/1.1\r\nHost: race\r\n%s" % (self._method, number, body))
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        await reader.readexactly(int(length[1]) if length is not None else 0)
        status = int(head.split(b" ")[1])
        self.outcome.statuses[status] += 1
        if status != 200 and self.outcome.known_after is None:
            self.outcome.failed_unknowing += 1
        elif status != 200:
            self.outcome.failed_knowing += 1


async def _count_stale(admin_port: int) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", admin_port)
    writer.write(b"GET /metrics HTTP/1.0\r\n\r\n")
    text = await reader.read()
    writer.close()
    match = _STALE.search(text)
    return int(float(match[1])) if match is not None else 0


def _report(method: str, outcome: Outcome) -> bool:
    """Print the outcome; returns whether it is within bounds."""
    statuses = ", ".join(f"{count} x {status}" for status, count in sorted(outcome.statuses.items()))
    known = "never" if outcome.known_after is None else f"after {outcome.known_after:.1f} s"
    print(
        f"{method}: {statuses}; idle time known {known}; failed before that {outcome.failed_unknowing}, "
        f"after it {outcome.failed_knowing}; met a closing connection {outcome.stale}; "
        f"seen twice by the app {outcome.twice}",
        flush=True,
    )
    if outcome.known:
        print(f"  {outcome.known.decode()}", flush=True)
    if method == "GET":
        return outcome.failed_unknowing + outcome.failed_knowing == 0
    return outcome.failed_knowing == 0 and outcome.twice == 0 and outcome.known_after is not None


def main(arguments: Sequence[str]) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.keepalive_race", description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000, help="requests per method (default 10000)")
    parser.add_argument("--idle", type=float, default=0.5, help="the app's idle timeout (default 0.5 s)")
    parser.add_argument("--clients", type=int, default=100, help="simultaneous requests (default 100)")
    parser.add_argument(
        "--spread", type=float, default=1.0, help="pauses are idle x (1 - spread) to idle x (1 + spread)"
    )
    parser.add_argument("--methods", default="GET,POST", help="GET, POST or both (default both)")
    parser.add_argument("--no-learn", dest="learn", action="store_false", help="with KEEPALIVE__LEARN=false")
    parser.add_argument("--seed", type=int, default=1, help="seed of the pauses (default 1)")
    options = parser.parse_args(arguments)
    well = True
    for method in options.methods.split(","):

        async def race(method: str = method) -> Outcome:
            return await Race(options, method).run()

        well &= _report(method, uvloop.run(race()))
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
