"""A name with several addresses: a dead one costs a request nothing, and the supervisor is told."""

import pytest

from balancer.connections.connector import Connector
from balancer.connections.several import STAGGER
from balancer.telemetry.columns import CELLS_PER_ROW, UPSTREAM_CONNECTS
from balancer.upstreams.upstream import Upstream
from tests.connections.test_connector import KEEPALIVE
from tests.fakes.dialler import FakeDialler
from tests.fakes.loop import FakeClock, FakeLoop
from tests.fakes.specs import UPSTREAM_TLS

A, B, C = "10.0.0.1", "10.0.0.2", "10.0.0.3"
HOLD = FakeLoop.HOLD


class Bench:
    """`app:8000` at A; its name also has B and C."""

    def __init__(self, **answers: object) -> None:
        self.clock = FakeClock()
        self.loop = FakeLoop(self.clock)  # type: ignore[abstract]  # it has what is used, not all of asyncio
        cells = memoryview(bytearray(CELLS_PER_ROW * 8)).cast("q")
        self.upstream = Upstream("app:8000", A, 8000, 1, cells)
        self.upstream.other_hosts = (B, C)
        self.moves: list[tuple[str, str]] = []
        self.connector = Connector(
            self.loop,
            self.clock,
            32768,
            100,
            lambda *said: None,
            lambda _, *move: self.moves.append(move),
        )
        self.connector.add(self.upstream, KEEPALIVE, 1.0, UPSTREAM_TLS)
        for name, host in (("a", A), ("b", B), ("c", C)):
            self.loop.answers[host, 8000] = answers.get(name)

    def dial(self) -> FakeDialler:
        dialler = FakeDialler(self.connector, self.upstream)
        self.loop.settle()
        return dialler

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.loop.settle()

    @property
    def dialled(self) -> list[str]:
        return [dial.host for dial in self.loop.dials]

    @property
    def open(self) -> int:
        return sum(not transport.is_closing() for transport in self.loop.transports)


def refused() -> Exception:
    return ConnectionRefusedError()


def test_while_its_own_address_answers_no_other_is_dialled() -> None:
    bench = Bench()
    assert bench.dial().connection
    assert (bench.dialled, bench.moves) == ([A], [])


def test_after_a_refusal_the_next_address_is_dialled_at_once() -> None:
    bench = Bench(a=refused(), b=refused())
    connection = bench.dial().connection
    assert connection.transport is bench.loop.transports[0]
    assert (bench.dialled, bench.moves) == ([A, B, C], [(C, "connection refused")])
    assert bench.upstream.cells[UPSTREAM_CONNECTS] == 1
    bench.advance(2.0)
    assert len(bench.dialled) == 3


def test_a_swallowed_dial_is_joined_by_one_to_the_next_address() -> None:
    bench = Bench(a=HOLD)
    dialler = bench.dial()
    bench.advance(STAGGER)
    assert dialler.connection.transport is bench.loop.transports[0]
    assert (bench.dialled, bench.moves) == ([A, B], []), "it may only be slow"
    assert not any(dial.pending for dial in bench.loop.dials), "no dial outlives the attempt"


def test_an_address_that_swallows_for_a_second_counts_as_dead() -> None:
    bench = Bench(a=HOLD)
    for _ in range(4):
        bench.dial()
        bench.advance(STAGGER)
    assert bench.moves == []
    bench.dial()
    bench.advance(STAGGER)
    assert bench.moves == [(B, "no connection within 250 ms, repeatedly")]


def test_an_address_that_is_slow_now_and_then_is_kept() -> None:
    bench = Bench()
    for _ in range(20):
        bench.loop.answers[A, 8000] = HOLD
        bench.dial()
        bench.advance(STAGGER)
        bench.loop.answers[A, 8000] = None
        bench.dial()
        bench.advance(STAGGER)
    assert bench.moves == []


def test_if_no_address_connects_the_failure_of_its_own_is_reported() -> None:
    bench = Bench(a=refused(), b=OSError("no route"), c=refused())
    failure = bench.dial().failure
    assert failure is not None
    assert failure.detail == "connection refused"
    assert (bench.dialled, bench.moves) == ([A, B, C], [])


def test_a_move_is_reported_once_a_second_and_not_for_a_former_address() -> None:
    bench = Bench(a=refused())
    for _ in range(3):
        assert bench.dial().connection
    assert bench.moves == [(B, "connection refused")]
    bench.advance(1.0)
    assert bench.dial().connection
    assert len(bench.moves) == 2
    bench.advance(1.0)
    bench.loop.answers[A, 8000] = HOLD
    dialler = bench.dial()
    bench.upstream.set_host(B)  # meanwhile the supervisor has moved it
    bench.advance(STAGGER)
    assert dialler.connection
    assert len(bench.moves) == 2


def test_a_shortage_on_this_machine_is_no_reason_to_move() -> None:
    bench = Bench(a=OSError(24, "Too many open files"))
    assert bench.dial().connection
    assert bench.moves == []


@pytest.mark.parametrize("connects", [False, True], ids=["in mid-dial", "just connected"])
def test_cancelling_leaves_no_connection(connects: bool) -> None:
    bench = Bench(a=HOLD, b=HOLD, c=HOLD)
    dialler = bench.dial()
    bench.advance(STAGGER)
    assert bench.dialled == [A, B]
    if connects:
        bench.loop.dials[1].accept()
    dialler.cancel()
    bench.loop.settle()
    bench.advance(2.0)
    assert dialler.ends == 0
    assert (bench.open, bench.moves, bench.loop.armed_timers) == (0, [], 0)
    assert not any(dial.pending for dial in bench.loop.dials)


def test_of_two_dials_that_connect_at_once_one_is_used() -> None:
    bench = Bench(a=HOLD, b=HOLD)
    dialler = bench.dial()
    bench.advance(STAGGER)
    for dial in bench.loop.dials:
        dial.accept()
    bench.loop.settle()
    assert dialler.connection.transport is bench.loop.transports[0]
    assert (bench.open, bench.moves) == (1, [])
