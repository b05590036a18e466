"""When a connection is read: not while it is held, nor for the rest of a turn in which it has had enough."""

import asyncio
from collections.abc import Callable
from itertools import permutations

import pytest

from balancer.connections.intake import LARGE_READ, LEAST_READ, MOST_READ, Intake, Turns
from balancer.connections.roles import Outlet
from tests.fakes.loop import FakeClock, FakeLoop
from tests.fakes.transport import FakeTransport, TransportOutlet


class Reader(asyncio.Protocol):
    """Notes what it is told; its `intake` as soon as it has a transport."""

    transport: asyncio.Transport

    def __init__(self, scene: "Scene") -> None:
        self.scene = scene
        self.read: list[int] = []
        self.told: list[str] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # asyncio's stub says BaseTransport

    def data_received(self, data: bytes) -> None:
        self.read.append(len(data))

    def go_on(self) -> None:
        self.scene.go_on()

    def outlet(self) -> Outlet | None:
        outlet = self.scene.outlet
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


class Scene:
    """An intake on a fake transport; `turns` counts how often it was to go on."""

    def __init__(self, then: Callable[["Scene"], None] = lambda scene: None) -> None:
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
    scene = Scene()
    scene.intake.rest()
    assert (scene.reading, scene.turns) == (False, 0)
    scene.loop.settle()
    assert (scene.reading, scene.turns) == (True, 1)


def test_to_rest_twice_in_a_turn_is_to_rest_once() -> None:
    scene = Scene()
    scene.intake.rest()
    scene.intake.rest()
    scene.loop.settle()
    assert (scene.reading, scene.turns) == (True, 1)


def test_what_goes_on_may_rest_again() -> None:
    scene = Scene(lambda scene: scene.intake.rest() if scene.turns < 5 else None)
    scene.intake.rest()
    scene.loop.settle()
    assert (scene.reading, scene.turns) == (True, 5)


def test_what_goes_on_may_be_held() -> None:
    scene = Scene(lambda scene: scene.intake.hold())
    scene.intake.rest()
    scene.loop.settle()
    assert (scene.reading, scene.intake.held) == (False, True)
    scene.intake.resume()
    assert scene.reading


def test_while_it_is_held_nothing_goes_on_and_afterwards_first_what_was_left() -> None:
    scene = Scene()
    scene.intake.rest()
    scene.intake.hold()
    scene.loop.settle()
    assert (scene.reading, scene.turns) == (False, 0)
    scene.intake.resume()
    assert (scene.reading, scene.turns) == (False, 0), "what is left comes before what is to be read"
    scene.loop.settle()
    assert (scene.reading, scene.turns) == (True, 1)


@pytest.mark.parametrize("order", list(permutations(("hold", "resume", "rest"))), ids="-".join)
def test_in_any_order_it_is_read_once_nothing_speaks_against_it(order: tuple[str, ...]) -> None:
    scene = Scene()
    for one in order:
        getattr(scene.intake, one)()
    scene.loop.settle()
    held = order.index("resume") < order.index("hold")
    assert scene.reading is not held
    scene.intake.resume()
    scene.loop.settle()
    assert scene.reading
    assert scene.turns == 1


@pytest.mark.parametrize("act", ["rest", "hold", "resume"])
def test_a_closed_connection_is_left_alone(act: str) -> None:
    scene = Scene()
    scene.intake.rest()
    scene.transport.abort()
    getattr(scene.intake, act)()
    scene.loop.settle()
    assert scene.turns == 0


@pytest.mark.parametrize(
    ("room", "read"),
    [(4 * MOST_READ, MOST_READ), (200_000, 175_000), (0, LEAST_READ), (None, LEAST_READ)],
    ids=["all", "what the outlet takes", "the outlet takes nothing", "no outlet"],
)
def test_after_a_rest_no_more_is_read_at_once_than_goes_out(room: int | None, read: int) -> None:
    scene = Scene()
    if room is None:
        scene.outlet = None
    else:
        assert scene.outlet is not None
        scene.outlet.socket.room = room
    scene.intake.rest()
    scene.loop.settle()
    scene.transport.receive(bytes(2 * read + 7))
    assert not scene.reading, "a read that was all that it might be is followed by a rest"
    scene.loop.settle()
    assert scene.reader.read == [read, read, 7]
    assert scene.reading


def test_nor_more_than_what_was_too_much_for_one_turn() -> None:
    scene = Scene()
    scene.intake.rest(LARGE_READ)
    scene.intake.rest()
    scene.loop.settle()
    scene.transport.receive(bytes(2 * LARGE_READ))
    scene.loop.settle()
    assert scene.reader.read == [LARGE_READ, LARGE_READ]


def test_an_outlet_that_has_closed_takes_nothing() -> None:
    scene = Scene()
    assert scene.outlet is not None
    scene.outlet.abort()
    scene.intake.rest()
    scene.loop.settle()
    scene.transport.receive(bytes(LARGE_READ))
    assert scene.reader.read == [LEAST_READ]


def test_the_next_message_is_read_as_before() -> None:
    scene = Scene()
    scene.intake.rest()
    scene.loop.settle()
    scene.intake.relax()
    assert scene.reading
    scene.transport.receive(bytes(3 * LARGE_READ))
    assert scene.reader.read == [3 * LARGE_READ]


def test_read_at_anothers_pace_its_protocol_is_told_of_all_the_rest() -> None:
    scene = Scene()
    scene.intake.rest()
    scene.loop.settle()
    scene.transport.pause_writing()
    scene.transport.resume_writing()
    scene.transport.receive_eof()
    scene.transport.lose()
    assert scene.reader.told == ["pause", "resume", "eof", "lost"]


@pytest.mark.parametrize("before", ["held", "resting"])
def test_a_message_that_ends_while_it_is_not_read_does_not_make_it_read(before: str) -> None:
    scene = Scene()
    scene.intake.rest()
    if before == "held":
        scene.loop.settle()
        scene.intake.hold()
    scene.intake.relax()
    assert not scene.reading
    assert scene.intake.strained is (before == "held")
    scene.intake.resume()
    scene.loop.settle()
    assert scene.reading
    assert not scene.intake.strained


@pytest.mark.parametrize("act", ["rest", "hold"])
def test_what_is_held_or_read_at_anothers_pace_is_strained(act: str) -> None:
    scene = Scene()
    assert not scene.intake.strained
    getattr(scene.intake, act)()
    scene.loop.settle()
    assert scene.intake.strained
    scene.intake.resume()
    scene.intake.relax()
    assert not scene.intake.strained


class Crowd:
    """Many readers that share their turns; each `go_on` takes `cost` seconds."""

    def __init__(self, count: int, cost: float) -> None:
        self.clock = FakeClock()
        self.loop = FakeLoop(self.clock)  # type: ignore[abstract]  # it has what is used, not all of asyncio
        self.turns = Turns(self.loop, self.clock)
        self.went_on: list[int] = []
        self.scenes = [Scene(lambda scene, number=number: self.cost(number, cost)) for number in range(count)]  # type: ignore[misc]
        self.intakes = [Intake(scene.reader, self.turns) for scene in self.scenes]

    def cost(self, number: int, seconds: float) -> None:
        self.went_on.append(number)
        self.clock.advance(seconds)


@pytest.mark.parametrize(
    ("cost", "at_once"),
    [(0.0, 8), (0.0001, 5), (1.0, 1)],
    ids=["some, however cheap", "as many as there is time for", "one, however dear"],
)
def test_of_many_that_rest_only_some_go_on_in_a_turn(cost: float, at_once: int) -> None:
    crowd = Crowd(20, cost)
    for intake in crowd.intakes:
        intake.rest()
    seen: list[int] = []
    crowd.loop.call_soon(lambda: seen.append(len(crowd.went_on)))
    crowd.loop.settle()
    assert seen == [at_once]
    assert crowd.went_on == list(range(20)), "those that began to rest first come first"
    assert all(scene.reading for scene in crowd.scenes)


def test_where_the_kernel_takes_less_than_it_has_room_for_less_is_read_of_all() -> None:
    scene, other = Scene(), Scene()
    other.intake = Intake(other.reader, scene.intake.turns)
    for one in (scene, other):
        one.intake.rest()
    scene.loop.settle()
    assert scene.outlet is not None
    scene.outlet.buffered = 1 << 20
    scene.transport.receive(bytes(3 * MOST_READ))
    scene.loop.settle()
    assert scene.reader.read[:3] == [MOST_READ, MOST_READ // 2, MOST_READ // 4]
    assert set(scene.reader.read[5:-1]) == {LEAST_READ}
    other.loop.settle()
    other.transport.receive(bytes(2 * MOST_READ))
    for _ in range(20):
        scene.loop.settle()
        other.loop.settle()
    assert other.reader.read[0] == LEAST_READ
    assert other.reader.read[:-1] == sorted(other.reader.read[:-1]), "and more again, as it is taken"
    assert max(other.reader.read) > 2 * LEAST_READ
