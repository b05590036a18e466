"""KeepalivePool: a stack of idle connections, capped, swept, and expired by generation."""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

import asyncio
from collections.abc import Callable
from typing import cast

import pytest

from balancer.connections.intake import Turns
from balancer.connections.keepalive import CLOSE_COLUMN, KeepalivePool
from balancer.connections.upstream_connection import UpstreamConnection
from balancer.http.head_memory import ResponseHeads
from balancer.http.response_head import ResponseHead
from balancer.spec.worker import KeepaliveSpec
from balancer.telemetry.columns import CELLS_PER_ROW, UPSTREAM_IDLE, UPSTREAM_REUSES
from balancer.upstreams.upstream import Upstream
from tests.fakes.loop import FakeClock, FakeLoop
from tests.fakes.reader import UntoldReader
from tests.fakes.requests import send_request
from tests.fakes.transport import FakeTransport

SECOND = 1_000_000_000
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Reader(UntoldReader):
    """An attempt that only waits for the end of its response."""

    def __init__(self, pool: KeepalivePool, connection: UpstreamConnection, now: int) -> None:
        self.pool = pool
        self.connection = connection
        self.now = now

    def upstream_paused(self, paused: bool) -> None:
        """Nothing to do: nothing is being relayed."""

    def response(self, head: ResponseHead, body: bytes, last: bool) -> None:
        self.pool.put(self.connection, self.now)


class Bench:
    """A pool, and connections in any state."""

    def __init__(self, learn: bool = False, **settings: int) -> None:
        self.clock = FakeClock()
        self.loop = FakeLoop(self.clock)  # type: ignore[abstract]  # it has what is used, not all of asyncio
        cells = memoryview(bytearray(CELLS_PER_ROW * 8)).cast("q")
        self.upstream = Upstream("app:8000", "10.0.0.1", 8000, 1, cells)
        defaults = {"max_idle": 64, "idle_timeout_ns": 4 * SECOND, "max_requests": 0, "max_lifetime_ns": 0}
        chosen = KeepaliveSpec(learn=learn, **{**defaults, **settings})
        self.pool = KeepalivePool(self.upstream, chosen, self.clock)
        self.transports: list[FakeTransport] = []

    def busy(self, created: int = 0, now: int = 0) -> UpstreamConnection:
        """A new connection that serves its first request."""
        connection = UpstreamConnection(
            self.upstream, self.pool, Turns(self.loop, self.clock), ResponseHeads(100), 32768, created
        )
        connection.generation = self.pool.generation
        self.transports.append(FakeTransport(self.loop, cast(asyncio.Protocol, connection)))
        self.use(connection, now)
        return connection

    def use(self, connection: UpstreamConnection, now: int) -> None:
        send_request(connection, Reader(self.pool, connection, now))

    def done(self, connection: UpstreamConnection) -> None:
        """Its response arrives; it is put back."""
        connection.data_received(OK)

    def idle(self, now: int = 0, created: int = 0) -> UpstreamConnection:
        connection = self.busy(created, now)
        self.done(connection)
        return connection

    def closes(self) -> dict[str, int]:
        cells = self.upstream.cells
        return {reason: cells[column] for reason, column in CLOSE_COLUMN.items() if cells[column]}

    def settle(self) -> None:
        self.loop.settle()


def test_the_last_connection_put_is_the_first_taken() -> None:
    bench = Bench()
    a, b, c = (bench.idle() for _ in range(3))
    assert [bench.pool.take(0, False) for _ in range(4)] == [c, b, a, None]


def test_a_taken_connection_goes_back_on_top() -> None:
    bench = Bench()
    a, b = bench.idle(), bench.idle()
    assert bench.pool.take(0, False) is b
    bench.use(b, 0)
    bench.done(b)
    assert bench.pool.take(0, False) is b
    assert bench.pool.take(0, False) is a


def test_the_cap_counts_idle_connections_only() -> None:
    """With active connections present: they are not in the pool."""
    bench = Bench(max_idle=2)
    active = [bench.busy() for _ in range(5)]
    bench.done(active[0])
    bench.done(active[1])
    assert len(bench.pool) == 2
    assert bench.closes() == {}
    bench.done(active[2])
    assert len(bench.pool) == 2
    assert bench.closes() == {"max_idle": 1}
    assert active[2].closed
    taken = bench.pool.take(0, False)
    assert taken is active[1]
    bench.done(active[3])
    assert len(bench.pool) == 2
    assert not active[3].closed


def test_a_cap_of_zero_keeps_none() -> None:
    bench = Bench(max_idle=0)
    assert bench.idle().closed
    assert bench.pool.take(0, False) is None


@pytest.mark.parametrize(("waited", "kept"), [(4 * SECOND, True), (4 * SECOND + 1, False)])
@pytest.mark.parametrize("swept", [False, True])
def test_idle_timeout_ends_a_connection(waited: int, kept: bool, swept: bool) -> None:
    bench = Bench()
    connection = bench.idle(now=7)
    if swept:
        bench.pool.sweep(7 + waited)
        assert len(bench.pool) == kept
    assert bench.pool.take(7 + waited, False) is (connection if kept else None)
    assert bench.closes() == ({} if kept else {"idle_timeout": 1})
    assert len(bench.pool) == 0


def test_the_sweep_closes_old_connections_at_the_bottom() -> None:
    bench = Bench()
    connections = [bench.idle(now=second * SECOND) for second in range(6)]
    bench.pool.sweep(7 * SECOND)
    assert [one.closed for one in connections] == [True, True, True, False, False, False]
    assert bench.closes() == {"idle_timeout": 3}
    assert bench.pool.take(7 * SECOND, False) is connections[5]


@pytest.mark.parametrize("limit", [1, 3])
def test_max_requests_ends_a_connection(limit: int) -> None:
    bench = Bench(max_requests=limit)
    connection = bench.busy()
    for _ in range(limit - 1):
        bench.done(connection)
        assert bench.pool.take(0, False) is connection
        bench.use(connection, 0)
    bench.done(connection)
    assert connection.closed
    assert bench.closes() == {"max_requests": 1}


def test_max_lifetime_ends_a_connection_when_it_returns() -> None:
    bench = Bench(max_lifetime_ns=10 * SECOND)
    young, old = bench.busy(created=1, now=10 * SECOND), bench.busy(created=0, now=10 * SECOND)
    bench.done(young)
    bench.done(old)
    assert not young.closed
    assert old.closed
    assert bench.closes() == {"max_lifetime": 1}


def test_max_lifetime_ends_idle_connections_at_any_depth() -> None:
    bench = Bench(max_lifetime_ns=10 * SECOND)
    young = bench.idle(now=8 * SECOND, created=5 * SECOND)
    old = bench.idle(now=9 * SECOND, created=0)
    bench.pool.sweep(10 * SECOND)
    assert (young.closed, old.closed) == (False, True)
    assert len(bench.pool) == 1


def test_expire_all_ends_idle_connections_now_and_busy_ones_when_they_return() -> None:
    bench = Bench()
    idle, busy = bench.idle(), bench.busy()
    bench.pool.expire_all()
    assert idle.closed
    assert not busy.closed
    assert len(bench.pool) == 0
    fresh = bench.busy()
    bench.done(busy)
    bench.done(fresh)
    assert busy.closed
    assert bench.pool.take(0, False) is fresh
    assert bench.closes() == {"expired": 2}


ENDS: dict[str, tuple[Callable[[FakeTransport], None], str]] = {
    "data": (lambda transport: transport.receive(OK), "unexpected_data"),
    "one byte": (lambda transport: transport.receive(b"\n"), "unexpected_data"),
    "FIN": (lambda transport: transport.receive_eof(), "upstream_closed"),
    "reset": (lambda transport: transport.lose(ConnectionResetError()), "upstream_closed"),
}


@pytest.mark.parametrize("case", ENDS)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_idle_connection_that_receives_anything_is_discarded(case: str, place: int) -> None:
    end, reason = ENDS[case]
    bench = Bench()
    connections = [bench.idle() for _ in range(3)]
    end(bench.transports[place])
    bench.settle()
    assert connections[place].closed
    assert bench.transports[place].is_closing()
    assert bench.closes() == {reason: 1}
    left = [one for one in connections if one is not connections[place]]
    assert [bench.pool.take(0, False), bench.pool.take(0, False), bench.pool.take(0, False)] == [
        left[1],
        left[0],
        None,
    ]


def test_discarding_a_busy_connection_counts_nothing() -> None:
    bench = Bench()
    connection = bench.busy()
    connection.release()
    bench.pool.discard(connection, "upstream_closed")
    bench.pool.discard(connection, "upstream_closed")
    assert bench.closes() == {}
    assert connection.closed


def test_a_connection_whose_transport_closes_is_not_taken() -> None:
    bench = Bench()
    below, top = bench.idle(), bench.idle()
    bench.transports[1].closed = True  # connection_lost is still to come
    assert bench.pool.take(0, False) is below
    assert top.closed
    assert bench.closes() == {"upstream_closed": 1}


def test_a_connection_that_must_not_be_reused_is_closed() -> None:
    bench = Bench()
    connection = bench.busy()
    connection.data_received(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    assert connection.closed
    assert bench.closes() == {"not_reusable": 1}


def test_a_connection_that_cannot_write_is_closed() -> None:
    """The last request has not been sent yet, so the next could not be either."""
    bench = Bench()
    connection = bench.busy()
    connection.pause_writing()
    bench.done(connection)
    assert connection.closed
    assert bench.closes() == {"not_reusable": 1}


def test_counters_are_kept() -> None:
    bench = Bench()
    bench.idle(), bench.idle()
    bench.pool.take(0, False)
    bench.pool.sweep(0)
    assert bench.upstream.cells[UPSTREAM_IDLE] == 1
    assert bench.upstream.cells[UPSTREAM_REUSES] == 1


class Learned(Bench):
    """The upstream closes connections idle for 500 ms, which has been learned: 400 ms usable, 250 ms for
    sure."""

    def __init__(self, **settings: int) -> None:
        super().__init__(learn=True, **settings)
        for _ in range(2):
            self.closes_after(500)
            self.wait(1000)
        assert self.pool.learned_ns == 500 * MS

    @property
    def now(self) -> int:
        return self.clock.monotonic_ns()

    def wait(self, milliseconds: int) -> bool:
        self.clock.advance(milliseconds / 1000)
        return self.pool.sweep(self.now)

    def closes_after(self, milliseconds: int) -> None:
        """A connection is idle for this long, and then closed by the upstream."""
        self.idle(now=self.now)
        self.clock.advance(milliseconds / 1000)
        self.transports[-1].receive_eof()
        self.settle()
        self.pool.sweep(self.now)


MS = 1_000_000
AGES = [
    pytest.param(0, True, True, id="just put"),
    pytest.param(250, True, True, id="well below"),
    pytest.param(251, True, False, id="below"),
    pytest.param(400, True, False, id="just below"),
    pytest.param(401, False, False, id="near it"),
]


@pytest.mark.parametrize(("waited", "taken", "taken_with_care"), AGES)
@pytest.mark.parametrize("careful", [False, True])
def test_a_learned_time_bounds_the_age_of_taken_connections(
    waited: int, taken: bool, taken_with_care: bool, careful: bool
) -> None:
    bench = Learned()
    connection = bench.idle(now=bench.now)
    bench.clock.advance(waited / 1000)
    expected = taken_with_care if careful else taken
    assert bench.pool.take(bench.now, careful) is (connection if expected else None)
    assert not connection.closed


def test_the_sweep_closes_connections_near_the_learned_time_except_a_witness() -> None:
    bench = Learned()
    witness, old, young = (bench.idle(now=bench.now + age * MS) for age in (0, 1, 300))
    bench.wait(450)
    assert [one.closed for one in (witness, old, young)] == [False, True, False]
    assert bench.pool.take(bench.now, False) is young
    assert bench.pool.take(bench.now, False) is None
    assert bench.closes() == {"upstream_closed": 2, "idle_timeout": 1}


def test_a_witness_that_outlives_the_time_refutes_it() -> None:
    bench = Learned()
    witness = bench.idle(now=bench.now)
    bench.wait(850)
    assert bench.pool.take(bench.now, False) is None
    assert not bench.wait(1)
    assert bench.pool.learned_ns == 0
    assert bench.pool.take(bench.now, True) is witness


def test_a_witness_does_not_count_towards_the_cap() -> None:
    bench = Learned(max_idle=1)
    witness = bench.idle(now=bench.now)
    bench.wait(450)
    fresh = bench.idle(now=bench.now)
    assert witness.closed
    assert bench.pool.take(bench.now, True) is fresh


def test_the_setting_bounds_a_learned_time() -> None:
    bench = Learned(idle_timeout_ns=600 * MS)
    assert (bench.pool.usable_ns, bench.pool.careful_ns) == (400 * MS, 250 * MS)
    connection = bench.idle(now=bench.now)
    bench.wait(601)
    assert connection.closed


def test_a_connection_found_closing_when_taken_teaches_too() -> None:
    bench = Bench(learn=True)
    for second in (10, 20):
        bench.idle(now=second * SECOND)
        bench.transports[-1].closed = True  # connection_lost is still to come
        assert bench.pool.take(second * SECOND + 500 * MS, False) is None
        bench.pool.sweep((second + 1) * SECOND)
    assert bench.pool.learned_ns == 500 * MS


def test_without_learning_nothing_changes() -> None:
    bench = Bench()
    for second in (10, 20, 30):
        bench.idle(now=second * SECOND)
        bench.clock.advance(second + 0.5 - bench.clock.monotonic_ns() / SECOND)
        bench.transports[-1].receive_eof()
        bench.settle()
        assert not bench.pool.sweep((second + 1) * SECOND)
    assert bench.pool.learned_ns == 0
    assert bench.pool.usable_ns == bench.pool.careful_ns == 4 * SECOND
