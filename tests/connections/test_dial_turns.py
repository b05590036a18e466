"""At most MOST_AT_ONCE dials of one upstream connect at the same time; the others wait for a turn, or for a
connection that becomes idle."""

from collections.abc import Callable

import pytest

from balancer.connections.connector import Connector
from balancer.connections.dial import MOST_AT_ONCE
from balancer.errors import CONNECT_FAILED, CONNECT_REFUSED, CONNECT_TIMEOUT
from balancer.telemetry.columns import CELLS_PER_ROW, CONNECT_FAILURE_REASONS, UPSTREAM_CONNECT_FAILURES
from balancer.upstreams.upstream import Upstream
from tests.connections.test_connector import ADDRESS, KEEPALIVE
from tests.fakes.dialler import FakeDialler
from tests.fakes.loop import FakeClock, FakeLoop
from tests.fakes.specs import UPSTREAM_TLS

TIMEOUT = 1.0


class Bench:
    """MOST_AT_ONCE dials connect, until the test decides."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.loop = FakeLoop(self.clock)  # type: ignore[abstract]  # it has what is used, not all of asyncio
        cells = memoryview(bytearray(CELLS_PER_ROW * 8)).cast("q")
        self.upstream = Upstream("app:8000", *ADDRESS, 1, cells)
        self.connector = Connector(self.loop, self.clock, 32768, 100, lambda *said: None)
        self.connector.add(self.upstream, KEEPALIVE, TIMEOUT, UPSTREAM_TLS)
        self.loop.answers[ADDRESS] = FakeLoop.HOLD
        self.first = [self.dial() for _ in range(MOST_AT_ONCE)]

    def dial(self, fresh: bool = False, careful: bool = False) -> FakeDialler:
        dialler = FakeDialler(self.connector, self.upstream, fresh, careful)
        self.loop.settle()
        return dialler

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.loop.settle()

    def accept(self, number: int) -> None:
        """The connect of this number succeeds."""
        self.loop.dials[number].accept()
        self.loop.settle()

    def connect(self, number: int = 0) -> FakeDialler:
        """One of the first dials connects."""
        self.accept(number)
        return self.first[number]

    def put(self, dialler: FakeDialler) -> None:
        """Its exchange is over."""
        connection = dialler.connection
        connection._framing.reusable = True
        connection.owner.put(connection, self.clock.monotonic_ns())
        self.loop.settle()

    @property
    def begun(self) -> int:
        """Connects begun beyond the first ones."""
        return len(self.loop.dials) - MOST_AT_ONCE

    @property
    def timeouts(self) -> int:
        return self.upstream.cells[UPSTREAM_CONNECT_FAILURES + CONNECT_FAILURE_REASONS.index("timeout")]


def _connects(bench: Bench) -> None:
    bench.connect()


def _is_refused(bench: Bench) -> None:
    bench.loop.dials[0].fail(ConnectionRefusedError())
    bench.loop.settle()


def _is_cancelled(bench: Bench) -> None:
    bench.first[0].cancel()
    bench.loop.settle()


def _crashes(bench: Bench) -> None:
    bench.loop.dials[0].fail(ZeroDivisionError())
    bench.loop.settle()


ENDS = {"connects": _connects, "refused": _is_refused, "cancelled": _is_cancelled, "a bug": _crashes}


@pytest.mark.parametrize("end", ENDS)
def test_when_one_ends_the_dial_that_has_waited_longest_begins(end: str) -> None:
    bench = Bench()
    waiting = [bench.dial() for _ in range(3)]
    assert bench.begun == 0
    ENDS[end](bench)
    assert bench.begun == 1
    bench.accept(MOST_AT_ONCE)
    assert [dialler.ends for dialler in waiting] == [1, 0, 0]
    assert not waiting[0].reused
    assert bench.begun == 2


def test_a_dial_that_ends_twice_frees_one_turn() -> None:
    bench = Bench()
    for _ in range(3):
        bench.dial()
    bench.connect().cancel()
    bench.loop.settle()
    assert bench.begun == 1


def test_a_waiting_dial_gets_the_connection_that_becomes_idle() -> None:
    bench = Bench()
    done = bench.connect()
    waiting = [bench.dial() for _ in range(2)]
    assert bench.begun == 1  # in the turn of the first
    bench.put(done)
    assert waiting[1].connection is done.connection
    assert waiting[1].reused
    assert (bench.begun, waiting[0].ends) == (1, 0)


def test_a_dial_that_must_be_fresh_goes_first_and_gets_no_other_connection() -> None:
    bench = Bench()
    done = bench.connect()
    bench.dial()
    either, fresh, other = bench.dial(), bench.dial(fresh=True), bench.dial(fresh=True)
    bench.connect(1)
    bench.accept(MOST_AT_ONCE + 1)
    assert [dialler.ends for dialler in (either, fresh, other)] == [0, 1, 0]
    assert not fresh.reused
    bench.put(done)
    assert [dialler.ends for dialler in (either, other)] == [1, 0]


def test_a_slow_dial_takes_a_connection_that_is_idle_or_becomes_so() -> None:
    bench = Bench()
    done = bench.connect()
    bench.put(done)
    now = bench.clock.monotonic_ns()
    assert bench.first[1]._dial.take_idle(now)
    assert bench.first[1].connection is done.connection
    assert bench.first[1].reused
    bench.loop.settle()
    assert not bench.loop.dials[1].pending
    assert not bench.first[2]._dial.take_idle(now)
    bench.put(bench.first[1])
    assert bench.first[2].connection is done.connection


def test_a_slow_dial_that_must_be_fresh_does_not() -> None:
    bench = Bench()
    done = bench.connect()
    fresh = bench.dial(fresh=True)
    assert not fresh._dial.take_idle(bench.clock.monotonic_ns())
    bench.put(done)
    assert fresh.ends == 0


def test_slow_dials_that_are_over_are_forgotten_even_if_no_connection_becomes_idle() -> None:
    bench = Bench()
    bench.connect()
    for _ in range(1000):
        slow = bench.dial()
        assert not slow._dial.take_idle(bench.clock.monotonic_ns())
        bench.accept(-1)
        assert slow.ends == 1
    assert len(bench.connector._dials[bench.upstream]._slow) <= 1


def test_dials_whose_clients_left_while_they_waited_are_forgotten() -> None:
    bench = Bench()
    for _ in range(1000):
        bench.dial().cancel()
        bench.dial(fresh=True).cancel()
    dials = bench.connector._dials[bench.upstream]
    assert max(len(dials._waiting), len(dials._fresh)) <= 1


def test_of_a_slow_and_a_waiting_dial_the_slow_one_is_served_first() -> None:
    bench = Bench()
    done = bench.connect()
    bench.dial()
    waiting = bench.dial()
    assert not bench.first[1]._dial.take_idle(bench.clock.monotonic_ns())
    bench.put(done)
    assert (bench.first[1].ends, waiting.ends) == (1, 0)
    assert bench.begun == 2  # the turn of the slow one is free
    bench.put(done)
    assert waiting.ends == 0


def test_a_cancelled_waiting_dial_has_no_turn() -> None:
    bench = Bench()
    left, stays = bench.dial(), bench.dial()
    left.cancel()
    done = bench.connect()
    bench.accept(MOST_AT_ONCE)
    assert (left.ends, stays.ends) == (0, 1)
    assert bench.begun == 1
    bench.put(done)
    assert left.ends == 0


def test_an_idle_connection_that_nobody_waits_for_stays_idle() -> None:
    bench = Bench()
    done = bench.connect()
    waiting = bench.dial(), bench.dial()
    waiting[1].cancel()
    bench.put(done)
    assert bench.connector.take(bench.upstream, bench.clock.monotonic_ns(), False) is done.connection


def test_if_the_upstream_is_dead_waiting_dials_time_out_with_the_first() -> None:
    bench = Bench()
    waiting = [bench.dial(fresh=fresh) for fresh in (False, True)]
    bench.advance(TIMEOUT - 0.01)
    assert not any(dialler.ends for dialler in (*bench.first, *waiting))
    bench.advance(0.02)
    for dialler in (*bench.first, *waiting):
        assert dialler.failure is not None
        assert dialler.failure.failure is CONNECT_TIMEOUT
    assert bench.timeouts == MOST_AT_ONCE + 2


def test_while_the_upstream_connects_waiting_dials_wait_on() -> None:
    bench = Bench()
    waiting = [bench.dial() for _ in range(2)]
    bench.advance(TIMEOUT / 2)
    bench.connect()
    bench.advance(TIMEOUT / 2)  # the others of the first time out, and both waiting ones have their turn
    assert [dialler.ends for dialler in waiting] == [0, 0]
    assert bench.begun == 2
    bench.advance(TIMEOUT / 2)  # the time of a connect counts from its own beginning
    assert waiting[1].ends == 0
    bench.advance(TIMEOUT / 2)
    assert waiting[1].failure is not None


def test_a_waiting_dial_goes_to_the_address_of_its_turn() -> None:
    bench = Bench()
    waiting = bench.dial()
    bench.upstream.set_host("10.0.0.9")
    bench.connector.expire(bench.upstream)
    bench.connect()
    assert bench.loop.dials[-1].host == "10.0.0.9"
    bench.put(waiting)
    assert not waiting.connection.closed


def test_an_address_that_was_withdrawn_meanwhile_is_a_failure() -> None:
    bench = Bench()
    waiting = bench.dial()
    bench.upstream.set_host("")
    bench.connect()
    assert waiting.failure is not None
    assert (waiting.failure.failure, waiting.failure.detail) == (CONNECT_FAILED, "no address")
    assert bench.begun == 0


def test_a_thousand_waiting_dials_are_refused_one_by_one_without_recursion() -> None:
    bench = Bench()
    waiting = [bench.dial() for _ in range(1200)]
    bench.loop.answers[ADDRESS] = ConnectionRefusedError()
    _is_refused(bench)
    found = [dialler.failure for dialler in waiting]
    assert {failure and failure.failure for failure in found} == {CONNECT_REFUSED}


@pytest.mark.parametrize("end", [_connects, _is_cancelled], ids=["connects", "cancelled"])
def test_the_turns_of_several_addresses_count_once(end: Callable[[Bench], None]) -> None:
    bench = Bench()
    bench.upstream.other_hosts = ("10.0.0.2",)
    bench.loop.answers["10.0.0.2", 8000] = FakeLoop.HOLD
    bench.connect(1)
    several = bench.dial()
    bench.advance(0.25)
    assert [dial.host for dial in bench.loop.dials[-2:]] == ["10.0.0.1", "10.0.0.2"]
    waiting = bench.dial()
    before = bench.begun
    several.cancel()
    bench.loop.settle()
    assert bench.begun == before + 1
    end(bench)
    assert (waiting.ends, bench.begun) == (0, before + 1)
