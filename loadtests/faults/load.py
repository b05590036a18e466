"""The load: requests leave when their time has come, whatever became of those before them.

    python -m loadtests.faults.load PORT RATE SECONDS SEED RECORDS_FILE

A process of its own on raw protocols. It prints when it begins (seconds of the monotonic clock), and writes
what became of every request when the last one has ended. A request takes the idle connection that was used
last, as HTTP clients do, or else opens one.
"""

import asyncio
import gc
import re
import sys
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any, cast

import uvloop

from loadtests.faults import records
from loadtests.faults.arrivals import Arrival, arrivals
from loadtests.faults.ledger import TARGET
from loadtests.faults.records import Kind, Record

HOST = "127.0.0.1"
BEGINS = "begins at "
PATIENCE = 5.0  # seconds a client waits for the whole response
CONNECTIONS = 32  # open before the load begins
POST_BYTES = 256
TICK = 0.001  # what the event loop's timers can tell apart, seconds
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_CLOSE = re.compile(rb"(?i)\r\nconnection: *close")


class Request:
    """A request on its way. `connection` is None until there is one, and when it has ended."""

    __slots__ = ("begun", "connection", "ended", "lag", "method", "number")

    def __init__(self, number: int, method: str, begun: float, lag: float) -> None:
        self.number = number
        self.method = method
        self.begun = begun
        self.lag = lag
        self.connection: Connection | None = None
        self.ended = False

    @property
    def body(self) -> bytes:
        """What the response to it must say."""
        return b"%d" % self.number

    def encode(self) -> bytes:
        """The request as it is sent."""
        target = f"{TARGET}{self.number}"
        if self.method == "GET":
            return f"GET {target} HTTP/1.1\r\nHost: faults.test\r\nAccept: */*\r\n\r\n".encode()
        head = f"POST {target} HTTP/1.1\r\nHost: faults.test\r\nContent-Length: {POST_BYTES}\r\n\r\n"
        return head.encode() + self.body.ljust(POST_BYTES)


class Connection(asyncio.Protocol):
    """A connection to the balancer, for one request at a time."""

    __slots__ = ("_load", "_received", "_request", "transport")

    def __init__(self, load: "Load") -> None:
        self._load = load
        self._received = b""
        self._request: Request | None = None
        self.transport: asyncio.Transport | None = None

    @property
    def is_open(self) -> bool:
        return self.transport is not None and not self.transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass of it

    def send(self, request: Request) -> None:
        """Put the request on the wire; the connection must be open and idle."""
        assert self.transport is not None
        self._request = request
        request.connection = self
        self.transport.write(request.encode())

    def give_up(self) -> None:
        """Nobody waits for the answer any more."""
        self._request = None
        if self.transport is not None:
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if found and length and len(body) >= int(length[1]):
            self._end(head, body)

    def connection_lost(self, _exc: Exception | None) -> None:
        if self._request is not None:
            head, found, body = self._received.partition(b"\r\n\r\n")
            if found and not _LENGTH.search(head):
                self._end(head, body)  # a response that ends with its connection
            else:
                request, self._request = self._request, None
                self._load.finished(request, Kind.CUT if self._received else Kind.RESET, 0)
        self.transport = None

    def _end(self, head: bytes, body: bytes) -> None:
        request, self._request = self._request, None
        self._received = b""
        if request is None:
            self.give_up()  # a response that nobody asked for
            return
        status = int(head[9:12])
        own = Kind.OK if body.strip() == request.body else Kind.WRONG
        self._load.finished(request, own if status == 200 else Kind.STATUS, status)
        if _CLOSE.search(head):
            self.give_up()
        else:
            self._load.put(self)


class Load:
    """All requests, those on their way, and the idle connections."""

    def __init__(self, port: int, plan: Sequence[Arrival]) -> None:
        self._port = port
        self._plan = plan
        self._next = 0
        self._start = 0.0
        self._idle: list[Connection] = []
        self._under_way: deque[Request] = deque()  # the oldest first; ended ones leave from the front
        self._dials: set[asyncio.Task[None]] = set()
        self._done = asyncio.Event()
        self._bug: BaseException | None = None
        self.records: list[Record] = []

    async def run(self) -> None:
        """Make all requests, and return when the last one has ended."""
        asyncio.get_running_loop().set_exception_handler(self._found_bug)
        for _ in range(CONNECTIONS):
            self._idle.append(await self._connect())
        self._start = time.monotonic() + 0.1
        print(f"{BEGINS}{self._start}", flush=True)
        self._tick()
        await self._done.wait()
        if self._bug is not None:
            raise self._bug
        for connection in self._idle:
            connection.give_up()

    def put(self, connection: Connection) -> None:
        """The connection may be used again."""
        self._idle.append(connection)

    def finished(self, request: Request, kind: Kind, status: int) -> None:
        """The request has ended for its client."""
        request.ended = True
        request.connection = None
        took = time.monotonic() - request.begun
        self.records.append(
            Record(request.number, request.method, request.begun, request.lag, took, kind, status)
        )
        if len(self.records) == len(self._plan):
            self._done.set()

    def _found_bug(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Our own bug must not pass for a failure of the balancer's."""
        self._bug = context.get("exception") or RuntimeError(context["message"])
        self._done.set()

    def _tick(self) -> None:
        """Send what is due, give up what took too long, and come again when the next one is due."""
        now = time.monotonic()
        while self._next < len(self._plan) and self._start + self._plan[self._next].at <= now:
            arrival = self._plan[self._next]
            begun = self._start + arrival.at
            self._begin(Request(self._next, arrival.method, begun, now - begun))
            self._next += 1
        while self._under_way and (self._under_way[0].ended or self._under_way[0].begun + PATIENCE <= now):
            request = self._under_way.popleft()
            if not request.ended:
                connection = request.connection
                self.finished(request, Kind.TIMEOUT, 0)
                if connection is not None:
                    connection.give_up()
        if not self._done.is_set():
            due = self._plan[self._next].at + self._start - now if self._next < len(self._plan) else 0.01
            asyncio.get_running_loop().call_later(max(TICK, min(due, 0.1)), self._tick)

    def _begin(self, request: Request) -> None:
        self._under_way.append(request)
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                connection.send(request)
                return
        task = asyncio.create_task(self._begin_on_new(request))
        self._dials.add(task)
        task.add_done_callback(self._dials.discard)

    async def _begin_on_new(self, request: Request) -> None:
        try:
            connection = await self._connect()
        except OSError:
            if not request.ended:
                self.finished(request, Kind.RESET, 0)
            return
        if request.ended or not connection.is_open:
            connection.give_up()
            if not request.ended:
                self.finished(request, Kind.RESET, 0)
        else:
            connection.send(request)

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: Connection(self), HOST, self._port)
        return connection


def main() -> None:
    """The process."""
    port, rate, seconds, seed, file = sys.argv[1:]
    plan = arrivals(int(rate), float(seconds), Random(int(seed)))
    # A collection stops all requests at once. Nothing here is a cycle.
    gc.collect()
    gc.disable()

    async def run() -> None:
        load = Load(int(port), plan)
        await load.run()
        records.write(Path(file), load.records)

    uvloop.run(run())


if __name__ == "__main__":
    main()
