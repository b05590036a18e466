"""Who listens to the stream gets the whole, then what changes."""

import asyncio
import json
from typing import Any

from balancer.overview.shape import ChangesShape
from balancer.overview.stream import BEHIND, MOST_LISTENERS, Listener
from tests.fakes.overviews import NO_CHANGES, FakeOverviews, overview_shape


def parsed(frame: bytes) -> tuple[str, Any]:
    kind, data, *rest = frame.decode().split("\n")
    assert rest == ["", ""]
    return kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))


async def joined(overviews: FakeOverviews, changes: ChangesShape = NO_CHANGES) -> Listener:
    listener = await overviews.listen(changes)
    assert listener is not None
    return listener


async def test_the_whole_comes_first_and_says_what_the_listener_may_do() -> None:
    overviews = FakeOverviews()
    listener = await joined(overviews, {"allowed": "token", "hint": "x"})
    kind, tree = parsed(await listener.frame())
    assert (kind, tree["instance"]["changes"]["allowed"]) == ("overview", "token")
    assert tree["pools"] == overview_shape()["pools"]


async def test_then_what_has_changed() -> None:
    overviews = FakeOverviews()
    listener = await joined(overviews)
    await listener.frame()
    waiting = asyncio.ensure_future(listener.frame())
    await asyncio.sleep(0)
    assert not waiting.done()
    overviews.publish({**overviews.tree, "now": "later"})
    assert parsed(await waiting) == ("patch", {"now": "later"})


async def test_a_slow_reader_gets_the_whole_instead_of_a_backlog() -> None:
    overviews = FakeOverviews()
    listener = await joined(overviews)
    await listener.frame()
    for number in range(BEHIND + 2):
        overviews.publish({**overviews.tree, "now": str(number)})
    kind, tree = parsed(await listener.frame())
    assert (kind, tree["now"]) == ("overview", str(BEHIND + 1))
    overviews.publish({**overviews.tree, "now": "next"})
    assert parsed(await listener.frame()) == ("patch", {"now": "next"})


async def test_a_patch_of_another_overview_than_the_listeners_is_not_sent() -> None:
    overviews = FakeOverviews()
    listener = await joined(overviews)
    await listener.frame()
    stranger = overview_shape()
    overviews.stream.publish(stranger, {**stranger, "now": "later"}, b"event: patch\ndata: {}\n\n")
    kind, tree = parsed(await listener.frame())
    assert (kind, tree["now"]) == ("overview", "later")


async def test_the_number_of_listeners_is_bounded() -> None:
    overviews = FakeOverviews()
    listeners = [await joined(overviews) for _ in range(MOST_LISTENERS)]
    assert await overviews.listen(NO_CHANGES) is None
    overviews.leave(listeners[0])
    assert await overviews.listen(NO_CHANGES) is not None


async def test_the_stream_ends_with_the_instance() -> None:
    overviews = FakeOverviews()
    listener = await joined(overviews)
    await listener.frame()
    waiting = asyncio.ensure_future(listener.frame())
    await asyncio.sleep(0)
    overviews.close()
    assert await waiting == b""
    assert await overviews.listen(NO_CHANGES) is None
