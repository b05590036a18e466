"""The harness of the proxy tests: a `Wire` with the operations that they share."""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

from typing import Any

from balancer.errors import FAILURES
from balancer.pools.pool import UpstreamPool
from balancer.proxy.router import Route
from balancer.telemetry.columns import (
    CLOSE_REASONS,
    CODE_COLUMN,
    LISTENER_CONNECTIONS,
    METHOD_COLUMN,
    METHOD_OTHER,
    POOL_QUEUE_LENGTH,
    POOL_QUEUE_REJECTED,
    POOL_RETRIES,
    POOL_TUNNELS,
    QUEUE_REJECTIONS,
    RETRY_REASONS,
    ROUTE_INFLIGHT,
    UPSTREAM_CLOSES,
    UPSTREAM_CONNECTS,
    UPSTREAM_IDLE,
    UPSTREAM_INFLIGHT,
    UPSTREAM_REUSES,
    UPSTREAM_STREAMING,
    WORKER_LOCAL_RESPONSES,
)
from balancer.upstreams.upstream import Upstream
from tests.fakes.messages import TLS_ROW
from tests.fakes.wire import CLIENT_ADDRESS, FakeTransport, Wire, start_message, upstream_message

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
REASONS = [failure.reason for failure in FAILURES]
OK = b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 2\r\n\r\nok"


class Harness(Wire):
    """A real proxy in front of `upstreams` upstreams; `changes` are those of `start_message`."""

    def __init__(self, upstreams: int = 1, **changes: Any) -> None:
        super().__init__(start_message(upstreams, **changes))
        self.clients: list[FakeTransport] = []
        self.cap = 0  # `max_inflight` of every upstream
        self.in_any_order = False
        self.expects_bug = False  # set by a test that plants a bug: then tracebacks may be logged

    # --- actions

    def client(self, address: str = CLIENT_ADDRESS) -> FakeTransport:
        """A new client connection."""
        client = self.connect(address)
        self.clients.append(client)
        return client

    def ask(self, request: bytes = GET, client: FakeTransport | None = None) -> FakeTransport:
        """`client` (a new one if None) sends `request`, and the dial, if any, connects."""
        client = self.client() if client is None else client
        client.receive(request)
        self.settle()
        return client

    def answer(self, response: bytes = OK) -> None:
        """The newest upstream connection sends `response`."""
        self.upstream.receive(response)
        self.settle()

    def warm(self, request: bytes = GET) -> tuple[FakeTransport, FakeTransport]:
        """One whole exchange: returns the client, and the upstream connection that is idle now."""
        client = self.ask(request)
        self.answer()
        assert client.take().endswith(b"ok")
        self.upstream.take()
        assert self.idle == 1
        return client, self.upstream

    def hold(self, *numbers: int) -> None:
        """Dials to these upstreams (the first is 1) stay open until the test decides."""
        for number in numbers:
            self.loop.answers[f"10.0.0.{number}", 8000] = self.loop.HOLD

    def refuse(self, *numbers: int, error: Exception | None = None) -> None:
        """Dials to these upstreams fail."""
        for number in numbers:
            self.loop.answers[f"10.0.0.{number}", 8000] = error or ConnectionRefusedError()

    def accept(self, *numbers: int) -> None:
        """Dials to these upstreams connect from now on."""
        for number in numbers:
            self.loop.answers.pop((f"10.0.0.{number}", 8000), None)

    def move(self, number: int, host: str) -> None:
        """The supervisor sends that this upstream (the first is 1) is at `host` now."""
        self._tell_hosts({one.row: one.host for one in self.upstreams} | {3 + number: host})

    def limit(self, cap: int) -> None:
        """The supervisor sends that every upstream may have `cap` requests at once."""
        self.cap = cap
        self._tell_hosts({one.row: one.host for one in self.upstreams})

    def _tell_hosts(self, hosts: dict[int, str]) -> None:
        caps = {"max_inflight": self.cap}
        self.tell(*(upstream_message(row - 3, host=host, **caps) for row, host in hosts.items()))

    # --- observations

    @property
    def pool(self) -> UpstreamPool:
        return self.pools[0]

    @property
    def pools(self) -> list[UpstreamPool]:
        return [pool for pool, _, _ in self.proxy.membership._pools.values()]

    @property
    def route(self) -> Route:
        return self.proxy.router.routes[0]

    @property
    def upstreams(self) -> list[Upstream]:
        return self.pool.upstreams

    @property
    def inflight(self) -> list[int]:
        return [upstream.inflight for upstream in self.upstreams]

    @property
    def idle(self) -> int:
        """Open upstream connections that no attempt holds."""
        return sum(
            transport.protocol.reader is None and not transport.is_closing()  # type: ignore[attr-defined]
            for transport in self.loop.transports
        )

    @property
    def dialled(self) -> list[str]:
        """The hosts dialled so far, in order."""
        return [dial.host for dial in self.loop.dials]

    def requests_counted(self, method: bytes, status: int) -> int:
        """How many exchanges the route has counted."""
        return self.route.side.counters.cells[METHOD_COLUMN.get(method, METHOD_OTHER) + CODE_COLUMN[status]]

    def local_counted(self, reason: str) -> int:
        """How many responses were made here for `reason`."""
        return self.page.row(0)[WORKER_LOCAL_RESPONSES + REASONS.index(reason)]

    def closes(self, number: int = 1) -> dict[str, int]:
        """Reason -> how many connections of the upstream were closed for it, without zeros."""
        cells = self.upstreams[number - 1].cells
        return {reason: n for i, reason in enumerate(CLOSE_REASONS) if (n := cells[UPSTREAM_CLOSES + i])}

    def retries(self) -> dict[str, int]:
        """Reason -> how many retries the pool has counted, without zeros."""
        cells = self.pool.cells
        return {reason: n for i, reason in enumerate(RETRY_REASONS) if (n := cells[POOL_RETRIES + i])}

    @property
    def waiting(self) -> int:
        """How many requests the pool shows as waiting for a slot."""
        return self.pool.cells[POOL_QUEUE_LENGTH]

    def rejected(self) -> dict[str, int]:
        """Reason -> how many requests got no slot, without zeros."""
        cells = self.pool.cells
        return {
            reason: n for i, reason in enumerate(QUEUE_REJECTIONS) if (n := cells[POOL_QUEUE_REJECTED + i])
        }

    def connects(self, number: int = 1) -> int:
        return self.upstreams[number - 1].cells[UPSTREAM_CONNECTS]

    def reuses(self, number: int = 1) -> int:
        self.proxy.sweep()  # it brings this one up to date
        return self.upstreams[number - 1].cells[UPSTREAM_REUSES]

    @property
    def tunnels(self) -> int:
        return self.pool.cells[POOL_TUNNELS]

    def logged(self) -> dict[str, Any]:
        """The newest line of the access log; a field that is not in it is None."""
        return dict(self.records.records[-1])

    # --- after each test

    def check_and_close(self) -> None:
        """All clients leave; then nothing may be counted, held or running."""
        assert self.expects_bug or self.logs == []
        for upstream in self.loop.transports:
            if upstream.protocol.reader is None and not upstream.is_closing():  # type: ignore[attr-defined]
                assert upstream.reading, "an idle upstream connection is not being read"
                assert not upstream.protocol.write_paused  # type: ignore[attr-defined]
        for client in self.clients:
            client.lose()
        self.settle()
        self.proxy.sweep()
        upstreams = [upstream for pool in self.pools for upstream in pool.upstreams]
        nothing = [0] * len(upstreams)
        assert [upstream.inflight for upstream in upstreams] == nothing
        assert [upstream.cells[UPSTREAM_INFLIGHT] for upstream in upstreams] == nothing
        assert [upstream.streaming for upstream in upstreams] == nothing
        assert [upstream.cells[UPSTREAM_STREAMING] for upstream in upstreams] == nothing
        for route in self.proxy.router.routes:
            assert route.side.counters.value(ROUTE_INFLIGHT) == 0
            assert route.side.counters.cells[ROUTE_INFLIGHT] == 0
            assert not route.is_bounded or all(side.share.held == 0 for side in route.sides)
        for pool in self.pools:
            assert pool.cells[POOL_TUNNELS] == 0
            assert pool.cells[POOL_QUEUE_LENGTH] == 0
            assert pool.queue is None or not pool.queue.waiting
        assert self.proxy.context.replay_memory.bytes == 0
        assert self.proxy.context.waiting_bodies.held == 0
        assert self.proxy.connections == 0
        assert self.page.row(1)[LISTENER_CONNECTIONS] == self.page.row(TLS_ROW)[LISTENER_CONNECTIONS] == 0
        assert not any(dial.pending for dial in self.loop.dials)
        still_open = sum(not transport.is_closing() for transport in self.loop.transports)
        assert still_open == self.idle == sum(upstream.cells[UPSTREAM_IDLE] for upstream in upstreams)
        transports = [*self.clients, *self.loop.transports]
        assert not any(transport.writes_after_loss for transport in transports)
        # Between a peer's FIN and connection_lost a write is discarded, which does no harm.
        assert self.in_any_order or not any(transport.late_writes for transport in transports)
        self.close()
        assert all(transport.is_closing() for transport in self.loop.transports)
        assert self.loop.armed_timers == 0


def head_of(data: bytes) -> list[bytes]:
    """The lines of the head that `data` begins with."""
    return data.partition(b"\r\n\r\n")[0].split(b"\r\n")


def body_of(data: bytes) -> bytes:
    """What follows the first head in `data`."""
    return data.partition(b"\r\n\r\n")[2]


def status_of(data: bytes) -> int:
    """The status of the response that `data` begins with."""
    assert data.startswith(b"HTTP/1.1 "), data
    return int(data[9:12])
