"""When a connection is read: not while it is held, nor for the rest of a turn in which it has had enough."""

import asyncio
from collections.abc import Callable
from itertools import permutations

import pytest

from balancer.connections.intake import LARGE_READ, Intake
from tests.fakes.loop import FakeClock, FakeLoop
from tests.fakes.transport import FakeTransport


class Reader(asyncio.Protocol):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.read: list[int] = []
        self.told: list[str] = []

    def data_received(self, data: bytes) -> None:
        self.read.append(len(data))

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
        self.loop = FakeLoop(FakeClock())  # type: ignore[abstract]  # it has what is used, not all of asyncio
        self.reader = Reader()
        self.transport = FakeTransport(self.loop, self.reader)
        self.turns = 0
        self.then = then
        self.intake = Intake(self.transport, self.loop, self.go_on)

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


def test_after_a_rest_it_is_read_in_small_pieces_until_the_message_has_ended() -> None:
    scene = Scene()
    scene.transport.receive(bytes(3 * LARGE_READ))
    scene.intake.rest()
    scene.loop.settle()
    scene.transport.receive(bytes(2 * LARGE_READ + 7))
    assert scene.reader.read == [3 * LARGE_READ, LARGE_READ, LARGE_READ, 7]
    scene.intake.relax()
    assert scene.reading
    scene.transport.receive(bytes(3 * LARGE_READ))
    assert scene.reader.read[-1] == 3 * LARGE_READ


def test_read_in_small_pieces_its_protocol_is_told_of_all_the_rest() -> None:
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
def test_what_is_held_or_read_in_small_pieces_is_strained(act: str) -> None:
    scene = Scene()
    assert not scene.intake.strained
    getattr(scene.intake, act)()
    scene.loop.settle()
    assert scene.intake.strained
    scene.intake.resume()
    scene.intake.relax()
    assert not scene.intake.strained
