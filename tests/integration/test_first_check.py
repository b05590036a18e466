"""A replica that appears while its app still starts gets no request before it has passed a check."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.fakes.app_replica import AppReplica, app_replica
from tests.fakes.instance import Answer, Balancer, Client, get, launched, until
from tests.fakes.names import FILE, Names

pytestmark = pytest.mark.integration

SETTINGS = {"HEALTH_CHECK__INTERVAL": "200ms", "HEALTH_CHECK__TIMEOUT": "100ms", "WORKERS": "2"}
OLD, OTHER, NEW = "127.0.0.1", "127.0.0.2", "127.0.0.3"


class Scene:
    """Two replicas that serve, a balancer before them, and clients that POST all the time."""

    def __init__(self, stack: AsyncExitStack, names: Names, old: AppReplica, other: AppReplica) -> None:
        self.names = names
        self.old = old
        self.other = other
        self.balancer: Balancer
        self.statuses: list[int] = []
        self._stack = stack
        self._clients: list[asyncio.Task[None]] = []

    async def start(self, upstreams: str, **settings: str) -> None:
        """`PORT` in it is where all listen."""
        self.balancer = await self._stack.enter_async_context(
            launched(
                "tests.fakes.names",
                UPSTREAMS=upstreams.replace("PORT", str(self.old.port)),
                **{**SETTINGS, **settings},
            )
        )
        await self.balancer.established()

    def post(self) -> None:
        """Four clients, each its next request when it has the answer to the one before."""
        self._clients = [asyncio.create_task(self._post()) for _ in range(4)]

    async def _post(self) -> None:
        client = await Client.connect(self.balancer.port)
        try:
            while True:
                client.send(method="POST")
                self.statuses.append((await client.answer()).status)
        finally:
            await client.close()

    async def replica(self) -> AppReplica:
        """A third one, with the same port."""
        return await self._stack.enter_async_context(app_replica("new", NEW, self.old.port))

    async def end(self) -> None:
        for task in self._clients:
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)


@asynccontextmanager
async def scene_with(path: Path) -> AsyncIterator[Scene]:
    async with AsyncExitStack() as stack:
        old = await stack.enter_async_context(app_replica("old", OLD))
        other = await stack.enter_async_context(app_replica("other", OTHER, old.port))
        scene = Scene(stack, Names(path), old, other)
        stack.push_async_callback(scene.end)
        yield scene


@pytest.fixture
async def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    path = tmp_path / "names"
    monkeypatch.setenv(FILE, str(path))
    async with scene_with(path) as scene:
        yield scene


# How the third one comes: what is there before, and what makes it appear.


async def found(scene: Scene) -> Callable[[], Awaitable[None]]:
    scene.names.say(app=[OLD, OTHER])
    await scene.start("dns://app:PORT?refresh=100ms")

    async def appear() -> None:
        scene.names.say(app=[OLD, OTHER, NEW])

    return appear


async def added(scene: Scene) -> Callable[[], Awaitable[None]]:
    await scene.start(f"{OLD}:PORT,{OTHER}:PORT")
    url = f"http://127.0.0.1:{scene.balancer.admin_port}/api/pools/default/upstreams"

    async def appear() -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, json={"upstream": f"{NEW}:{scene.old.port}"}) as response,
        ):
            assert response.status == 201

    return appear


async def moved(scene: Scene) -> Callable[[], Awaitable[None]]:
    """A name's replica is made anew elsewhere."""
    scene.names.say(app=[OLD])
    await scene.start(f"app:PORT,{OTHER}:PORT")

    async def appear() -> None:
        scene.names.say(app=[NEW])
        await until(lambda: has_moved(scene))

    return appear


async def has_moved(scene: Scene) -> bool:
    (pool,) = (await get(scene.balancer.admin_port, "/api/pools")).json()["pools"]
    return any(one["address"].startswith(NEW) for one in pool["upstreams"])


# How its app is while it starts; and when it is up.


def answers(status: int) -> Callable[[AppReplica], None]:
    def so(app: AppReplica) -> None:
        app.status = status

    return so


def says_nothing(app: AppReplica) -> None:
    """As gunicorn before it has loaded the app."""
    app.hangs = True


def is_up(app: AppReplica) -> None:
    app.status, app.hangs = 200, False


async def upstream_of(scene: Scene, app: AppReplica) -> dict[str, Any]:
    (pool,) = (await get(scene.balancer.admin_port, "/api/pools")).json()["pools"]
    shown: list[dict[str, Any]] = [one for one in pool["upstreams"] if one["address"] == app.address]
    return shown[0]


@pytest.mark.parametrize("come", [found, added, moved])
@pytest.mark.parametrize(
    "starts", [answers(404), answers(503), says_nothing], ids=["404", "503", "says nothing"]
)
async def test_not_one_request_before_it_is_ready(
    scene: Scene,
    come: Callable[[Scene], Awaitable[Callable[[], Awaitable[None]]]],
    starts: Callable[[AppReplica], None],
) -> None:
    appear = await come(scene)
    new = await scene.replica()
    starts(new)
    await scene.balancer.becomes_ready()
    scene.post()
    await appear()

    async def has_been_checked() -> bool:
        return new.checks >= 4

    await until(has_been_checked)
    assert (new.requests, new.passed) == (0, 0)
    shown = await upstream_of(scene, new)
    assert (shown["eligible"], shown["causes"], shown["unchecked"]) == (False, ["active_check"], False)
    up = f'balancer_upstream_up{{pool="default",upstream="{shown["id"]}"}}'
    assert await scene.balancer.metric(up) == 0.0
    before = len(scene.statuses)
    is_up(new)

    async def is_used() -> bool:
        return new.requests > 0

    await until(is_used)
    assert new.passed == 1, "it serves after its first passed check"
    await scene.end()
    assert set(scene.statuses) == {200}
    assert before > 0


async def test_it_is_checked_at_once_when_it_appears(scene: Scene) -> None:
    """Not after an interval: one that is ready serves within the time that a check takes."""
    scene.names.say(app=[OLD, OTHER])
    new = await scene.replica()
    await scene.start(f"{OLD}:PORT,{OTHER}:PORT", HEALTH_CHECK__INTERVAL="1h")
    await scene.balancer.becomes_ready()
    url = f"http://127.0.0.1:{scene.balancer.admin_port}/api/pools/default/upstreams"
    scene.post()
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, json={"upstream": new.address}) as response,
    ):
        assert response.status == 201

    async def is_used() -> bool:
        return new.requests > 0

    await until(is_used)
    assert (new.checks, new.passed) == (1, 1)


async def test_all_of_the_start_serve_before_their_first_check(scene: Scene) -> None:
    """Else the first one that is checked would get everything."""
    scene.names.say(app=[OLD, OTHER])
    scene.other.hangs = True  # its check is not answered
    await scene.start("dns://app:PORT", HEALTH_CHECK__TIMEOUT="1h", HEALTH_CHECK__INTERVAL="1h")
    scene.post()

    async def both_are_used() -> bool:
        return scene.old.requests > 0 and scene.other.requests > 0

    await until(both_are_used)
    shown = await upstream_of(scene, scene.other)
    assert (shown["unchecked"], shown["eligible"]) == (True, True)


async def test_while_all_apps_are_starting_clients_are_told_to_come_again(scene: Scene) -> None:
    for app in (scene.old, scene.other):
        await app.leave()
    await scene.start(f"{OLD}:PORT,{OTHER}:PORT")

    async def refused() -> Answer:
        client = await scene.balancer.connect()
        client.send(method="POST")
        return await client.answer()

    for _ in range(10):
        answer = await refused()
        assert (answer.status, "\r\nRetry-After: " in answer.head) == (503, True)
        assert b"the app may still be starting" in answer.body

    async def all_are_told() -> bool:
        failures[:] = (await get(scene.balancer.admin_port, "/api/failures")).json()["failures"]
        return len(failures) == 10

    failures: list[dict[str, Any]] = []
    await until(all_are_told)
    assert {one["reason"] for one in failures} == {"apps_starting"}
    assert {miss["failure"] for one in failures for miss in one["attempts"]} == {"connect_refused"}
    async with app_replica("old", OLD, scene.old.port):

        async def is_up_now() -> bool:
            return (await refused()).status == 200

        await until(is_up_now)
        await scene.balancer.says("is readmitted: a check has passed")
    await scene.balancer.says("is ejected: 2 checks in a row have failed")

    async def is_gone() -> bool:
        return (await refused()).status == 502

    await until(is_gone)
