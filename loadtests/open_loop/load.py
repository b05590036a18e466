"""The load: requests are sent at their planned times, whatever happens to earlier ones.

    python -m loadtests.open_loop.load ORDER

A process of its own; `loadtests.open_loop.order` writes its order. It prints when it begins (seconds of the
monotonic clock), and writes the outcome of every request when the last one has ended. After USR1 it sends no
more, and ends with what is under way. On raw sockets and one epoll: 4,000 requests a second that each open
and close a connection are half a core's work.
"""

import gc
import resource
import select
import signal
import sys
import time
from collections import deque
from random import Random

from loadtests.open_loop import order, records
from loadtests.open_loop.arrivals import arrivals
from loadtests.open_loop.connection import Connection, Request, State
from loadtests.open_loop.order import BEGINS, Order
from loadtests.open_loop.records import Kind, Record

CONNECTIONS = 32  # connections opened before the load begins, if they are reused
BEGUN = 64  # requests at once: a late load must still time out and read
EVENTS = 64  # reads at once, before due requests are sent
LONGEST_WAIT = 0.1  # seconds between two looks for due requests, at most
READ = select.EPOLLIN
WRITE = select.EPOLLOUT


class Load:
    """All requests, those in flight, and the idle connections."""

    def __init__(self, order: Order) -> None:
        self._port = order.port
        self._reuse = order.reuse
        self._patience = order.patience
        self._plan = arrivals(order.phases, Random(order.seed))
        self._next = 0
        self._start = 0.0
        self._idle: list[Connection] = []
        self._connections: dict[int, Connection] = {}  # open ones by descriptor
        self._under_way: deque[Request] = deque()  # oldest first; ended ones are removed from the front
        self._epoll = select.epoll()
        self._stopped = False
        self.records: list[Record] = []

    def stop(self) -> None:
        """Send no more."""
        self._stopped = True

    def run(self) -> None:
        """Send all requests, and return when the last one has ended."""
        if self._reuse:
            for _ in range(CONNECTIONS):
                self._put(self._open())
        self._start = time.monotonic() + 0.1
        print(f"{BEGINS}{self._start}", flush=True)
        while len(self.records) < len(self._plan):
            if self._stopped:
                del self._plan[self._next :]
            now = time.monotonic()
            self._begin_due(now)
            self._give_up(now)
            for fd, events in self._epoll.poll(self._wait(), EVENTS):
                # A connection that has just been closed may still be among the events.
                if (connection := self._connections.get(fd)) is not None:
                    self._serve(connection, events)

    def _begin_due(self, now: float) -> None:
        """Send due requests, then handle events of others."""
        for _ in range(BEGUN):
            if self._next == len(self._plan) or self._start + self._plan[self._next].at > now:
                break
            arrival = self._plan[self._next]
            begun = self._start + arrival.at
            now = time.monotonic()
            self._begin(Request(self._next, arrival.sort.method, arrival.sort.path, begun, now - begun))
            self._next += 1

    def _give_up(self, now: float) -> None:
        """End the requests whose clients' patience has ended; they close their connections."""
        under_way = self._under_way
        while under_way and (under_way[0].connection is None or under_way[0].begun + self._patience <= now):
            connection = under_way.popleft().connection
            if connection is not None:
                self._drop(connection)
                self._finish(connection, Kind.TIMEOUT, 0)

    def _wait(self) -> float:
        """Seconds until the next request or timeout is due."""
        moments = []
        if self._next < len(self._plan):
            moments.append(self._start + self._plan[self._next].at)
        if self._under_way:
            moments.append(self._under_way[0].begun + self._patience)
        return min(max(0.0, min(moments, default=0.0) - time.monotonic()), LONGEST_WAIT)

    def _begin(self, request: Request) -> None:
        self._under_way.append(request)
        while self._idle:
            connection = self._idle.pop()
            if connection.state is State.IDLE:
                self._attach(connection, request)
                if not connection.send():
                    self._drop(connection)
                    self._finish(connection, Kind.RESET, 0)
                return
        connection = self._open()
        self._attach(connection, request)
        if not connection.send():  # on loopback it nearly always connects at once
            self._epoll.modify(connection.fd, WRITE)

    def _attach(self, connection: Connection, request: Request) -> None:
        connection.request = request
        request.connection = connection

    def _open(self) -> Connection:
        connection = Connection(self._port)
        self._connections[connection.fd] = connection
        self._epoll.register(connection.fd, READ)
        return connection

    def _put(self, connection: Connection) -> None:
        """Keep the connection for reuse."""
        connection.state = State.IDLE
        self._idle.append(connection)

    def _drop(self, connection: Connection) -> None:
        del self._connections[connection.fd]  # before the descriptor can be reused
        connection.close()

    def _serve(self, connection: Connection, events: int) -> None:
        """Handle an event of a connection."""
        if connection.state is State.CONNECTING and events == WRITE:
            if connection.send():
                self._epoll.modify(connection.fd, READ)
            return
        outcome = connection.receive()
        if connection.state is State.CLOSED:
            del self._connections[connection.fd]
        if outcome is None:
            return
        self._finish(connection, *outcome)
        if connection.state is State.IDLE:
            if self._reuse:
                self._put(connection)
            else:
                self._drop(connection)

    def _finish(self, connection: Connection, kind: Kind, status: int) -> None:
        """The request has ended for its client."""
        request, connection.request = connection.request, None
        if request is None:
            return
        request.connection = None
        took = time.monotonic() - request.begun
        self.records.append(
            Record(
                request.number,
                request.method,
                request.begun,
                request.lag,
                took,
                kind,
                status,
                connection.client,
            )
        )


def main() -> None:
    """The process."""
    given = order.decode(sys.argv[1])
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    load = Load(given)
    # A garbage collection would stop all requests. Requests and connections are unlinked at their end, so
    # nothing leaks.
    gc.collect()
    gc.disable()
    signal.signal(signal.SIGUSR1, lambda *_: load.stop())
    load.run()
    records.write(given.records, load.records)


if __name__ == "__main__":
    main()
