"""When a connection is read: not while it is held, nor for the rest of a turn in which it has had enough."""

import asyncio
from collections.abc import Callable
from itertools import permutations

import pytest

from balancer.connections.intake import Intake
from tests.fakes.loop import FakeClock, FakeLoop
from tests.fakes.transport import FakeTransport


class Scene:
    """An intake on a fake transport; `turns` counts how often it was to go on."""

    def __init__(self, then: Callable[["Scene"], None] = lambda scene: None) -> None:
        self.loop = FakeLoop(FakeClock())  # type: ignore[abstract]  # it has what is used, not all of asyncio
        self.transport = FakeTransport(self.loop, asyncio.Protocol())
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
