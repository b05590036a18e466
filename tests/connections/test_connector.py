"""Connector: dials are classified and bounded in time, and leave nothing behind when cancelled."""

import errno

import pytest

from balancer.connections.connector import Connector
from balancer.errors import CONNECT_FAILED, CONNECT_REFUSED, CONNECT_TIMEOUT, Failure
from balancer.spec.part import replaced
from balancer.spec.worker import KeepaliveSpec
from balancer.telemetry.columns import CELLS_PER_ROW, UPSTREAM_CONNECTS
from balancer.upstreams.upstream import Upstream
from tests.fakes.dialler import FakeDialler
from tests.fakes.loop import FakeClock, FakeLoop
from tests.fakes.specs import UPSTREAM_TLS

ADDRESS = ("10.0.0.1", 8000)
KEEPALIVE = KeepaliveSpec(max_idle=4, idle_timeout_ns=10**9, max_requests=0, max_lifetime_ns=0, learn=False)


class Bench:
    def __init__(self, timeout: float | None = 1.0, learn: bool = False) -> None:
        self.clock = FakeClock()
        self.loop = FakeLoop(self.clock)  # type: ignore[abstract]  # it has what is used, not all of asyncio
        cells = memoryview(bytearray(CELLS_PER_ROW * 8)).cast("q")
        self.upstream = Upstream("app:8000", *ADDRESS, 1, cells)
        self.said: list[tuple[str, str]] = []
        self.connector = Connector(self.loop, self.clock, 32768, 100, self.say)
        self.connector.add(self.upstream, replaced(KEEPALIVE, learn=learn), timeout, UPSTREAM_TLS)

    def say(self, upstream: str, text: str) -> None:
        self.said.append((upstream, text))

    def dial(self, answer: object | None = None) -> FakeDialler:
        self.loop.answers[ADDRESS] = answer
        dialler = FakeDialler(self.connector, self.upstream)
        self.loop.settle()
        return dialler

    @property
    def connects(self) -> int:
        return self.upstream.cells[UPSTREAM_CONNECTS]


def test_a_new_connection_is_returned() -> None:
    bench = Bench()
    connection = bench.dial().connection
    assert connection.upstream is bench.upstream
    assert connection.transport is bench.loop.transports[0]
    assert connection.reader is None
    assert not connection.closed
    assert connection.created_ns == bench.clock.monotonic_ns()
    assert bench.connects == 1


ERRORS: dict[str, tuple[Exception, Failure, str]] = {
    "refused": (ConnectionRefusedError(), CONNECT_REFUSED, "connection refused"),
    "no route": (OSError(errno.EHOSTUNREACH, "no route"), CONNECT_FAILED, "EHOSTUNREACH"),
    "no network": (OSError(errno.ENETUNREACH, "no network"), CONNECT_FAILED, "ENETUNREACH"),
    "no ports left": (OSError(errno.EADDRNOTAVAIL, "none"), CONNECT_FAILED, "EADDRNOTAVAIL"),
    "no descriptors left": (OSError(errno.EMFILE, "none"), CONNECT_FAILED, "EMFILE"),
    "the kernel's own timeout": (OSError(errno.ETIMEDOUT, "timed out"), CONNECT_TIMEOUT, "ETIMEDOUT"),
    "without a number": (OSError("odd"), CONNECT_FAILED, "OSError"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_are_classified(case: str) -> None:
    error, failure, detail = ERRORS[case]
    bench = Bench()
    found = bench.dial(error).failure
    assert found is not None
    assert found.failure is failure
    if failure is not CONNECT_TIMEOUT:
        assert found.detail == detail
    assert bench.connects == 0


def test_connect_timeout() -> None:
    bench = Bench(timeout=1.0)
    dialler = bench.dial(FakeLoop.HOLD)
    bench.clock.advance(0.99)
    bench.loop.settle()
    assert dialler.ends == 0
    bench.clock.advance(0.02)
    bench.loop.settle()
    assert dialler.failure is not None
    assert dialler.failure.failure is CONNECT_TIMEOUT
    assert dialler.ends == 1
    assert not bench.loop.dials[0].pending
    assert bench.loop.transports == []


def test_without_a_timeout_a_dial_waits_for_ever() -> None:
    bench = Bench(timeout=None)
    dialler = bench.dial(FakeLoop.HOLD)
    assert bench.loop.armed_timers == 0
    bench.clock.advance(1000)
    bench.loop.settle()
    assert dialler.ends == 0
    bench.loop.dials[0].accept()
    bench.loop.settle()
    assert dialler.connection


def test_cancelling_leaves_nothing() -> None:
    bench = Bench()
    dialler = bench.dial(FakeLoop.HOLD)
    dialler.cancel()
    bench.loop.settle()
    assert dialler.ends == 0
    assert not bench.loop.dials[0].pending
    assert bench.loop.transports == []
    assert bench.connects == 0


def test_many_dials_share_one_timer_which_ends_with_the_connector() -> None:
    bench = Bench()
    for answer in (None, FakeLoop.HOLD, ConnectionRefusedError()) * 10:
        bench.dial(answer)
    assert bench.loop.armed_timers == 1
    bench.connector.close()
    assert bench.loop.armed_timers == 0


@pytest.mark.parametrize("error", [None, ConnectionRefusedError()], ids=["connects", "refused"])
def test_a_dial_that_ends_at_once_and_is_cancelled_at_once_reports_nothing(error: Exception | None) -> None:
    bench = Bench()
    bench.loop.answers[ADDRESS] = error
    dialler = FakeDialler(bench.connector, bench.upstream)
    dialler.cancel()
    bench.loop.settle()
    assert dialler.ends == 0
    assert all(transport.is_closing() for transport in bench.loop.transports)


def test_a_dial_that_connected_before_it_was_cancelled_is_closed() -> None:
    bench = Bench()
    dialler = bench.dial(FakeLoop.HOLD)
    bench.loop.dials[0].accept()
    dialler.cancel()
    bench.loop.settle()
    assert dialler.ends == 0
    assert [transport.is_closing() for transport in bench.loop.transports] == [True]


def test_a_bug_of_ours_is_reported_once() -> None:
    bench = Bench()
    dialler = bench.dial(ZeroDivisionError())
    assert isinstance(dialler.error, ZeroDivisionError)
    assert dialler.ends == 1


def test_take_put_and_expire_use_the_upstreams_own_pool() -> None:
    bench = Bench()
    connection = bench.dial().connection
    connection._framing.reusable = True
    connection.owner.put(connection, 0)
    assert bench.connector.take(bench.upstream, 0, False) is connection
    connection.owner.put(connection, 0)
    bench.connector.expire(bench.upstream)
    assert connection.closed
    assert bench.connector.take(bench.upstream, 0, False) is None


def test_close_ends_all_idle_connections() -> None:
    bench = Bench()
    connections = [bench.dial().connection for _ in range(3)]
    for connection in connections:
        connection._framing.reusable = True
        connection.owner.put(connection, 0)
    bench.connector.close()
    assert all(connection.closed for connection in connections)


def test_the_sweep_reaches_every_pool() -> None:
    bench = Bench()
    connection = bench.dial().connection
    connection._framing.reusable = True
    connection.owner.put(connection, 0)
    bench.connector.sweep(2 * 10**9)
    assert connection.closed


def test_a_connection_has_the_generation_in_which_its_dial_began() -> None:
    bench = Bench()
    dialler = bench.dial(FakeLoop.HOLD)
    bench.connector.expire(bench.upstream)
    bench.loop.dials[0].accept()
    bench.loop.settle()
    connection = dialler.connection
    connection._framing.reusable = True
    connection.owner.put(connection, 0)
    assert connection.closed


def test_a_learned_idle_time_is_reported_once() -> None:
    bench = Bench(learn=True)
    for _ in range(4):
        connection = bench.dial().connection
        connection._framing.reusable = True
        connection.owner.put(connection, bench.clock.monotonic_ns())
        bench.clock.advance(0.5)
        bench.loop.transports[-1].receive_eof()
        bench.loop.settle()
        bench.clock.advance(1)
        bench.connector.sweep(bench.clock.monotonic_ns())
    assert bench.said == [
        (
            "app:8000",
            (
                "upstream app:8000 closes idle connections after 0.5 s: from now on they are reused "
                "for up to 0.4 s, and for up to 0.25 s by requests that cannot be sent again"
            ),
        )
    ]
