"""The app replica: it works on a number of requests at a time and has a backlog, like a sync server.

    python -m loadtests.overload.replica HOST PORT CONTROL_SOCKET BEHAVIOUR

Health checks wait in the same backlog. Work for clients that have left is still done, unless the behaviour
says otherwise: a sync server finds out only when it writes. The work is a sleep, so a replica costs the
machine next to nothing.
"""

import asyncio
import re
import sys
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import uvloop

from loadtests.control import listen
from loadtests.overload.behaviour import (
    POLL,
    POLL_TIME,
    SLOW,
    SLOW_TIME,
    STREAM,
    STREAM_TIME,
    Behaviour,
    decode,
)
from loadtests.stage import READY

BACKLOG = 4096
BODY_BYTES = 100
PIECES = 10  # of a stream
# How late a timer may be without delaying the next request's work: timers count whole milliseconds, and a
# replica that lost one with each request would have less than its nominal capacity.
TIMER_GRAIN = 0.002
_CLOSES = re.compile(rb"(?i) HTTP/1\.0\r\n|\r\nconnection: *close\r\n")


class Connection(asyncio.Protocol):
    """One connection, and the request on it."""

    def __init__(self, replica: "Replica") -> None:
        self._replica = replica
        self._received = b""
        self._closes = False
        self._transport: asyncio.Transport | None = None

    @property
    def is_closed(self) -> bool:
        return self._transport is None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's has another base class

    def connection_lost(self, _exc: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._received.endswith(b"\r\n\r\n"):
            return
        head, self._received = self._received, b""
        self._closes = _CLOSES.search(head) is not None
        target = head.split(b" ", 2)[1].decode()
        path, _, number = target.rpartition("/")
        self._replica.serve(self, f"{path}/", number.encode())

    def answer(self, body: bytes) -> None:
        """Send the whole response."""
        self.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        self.end()

    def write(self, data: bytes) -> None:
        """Send a part of the response; it is lost if the client has left."""
        if self._transport is not None:
            self._transport.write(data)

    def end(self) -> None:
        """End the response."""
        if self._closes and self._transport is not None:
            self._transport.close()


@dataclass(frozen=True, slots=True)
class Work:
    """The work for a request; `seconds` None: the service time when it begins."""

    connection: Connection
    body: bytes
    seconds: float | None


class Replica:
    """The backlog, and the requests in work."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self._line: deque[Work] = deque()
        self._busy = 0
        self._loop = asyncio.get_running_loop()
        self._plan_pause()

    def behave(self, behaviour: Behaviour) -> None:
        """Apply this behaviour from now on; requests in work are not affected."""
        self._behaviour = behaviour
        self._plan_pause()
        self._take_next(time.monotonic())

    def serve(self, connection: Connection, path: str, number: bytes) -> None:
        """A request arrives."""
        if path == POLL:
            self._loop.call_later(POLL_TIME, connection.answer, number.ljust(BODY_BYTES))
        elif path == STREAM:
            connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (PIECES * BODY_BYTES))
            self._stream(connection, number, PIECES)
        else:
            body = number.ljust(BODY_BYTES) if number.isdigit() else b"ok"  # of a check, or at the start
            self._line.append(Work(connection, body, SLOW_TIME if path == SLOW else None))
            self._take_next(time.monotonic())

    def _take_next(self, now: float) -> None:
        """Begin to work on the next requests, as of `now`."""
        behaviour = self._behaviour
        while self._line and (self._busy < behaviour.at_once or not behaviour.at_once):
            work = self._line.popleft()
            if behaviour.notices and work.connection.is_closed:
                continue
            self._busy += 1
            due = now + (behaviour.service if work.seconds is None else work.seconds)
            self._loop.call_later(max(0.0, due - time.monotonic()), self._done, work, due)

    def _done(self, work: Work, due: float) -> None:
        self._busy -= 1
        work.connection.answer(work.body)
        self._take_next(max(due, time.monotonic() - TIMER_GRAIN))

    def _stream(self, connection: Connection, number: bytes, pieces: int) -> None:
        connection.write(number.ljust(BODY_BYTES) if pieces == PIECES else b" " * BODY_BYTES)
        if pieces > 1:
            self._loop.call_later(STREAM_TIME / PIECES, self._stream, connection, number, pieces - 1)
        else:
            connection.end()

    def _plan_pause(self) -> None:
        if self._behaviour.pause_every:
            self._loop.call_later(self._behaviour.pause_every, self._pause, self._behaviour)

    def _pause(self, behaviour: Behaviour) -> None:
        if behaviour is self._behaviour:
            time.sleep(behaviour.pause)  # the whole process stops
            self._plan_pause()


async def _run(host: str, port: int, control: Path, behaviour: Behaviour) -> None:
    replica = Replica(behaviour)

    async def obey(line: bytes) -> None:
        replica.behave(decode(line))

    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(replica), host, port, backlog=BACKLOG)
    async with server, await listen(control, obey):
        print(f"{READY}{host}:{port}", flush=True)
        await server.serve_forever()


def main() -> None:
    """The process."""
    host, port, control, behaviour = sys.argv[1:]
    uvloop.run(_run(host, int(port), Path(control), decode(behaviour.encode())))


if __name__ == "__main__":
    main()
