"""Names of upstreams: addresses are kept current, and a resolver's troubles change nothing that works."""

import asyncio
import logging
from collections.abc import Sequence

import pytest

from balancer.runtime.channel import Message
from balancer.runtime.fleet import Fleet, PoolState, UpstreamState
from balancer.runtime.names import NameWatch, lookup_addresses


class Names:
    """A resolver with answers in the test's hand; a name without one hangs."""

    def __init__(self) -> None:
        self.answers: dict[str, list[str] | OSError] = {}
        self.asked: list[str] = []
        self.answered = asyncio.Event()

    async def __call__(self, name: str) -> Sequence[str]:
        self.asked.append(name)
        while name not in self.answers:
            await self.answered.wait()
        answer = self.answers[name]
        if isinstance(answer, OSError):
            raise answer
        return answer


class Scene:
    """A pool of three upstreams behind two names."""

    def __init__(self) -> None:
        pool = PoolState("default", 0, {})
        for number, host in enumerate(("app1", "app2", "app1")):
            one = UpstreamState(f"{host}:{8000 + number}", host, 8000 + number, 1, number, "")
            pool.upstreams[one.id] = one
        self.fleet = Fleet([pool])
        self.names = Names()
        self.messages: list[Message] = []
        self.watch = NameWatch(
            self.fleet, self.fleet.upstreams(), self.messages.append, logging.getLogger("test"), self.names
        )

    def addresses(self) -> list[str]:
        return [upstream.address for _, upstream in self.fleet.upstreams()]


@pytest.fixture
async def scene() -> Scene:
    return Scene()


async def test_every_upstream_of_a_name_gets_its_address(scene: Scene) -> None:
    scene.names.answers = {"app1": ["10.0.0.1"], "app2": ["10.0.0.2"]}
    await scene.watch.resolve()
    assert scene.addresses() == ["10.0.0.1", "10.0.0.2", "10.0.0.1"]
    assert scene.names.asked == ["app1", "app2"]
    assert [(m["id"], m["host"], m["revision"]) for m in scene.messages] == [
        ("app1:8000", "10.0.0.1", 2),
        ("app1:8002", "10.0.0.1", 3),
        ("app2:8001", "10.0.0.2", 4),
    ]


async def test_only_a_change_is_broadcast(scene: Scene) -> None:
    scene.names.answers = {"app1": ["10.0.0.1"], "app2": ["10.0.0.2"]}
    await scene.watch.resolve()
    scene.messages.clear()
    await scene.watch.resolve()
    assert scene.messages == []
    scene.names.answers["app2"] = ["10.0.0.9"]
    await scene.watch.resolve()
    assert [m["host"] for m in scene.messages] == ["10.0.0.9"]


async def test_rotating_answers_do_not_move_an_upstream(scene: Scene) -> None:
    scene.names.answers = {"app1": ["10.0.0.1", "10.0.0.3"], "app2": ["10.0.0.2"]}
    await scene.watch.resolve()
    scene.names.answers["app1"] = ["10.0.0.3", "10.0.0.1"]
    await scene.watch.resolve()
    assert scene.addresses() == ["10.0.0.1", "10.0.0.2", "10.0.0.1"]


@pytest.mark.parametrize("answer", [OSError(-2, "Name or service not known"), []], ids=["error", "empty"])
async def test_the_last_good_address_is_kept(
    scene: Scene, answer: list[str] | OSError, caplog: pytest.LogCaptureFixture
) -> None:
    scene.names.answers = {"app1": ["10.0.0.1"], "app2": ["10.0.0.2"]}
    await scene.watch.resolve()
    scene.names.answers["app1"] = answer
    for _ in range(3):
        await scene.watch.resolve()
    assert scene.addresses() == ["10.0.0.1", "10.0.0.2", "10.0.0.1"]
    assert ["keeping 10.0.0.1" in record.getMessage() for record in caplog.records] == [True]


async def test_a_name_that_does_not_resolve_at_start_is_a_warning(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.names.answers = {"app1": ["10.0.0.1"], "app2": OSError(-2, "Name or service not known")}
    await scene.watch.resolve()
    assert scene.addresses() == ["10.0.0.1", "", "10.0.0.1"]
    assert [record.getMessage() for record in caplog.records] == [
        "the name app2 does not resolve (Name or service not known); it gets no requests until it resolves"
    ]


async def test_a_resolver_that_hangs_holds_up_nobody_and_is_not_asked_twice(scene: Scene) -> None:
    scene.names.answers = {"app1": ["10.0.0.1"]}
    for _ in range(3):
        await scene.watch.resolve(patience=0.01)
    assert scene.addresses() == ["10.0.0.1", "", "10.0.0.1"]
    assert scene.names.asked.count("app2") == 1
    scene.names.answers["app2"] = ["10.0.0.2"]
    scene.names.answered.set()
    await scene.watch.resolve()
    assert scene.addresses() == ["10.0.0.1", "10.0.0.2", "10.0.0.1"]


async def test_close_cancels_what_hangs(scene: Scene) -> None:
    await scene.watch.resolve(patience=0.0)
    hanging = asyncio.all_tasks() - {asyncio.current_task()}
    await scene.watch.close()
    assert len(hanging) == 2
    assert all(task.cancelled() for task in hanging)


async def test_the_systems_resolver_gives_ipv4_first() -> None:
    assert (await lookup_addresses("localhost"))[0] == "127.0.0.1"
