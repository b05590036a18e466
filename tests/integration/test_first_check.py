"""A new replica whose app is still starting gets no request before it has passed a check."""

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


class Harness:
    """Two serving replicas behind a balancer, and clients that POST all the time."""

    def __init__(self, stack: AsyncExitStack, names: Names, old: AppReplica, other: AppReplica) -> None:
        self.names = names
        self.old = old
        self.other = other
        self.balancer: Balancer
        self.statuses: list[int] = []
        self._stack = stack
        self._clients: list[asyncio.Task[None]] = []

    async def start(self, upstreams: str, **settings: str) -> None:
        """`PORT` in it stands for the port of all replicas."""
        self.balancer = await self._stack.enter_async_context(
            launched(
                "tests.fakes.names",
                UPSTREAMS=upstreams.replace("PORT", str(self.old.port)),
                **{**SETTINGS, **settings},
            )
        )
        await self.balancer.established()

    def post(self) -> None:
        """Four clients, each of which sends its next request after the response to the previous one."""
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
        """A third replica with the same port."""
        return await self._stack.enter_async_context(app_replica("new", NEW, self.old.port))

    async def end(self) -> None:
        for task in self._clients:
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)


@asynccontextmanager
async def harness_with(path: Path) -> AsyncIterator[Harness]:
    async with AsyncExitStack() as stack:
        old = await stack.enter_async_context(app_replica("old", OLD))
        other = await stack.enter_async_context(app_replica("other", OTHER, old.port))
        harness = Harness(stack, Names(path), old, other)
        stack.push_async_callback(harness.end)
        yield harness


@pytest.fixture
async def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Harness]:
    path = tmp_path / "names"
    monkeypatch.setenv(FILE, str(path))
    async with harness_with(path) as harness:
        yield harness


# How the third replica is added: the configuration before, and the action that adds it.


async def found(harness: Harness) -> Callable[[], Awaitable[None]]:
    harness.names.say(app=[OLD, OTHER])
    await harness.start("dns://app:PORT?refresh=100ms")

    async def appear() -> None:
        harness.names.say(app=[OLD, OTHER, NEW])

    return appear


async def added(harness: Harness) -> Callable[[], Awaitable[None]]:
    await harness.start(f"{OLD}:PORT,{OTHER}:PORT")
    url = f"http://127.0.0.1:{harness.balancer.admin_port}/api/pools/default/upstreams"

    async def appear() -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, json={"upstream": f"{NEW}:{harness.old.port}"}) as response,
        ):
            assert response.status == 201

    return appear


async def moved(harness: Harness) -> Callable[[], Awaitable[None]]:
    """A name's replica is recreated at another address."""
    harness.names.say(app=[OLD])
    await harness.start(f"app:PORT,{OTHER}:PORT")

    async def appear() -> None:
        harness.names.say(app=[NEW])
        await until(lambda: has_moved(harness))

    return appear


async def has_moved(harness: Harness) -> bool:
    (pool,) = (await get(harness.balancer.admin_port, "/api/pools")).json()["pools"]
    return any(one["address"].startswith(NEW) for one in pool["upstreams"])


# The state of its app while it starts, and when it is up.


def answers(status: int) -> Callable[[AppReplica], None]:
    def so(app: AppReplica) -> None:
        app.status = status

    return so


def says_nothing(app: AppReplica) -> None:
    """Like gunicorn before it has loaded the app."""
    app.hangs = True


def is_up(app: AppReplica) -> None:
    app.status, app.hangs = 200, False


async def upstream_of(harness: Harness, app: AppReplica) -> dict[str, Any]:
    (pool,) = (await get(harness.balancer.admin_port, "/api/pools")).json()["pools"]
    shown: list[dict[str, Any]] = [one for one in pool["upstreams"] if one["address"] == app.address]
    return shown[0]


@pytest.mark.parametrize("come", [found, added, moved])
@pytest.mark.parametrize(
    "starts", [answers(404), answers(503), says_nothing], ids=["404", "503", "says nothing"]
)
async def test_a_new_replica_gets_no_request_before_its_app_is_ready(
    harness: Harness,
    come: Callable[[Harness], Awaitable[Callable[[], Awaitable[None]]]],
    starts: Callable[[AppReplica], None],
) -> None:
    appear = await come(harness)
    new = await harness.replica()
    starts(new)
    await harness.balancer.becomes_ready()
    harness.post()
    await appear()

    async def has_been_checked() -> bool:
        return new.checks >= 4

    await until(has_been_checked)
    assert (new.requests, new.passed) == (0, 0)
    shown = await upstream_of(harness, new)
    assert (shown["eligible"], shown["causes"], shown["unchecked"]) == (False, ["active_check"], False)
    up = f'balancer_upstream_up{{pool="default",upstream="{shown["id"]}"}}'
    await harness.balancer.shows(up, 0.0)
    before = len(harness.statuses)
    is_up(new)

    async def is_used() -> bool:
        return new.requests > 0

    await until(is_used)
    await harness.balancer.says("readmitted: a check passed")  # the first one
    await harness.end()
    assert set(harness.statuses) == {200}
    assert before > 0


async def test_a_new_replica_is_checked_at_once(harness: Harness) -> None:
    """Without waiting for an interval: a ready replica serves within the time of one check."""
    harness.names.say(app=[OLD, OTHER])
    new = await harness.replica()
    await harness.start(f"{OLD}:PORT,{OTHER}:PORT", HEALTH_CHECK__INTERVAL="1h")
    await harness.balancer.becomes_ready()
    url = f"http://127.0.0.1:{harness.balancer.admin_port}/api/pools/default/upstreams"
    harness.post()
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, json={"upstream": new.address}) as response,
    ):
        assert response.status == 201

    async def is_used() -> bool:
        return new.requests > 0

    await until(is_used)
    assert (new.checks, new.passed) == (1, 1)


async def test_upstreams_present_at_the_start_serve_before_their_first_check(harness: Harness) -> None:
    """Otherwise the first checked upstream would get all requests."""
    harness.names.say(app=[OLD, OTHER])
    harness.other.hangs = True  # its check is not answered
    await harness.start("dns://app:PORT", HEALTH_CHECK__TIMEOUT="1h", HEALTH_CHECK__INTERVAL="1h")
    harness.post()

    async def both_are_used() -> bool:
        return harness.old.requests > 0 and harness.other.requests > 0

    await until(both_are_used)
    shown = await upstream_of(harness, harness.other)
    assert (shown["unchecked"], shown["eligible"]) == (True, True)


async def test_while_all_apps_are_starting_clients_get_503_with_retry_after(harness: Harness) -> None:
    for app in (harness.old, harness.other):
        await app.leave()
    await harness.start(f"{OLD}:PORT,{OTHER}:PORT")

    async def refused() -> Answer:
        client = await harness.balancer.connect()
        client.send(method="POST")
        return await client.answer()

    for _ in range(10):
        answer = await refused()
        assert (answer.status, "\r\nRetry-After: " in answer.head) == (503, True)
        assert b"the app may still be starting" in answer.body

    async def all_are_told() -> bool:
        failures[:] = (await get(harness.balancer.admin_port, "/api/failures")).json()["failures"]
        return len(failures) == 10

    failures: list[dict[str, Any]] = []
    await until(all_are_told)
    assert {one["reason"] for one in failures} == {"apps_starting"}
    assert {miss["failure"] for one in failures for miss in one["attempts"]} == {"connect_refused"}
    async with app_replica("old", OLD, harness.old.port):

        async def is_up_now() -> bool:
            return (await refused()).status == 200

        await until(is_up_now)
        await harness.balancer.says("readmitted: a check passed")
    await harness.balancer.says("ejected: 2 checks in a row failed")

    async def is_gone() -> bool:
        return (await refused()).status == 502

    await until(is_gone)
