"""When a connection is read: not while it is held, and not for the rest of a turn in which it rests."""

import asyncio
from collections.abc import Callable
from itertools import permutations

import pytest

from balancer.connections.intake import LARGE_READ, LEAST_READ, MOST_READ, Intake, Turns
from balancer.connections.roles import Outlet
from tests.fakes.loop import FakeClock, FakeLoop
from tests.fakes.transport import FakeTransport, TransportOutlet


class Reader(asyncio.Protocol):
    """Records what it is told; has its `intake` as soon as it has a transport."""

    transport: asyncio.Transport

    def __init__(self, harness: "Harness") -> None:
        self.harness = harness
        self.read: list[int] = []
        self.told: list[str] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # asyncio's stub says BaseTransport

    def data_received(self, data: bytes) -> None:
        self.read.append(len(data))

    def go_on(self) -> None:
        self.harness.go_on()

    def outlet(self) -> Outlet | None:
        outlet = self.harness.outlet
        return None if outlet is None else TransportOutlet(outlet)

    def eof_received(self) -> bool:
        self.told.append("eof")
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.told.append("lost")

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")


class Harness:
    """An intake on a fake transport; `turns` counts how often it was told to go on."""

    def __init__(self, then: Callable[["Harness"], None] = lambda harness: None) -> None:
        self.clock = FakeClock()
        self.loop = FakeLoop(self.clock)  # type: ignore[abstract]  # it has what is used, not all of asyncio
        self.reader = Reader(self)
        self.transport = FakeTransport(self.loop, self.reader)
        self.outlet: FakeTransport | None = FakeTransport(self.loop, asyncio.Protocol())
        self.turns = 0
        self.then = then
        self.intake = Intake(self.reader, Turns(self.loop, self.clock))

    def go_on(self) -> None:
        self.turns += 1
        self.then(self)

    @property
    def reading(self) -> bool:
        return self.transport.reading


def test_a_rest_lasts_for_one_turn() -> None:
    harness = Harness()
    harness.intake.rest()
    assert (harness.reading, harness.turns) == (False, 0)
    harness.loop.settle()
    assert (harness.reading, harness.turns) == (True, 1)


def test_resting_twice_in_a_turn_is_resting_once() -> None:
    harness = Harness()
    harness.intake.rest()
    harness.intake.rest()
    harness.loop.settle()
    assert (harness.reading, harness.turns) == (True, 1)


def test_a_connection_that_resumes_may_rest_again() -> None:
    harness = Harness(lambda harness: harness.intake.rest() if harness.turns < 5 else None)
    harness.intake.rest()
    harness.loop.settle()
    assert (harness.reading, harness.turns) == (True, 5)


def test_a_connection_that_resumes_may_be_held() -> None:
    harness = Harness(lambda harness: harness.intake.hold())
    harness.intake.rest()
    harness.loop.settle()
    assert (harness.reading, harness.intake.held) == (False, True)
    harness.intake.resume()
    assert harness.reading


def test_a_held_connection_reads_nothing_and_then_continues_with_the_rest() -> None:
    harness = Harness()
    harness.intake.rest()
    harness.intake.hold()
    harness.loop.settle()
    assert (harness.reading, harness.turns) == (False, 0)
    harness.intake.resume()
    assert (harness.reading, harness.turns) == (False, 0), "what is left comes before what is to be read"
    harness.loop.settle()
    assert (harness.reading, harness.turns) == (True, 1)


@pytest.mark.parametrize("order", list(permutations(("hold", "resume", "rest"))), ids="-".join)
def test_reading_resumes_once_every_hold_and_rest_is_over_in_any_order(order: tuple[str, ...]) -> None:
    harness = Harness()
    for one in order:
        getattr(harness.intake, one)()
    harness.loop.settle()
    held = order.index("resume") < order.index("hold")
    assert harness.reading is not held
    harness.intake.resume()
    harness.loop.settle()
    assert harness.reading
    assert harness.turns == 1


@pytest.mark.parametrize("act", ["rest", "hold", "resume"])
def test_a_closed_connection_is_left_alone(act: str) -> None:
    harness = Harness()
    harness.intake.rest()
    harness.transport.abort()
    getattr(harness.intake, act)()
    harness.loop.settle()
    assert harness.turns == 0


@pytest.mark.parametrize(
    ("room", "read"),
    [(4 * MOST_READ, MOST_READ), (200_000, 175_000), (0, LEAST_READ), (None, LEAST_READ)],
    ids=["the outlet takes all", "the outlet takes a part", "the outlet takes nothing", "no outlet"],
)
def test_after_a_rest_reads_are_limited_to_what_is_written(room: int | None, read: int) -> None:
    harness = Harness()
    if room is None:
        harness.outlet = None
    else:
        assert harness.outlet is not None
        harness.outlet.socket.room = room
    harness.intake.rest()
    harness.loop.settle()
    harness.transport.receive(bytes(2 * read + 7))
    assert not harness.reading, "a read that was all that it might be is followed by a rest"
    harness.loop.settle()
    assert harness.reader.read == [read, read, 7]
    assert harness.reading


def test_after_a_rest_reads_are_limited_to_what_one_turn_can_handle() -> None:
    harness = Harness()
    harness.intake.rest(LARGE_READ)
    harness.intake.rest()
    harness.loop.settle()
    harness.transport.receive(bytes(2 * LARGE_READ))
    harness.loop.settle()
    assert harness.reader.read == [LARGE_READ, LARGE_READ]


def test_a_closed_outlet_accepts_nothing() -> None:
    harness = Harness()
    assert harness.outlet is not None
    harness.outlet.abort()
    harness.intake.rest()
    harness.loop.settle()
    harness.transport.receive(bytes(LARGE_READ))
    assert harness.reader.read == [LEAST_READ]


def test_the_next_message_is_read_at_full_speed() -> None:
    harness = Harness()
    harness.intake.rest()
    harness.loop.settle()
    harness.intake.relax()
    assert harness.reading
    harness.transport.receive(bytes(3 * LARGE_READ))
    assert harness.reader.read == [3 * LARGE_READ]


def test_the_whole_rest_of_a_paced_read_reaches_the_protocol() -> None:
    harness = Harness()
    harness.intake.rest()
    harness.loop.settle()
    harness.transport.pause_writing()
    harness.transport.resume_writing()
    harness.transport.receive_eof()
    harness.transport.lose()
    assert harness.reader.told == ["pause", "resume", "eof", "lost"]


@pytest.mark.parametrize("before", ["held", "resting"])
def test_a_message_that_ends_while_unread_does_not_resume_reading(before: str) -> None:
    harness = Harness()
    harness.intake.rest()
    if before == "held":
        harness.loop.settle()
        harness.intake.hold()
    harness.intake.relax()
    assert not harness.reading
    assert harness.intake.strained is (before == "held")
    harness.intake.resume()
    harness.loop.settle()
    assert harness.reading
    assert not harness.intake.strained


@pytest.mark.parametrize("act", ["rest", "hold"])
def test_a_held_or_paced_connection_is_strained(act: str) -> None:
    harness = Harness()
    assert not harness.intake.strained
    getattr(harness.intake, act)()
    harness.loop.settle()
    assert harness.intake.strained
    harness.intake.resume()
    harness.intake.relax()
    assert not harness.intake.strained


class Crowd:
    """Many readers that share turns; each `go_on` takes `cost` seconds."""

    def __init__(self, count: int, cost: float) -> None:
        self.clock = FakeClock()
        self.loop = FakeLoop(self.clock)  # type: ignore[abstract]  # it has what is used, not all of asyncio
        self.turns = Turns(self.loop, self.clock)
        self.went_on: list[int] = []
        self.harnesses = [
            Harness(lambda harness, number=number: self.cost(number, cost))  # type: ignore[misc]
            for number in range(count)
        ]
        self.intakes = [Intake(harness.reader, self.turns) for harness in self.harnesses]

    def cost(self, number: int, seconds: float) -> None:
        self.went_on.append(number)
        self.clock.advance(seconds)


@pytest.mark.parametrize(
    ("cost", "at_once"),
    [(0.0, 8), (0.0001, 5), (1.0, 1)],
    ids=["some, however cheap", "as many as there is time for", "one, however dear"],
)
def test_of_many_resting_connections_only_some_resume_in_a_turn(cost: float, at_once: int) -> None:
    crowd = Crowd(20, cost)
    for intake in crowd.intakes:
        intake.rest()
    seen: list[int] = []
    crowd.loop.call_soon(lambda: seen.append(len(crowd.went_on)))
    crowd.loop.settle()
    assert seen == [at_once]
    assert crowd.went_on == list(range(20)), "those that began to rest first come first"
    assert all(harness.reading for harness in crowd.harnesses)


def test_reads_shrink_for_all_if_the_kernel_takes_less_than_expected() -> None:
    harness, other = Harness(), Harness()
    other.intake = Intake(other.reader, harness.intake.turns)
    for one in (harness, other):
        one.intake.rest()
    harness.loop.settle()
    assert harness.outlet is not None
    harness.outlet.buffered = 1 << 20
    harness.transport.receive(bytes(3 * MOST_READ))
    harness.loop.settle()
    assert harness.reader.read[:3] == [MOST_READ, MOST_READ // 2, MOST_READ // 4]
    assert set(harness.reader.read[5:-1]) == {LEAST_READ}
    other.loop.settle()
    other.transport.receive(bytes(2 * MOST_READ))
    for _ in range(20):
        harness.loop.settle()
        other.loop.settle()
    assert other.reader.read[0] == LEAST_READ
    assert other.reader.read[:-1] == sorted(other.reader.read[:-1]), "and more again, as it is taken"
    assert max(other.reader.read) > 2 * LEAST_READ
