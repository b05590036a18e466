"""Many clients that ask at once while the proxy has no connections to its upstreams.

    python -m loadtests.cold_clients [--clients 8000] [--rounds 3] [--backlog 511] [--vs haproxy]

All clients connect, and once the proxy has accepted them all send a GET at the same moment. Each round starts
the proxy anew. Reports the time from the first request to the last response, the responses by status, and how
many connections the proxy made to its upstreams for them. Exits 1 if a client was not served, or if ours took
more than --most times as long as the proxy compared with.
"""

import argparse
import http.client
import json
import re
import select
import signal
import socket
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from loadtests import command
from loadtests.bench.contenders import launch
from loadtests.bench.setup import Place, Setup
from loadtests.errors import BenchError
from loadtests.processes import Processes, free_ports
from loadtests.proxies import origin

BODY: Final = 100  # bytes
LIMIT: Final = 60.0  # seconds until the last response
_AT_ONCE: Final = 500  # connects in progress: the proxy accepts them meanwhile
_SETTLE: Final = 1.0  # seconds in which the proxy accepts the last ones
_REQUEST: Final = (
    b"GET / HTTP/1.1\r\nHost: app.example.com\r\nUser-Agent: cold\r\nAccept: */*\r\n"
    b"Accept-Encoding: gzip\r\nCookie: session=0123456789abcdef\r\n\r\n"
)
_STATUS: Final = re.compile(rb"HTTP/1\.1 (\d{3}) ")


@dataclass(frozen=True, slots=True)
class Storm:
    """What one round showed: `seconds` to the last response; `statuses` counts those of each status, and
    clients without a response under "none"; `made`: connections to the upstreams."""

    seconds: float
    statuses: dict[str, int]
    made: int

    @property
    def unserved(self) -> int:
        return sum(count for status, count in self.statuses.items() if status != "200")


# --- the clients, in a process of their own


def ask(port: int, clients: int) -> dict[str, object]:
    """Connect, ask at once, and read all responses."""
    with ExitStack() as stack:
        sockets = _connected(stack, port, clients)
        time.sleep(_SETTLE)
        poll = stack.enter_context(select.epoll())
        waiting = {one.fileno(): one for one in sockets}
        begun = time.monotonic()
        for one in sockets:
            one.send(_REQUEST)
            poll.register(one, select.EPOLLIN)
        statuses: Counter[str] = Counter()
        last = begun
        while waiting and last - begun < LIMIT:
            events = poll.poll(LIMIT)
            last = time.monotonic()
            for fd, _ in events:
                statuses[_read(waiting.pop(fd))] += 1
                poll.unregister(fd)
        statuses["none"] += len(waiting)
    return {"seconds": last - begun, "statuses": {name: count for name, count in statuses.items() if count}}


def _connected(stack: ExitStack, port: int, clients: int) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    while len(sockets) < clients:
        new = [stack.enter_context(socket.socket()) for _ in range(min(_AT_ONCE, clients - len(sockets)))]
        for one in new:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        for one in new:
            poll = select.poll()
            poll.register(one, select.POLLOUT)
            if not poll.poll(LIMIT * 1e3) or one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise BenchError("the proxy does not accept all clients")
        sockets += new
        time.sleep(0.05)
    return sockets


def _read(client: socket.socket) -> str:
    """The status of a response; small ones arrive in one piece."""
    try:
        status = _STATUS.match(client.recv(65536))
    except OSError:
        return "none"
    return "none" if status is None else status.group(1).decode()


# --- the processes


class Stage:
    """The origin, and one proxy at a time in front of it."""

    def __init__(self, processes: Processes, directory: Path, upstreams: int, backlog: int) -> None:
        self._processes = processes
        self._directory = directory
        self._ports = free_ports(upstreams)
        app = origin(directory, self._ports, BODY, backlog=backlog)
        pid = processes.start("origin", app.argv, 1, app.environment)
        for port in self._ports:
            processes.wait_for_body("origin", pid, port, BODY)

    def round(self, name: str, number: int, clients: int) -> Storm:
        """Start a proxy, let all clients ask it, and end it."""
        port, spare = free_ports(2)
        directory = self._directory / f"{name}-{number}"
        directory.mkdir()
        proxy = launch(name, Place(directory, port, spare, self._ports), Setup(upstreams=len(self._ports)))
        pid = self._processes.start(f"{name}-{number}", proxy.argv, 0, proxy.environment)
        self._processes.wait_for_body(name, pid, port, BODY)
        before = self._made()
        argv = [sys.executable, "-m", "loadtests.cold_clients", "--ask", str(port), "--clients", str(clients)]
        seen = json.loads(self._processes.run(f"clients-{name}-{number}", argv, 1, 3 * LIMIT))
        made = self._made() - before - 1  # the last one was our own
        self._processes.end(pid, signal.SIGTERM)
        return Storm(seen["seconds"], seen["statuses"], made)

    def _made(self) -> int:
        """The number of connections that the origin has accepted."""
        connection = http.client.HTTPConnection("127.0.0.1", self._ports[0], timeout=10.0)
        try:
            connection.request("GET", "/made")
            return int(connection.getresponse().read())
        finally:
            connection.close()


def compare(options: argparse.Namespace, say: Callable[[str], None]) -> dict[str, list[Storm]]:
    """The storms of ours, and of the proxy compared with, in turn."""
    names = ["ours", *([options.vs] if options.vs else [])]
    storms: dict[str, list[Storm]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory(prefix="balancer-cold-") as name, Processes(Path(name)) as processes:
        stage = Stage(processes, Path(name), options.upstreams, options.backlog)
        for number in range(options.rounds):
            for each, seen in storms.items():
                storm = stage.round(each, number, options.clients)
                seen.append(storm)
                say(f"{each}: {storm.seconds:.2f} s, {storm.statuses}, {storm.made} connections made")
    return storms


def _measure(options: argparse.Namespace) -> int:
    storms = compare(options, print)
    times = {name: statistics.median(storm.seconds for storm in seen) for name, seen in storms.items()}
    unserved = sum(storm.unserved for storm in storms["ours"])
    if unserved:
        print(f"{unserved} clients were not served")
    slow = False
    if options.vs:
        ratio = times["ours"] / times[options.vs]
        print(f"ours takes {ratio:.2f} times as long as {options.vs}")
        slow = ratio > options.most
    return 1 if unserved or slow else 0


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtests.cold_clients",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--clients", type=int, default=8000, help="clients that ask at once (default 8000)")
    parser.add_argument("--rounds", type=int, default=3, help="the time is the median's (default 3)")
    parser.add_argument("--upstreams", type=int, default=4, help="ports of the origin (default 4)")
    parser.add_argument("--backlog", type=int, default=511, help="of each of them (default 511, as nginx's)")
    parser.add_argument("--vs", choices=["haproxy"], help="a proxy to compare with, in turn")
    parser.add_argument("--most", type=float, default=1.5, help="times as long as --vs (default 1.5)")
    parser.add_argument("--ask", type=int, metavar="PORT", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.ask is not None:
        print(json.dumps(ask(options.ask, options.clients)))
        return 0
    return command.run("cold_clients", lambda: _measure(options))


if __name__ == "__main__":
    sys.exit(main())
