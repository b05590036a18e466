"""Sticky sessions over real processes: the app keeps sessions in memory, so they show which replica
served."""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from aiohttp import ClientSession, CookieJar

from loadtests.app.switches import CONTROL_PATH
from tests.fakes.forkserver import Process, start
from tests.fakes.instance import PATIENCE, Balancer, get, running, until

pytestmark = pytest.mark.integration

STICKY = {"STICKY__ENABLED": "true", "STICKY__SECRET": "of both", "POLICY": "round_robin"}
CHECKS = {"HEALTH_CHECK__PATH": "/healthz", "HEALTH_CHECK__INTERVAL": "100ms"}
_SERVES = re.compile(r"app replica \S+ serves on 127\.0\.0\.1:(\d+)")


class Replica:
    """An app replica's process."""

    def __init__(self, name: str, process: Process, port: int) -> None:
        self.name = name
        self.process = process
        self.port = port

    async def fails_its_checks(self, fails: bool) -> None:
        async with (
            ClientSession() as session,
            session.post(
                f"http://127.0.0.1:{self.port}{CONTROL_PATH}", json={"check_status": 500 if fails else 0}
            ) as response,
        ):
            assert response.status == 200, await response.text()


@asynccontextmanager
async def replica(name: str) -> AsyncIterator[Replica]:
    environ = {**os.environ, "REPLICA_NAME": name, "REPLICA_LISTEN": "127.0.0.1:0"}
    process = await start("loadtests.app", environ=environ)
    try:
        async with asyncio.timeout(PATIENCE):
            match = _SERVES.match((await process.stdout.readline()).decode())
        assert match is not None
        yield Replica(name, process, int(match[1]))
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


class Browser:
    """A client with a cookie jar."""

    def __init__(self, session: ClientSession) -> None:
        self._session = session

    async def get(self, balancer: Balancer, path: str) -> tuple[int, dict[str, Any]]:
        async with self._session.get(f"http://127.0.0.1:{balancer.port}{path}") as response:
            return response.status, await response.json()

    async def login(self, balancer: Balancer) -> str:
        """The replica of a new session."""
        status, answer = await self.get(balancer, "/login")
        assert status == 200
        return str(answer["owner"])

    async def owner(self, balancer: Balancer) -> str | None:
        """The replica that knows the session; None if the requested replica does not."""
        status, answer = await self.get(balancer, "/session")
        return str(answer["owner"]) if status == 200 else None

    def cookies(self) -> dict[str, str]:
        """All cookies of the client."""
        return {cookie.key: cookie.value for cookie in self._session.cookie_jar}


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as session:  # unsafe: also for addresses
        yield Browser(session)


class Harness:
    """Three replicas, and the balancer that a test wants."""

    def __init__(self, stack: AsyncExitStack, replicas: list[Replica]) -> None:
        self._stack = stack
        self.replicas = {one.name: one for one in replicas}

    async def balancer(self, **settings: str) -> Balancer:
        upstreams = ",".join(f"127.0.0.1:{one.port}" for one in self.replicas.values())
        balancer = await self._stack.enter_async_context(
            running(UPSTREAMS=upstreams, **{**STICKY, **CHECKS, **settings})
        )
        await balancer.becomes_ready()
        return balancer

    async def browsers(self, count: int) -> list[Browser]:
        return [await self._stack.enter_async_context(browser()) for _ in range(count)]


@pytest.fixture
async def harness() -> AsyncIterator[Harness]:
    async with AsyncExitStack() as stack:
        starting = [stack.enter_async_context(replica(f"app{number}")) for number in (1, 2, 3)]
        yield Harness(stack, [await one for one in starting])


async def results(balancer: Balancer, result: str) -> float:
    return await balancer.metric(f'balancer_sticky_requests_total{{pool="default",result="{result}"}}')


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_sessions_stay_with_their_replica(harness: Harness, workers: str) -> None:
    balancer = await harness.balancer(WORKERS=workers)
    browsers = await harness.browsers(6)
    owners = [await one.login(balancer) for one in browsers]
    assert len(set(owners)) > 1
    for _ in range(5):
        assert [await one.owner(balancer) for one in browsers] == owners
    assert (await results(balancer, "new"), await results(balancer, "hit")) == (6.0, 30.0)


async def test_without_stickiness_sessions_are_lost() -> None:
    """A premise of the other tests."""
    async with AsyncExitStack() as stack:
        replicas = [await stack.enter_async_context(replica(f"app{n}")) for n in (1, 2, 3)]
        harness = Harness(stack, replicas)
        balancer = await harness.balancer(STICKY__ENABLED="false")
        (one,) = await harness.browsers(1)
        await one.login(balancer)
        assert None in [await one.owner(balancer) for _ in range(3)]


async def test_two_balancers_with_one_secret_agree(harness: Harness) -> None:
    one, two = await harness.balancer(), await harness.balancer(WORKERS="2")
    for each in await harness.browsers(4):
        owner = await each.login(one)
        assert [await each.owner(two), await each.owner(one), await each.owner(two)] == [owner] * 3
    assert await results(two, "hit") == 8.0
    assert await results(two, "new") == 0.0


async def test_balancers_with_different_secrets_do_not_agree(harness: Harness) -> None:
    one, two = await harness.balancer(), await harness.balancer(STICKY__SECRET="of the second")
    (each,) = await harness.browsers(1)
    await each.login(one)
    await each.owner(two)
    assert await results(two, "invalid") == 1.0


async def test_sessions_outlive_a_worker(harness: Harness) -> None:
    balancer = await harness.balancer()
    browsers = await harness.browsers(3)
    owners = [await one.login(balancer) for one in browsers]
    (before,) = balancer.workers()
    os.kill(before, signal.SIGKILL)

    async def is_replaced() -> bool:
        return balancer.workers() not in ([], [before]) and (await balancer.readiness()).status == 200

    await until(is_replaced)
    assert [await one.owner(balancer) for one in browsers] == owners


async def test_clients_of_an_ejected_replica_move_to_another_and_stay_there(harness: Harness) -> None:
    balancer = await harness.balancer(WORKERS="2")
    (one,) = await harness.browsers(1)
    first = await one.login(balancer)
    await harness.replicas[first].fails_its_checks(True)

    async def has_moved() -> bool:
        return (
            await one.owner(balancer) is None
        )  # at once: another replica answers, which does not know the session

    await until(has_moved)
    second = await one.login(balancer)
    assert second != first
    assert [await one.owner(balancer) for _ in range(3)] == [second] * 3
    assert await results(balancer, "repinned") == 1.0

    await harness.replicas[first].fails_its_checks(False)

    async def is_back() -> bool:
        return await balancer.metric('balancer_pool_eligible_upstreams{pool="default"}') == 3.0

    await until(is_back)
    assert [await one.owner(balancer) for _ in range(3)] == [second] * 3


async def test_clients_of_a_killed_replica_are_served_at_once(harness: Harness) -> None:
    balancer = await harness.balancer()
    browsers = await harness.browsers(3)
    owners = [await one.login(balancer) for one in browsers]
    dead = harness.replicas[owners[0]].process
    dead.kill()
    await dead.wait()
    for one, owner in zip(browsers, owners, strict=True):
        assert await one.owner(balancer) == (None if owner == owners[0] else owner)


async def test_a_draining_replica_keeps_its_sessions_and_gets_no_new_ones(harness: Harness) -> None:
    """Announced by its check: it keeps its pinned clients until it is gone."""
    balancer = await harness.balancer(HEALTH_CHECK__DRAIN_STATUS="500")
    (one,) = await harness.browsers(1)
    owner = await one.login(balancer)
    await harness.replicas[owner].fails_its_checks(True)

    async def is_draining() -> bool:
        return await balancer.metric('balancer_pool_eligible_upstreams{pool="default"}') == 2.0

    await until(is_draining)
    for other in await harness.browsers(6):
        assert await other.login(balancer) != owner
    assert [await one.owner(balancer) for _ in range(3)] == [owner] * 3


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_stickiness_by_the_apps_cookie(harness: Harness, workers: str) -> None:
    balancer = await harness.balancer(WORKERS=workers, STICKY__APP_COOKIE="session")
    browsers = await harness.browsers(4)
    owners = [await one.login(balancer) for one in browsers]
    for _ in range(3):
        assert [await one.owner(balancer) for one in browsers] == owners
    for one in browsers:
        assert list(one.cookies()) == ["session"]
        assert re.fullmatch(r"[\w-]{22}~[0-9a-f]{32}", one.cookies()["session"])
    other = await harness.balancer(STICKY__APP_COOKIE="session")
    assert [await one.owner(other) for one in browsers] == owners


async def test_the_secret_is_not_shown_anywhere(harness: Harness) -> None:
    balancer = await harness.balancer(STICKY__SECRET="n0b0dy", LOG_LEVEL="debug")
    for path in ("/api/config", "/api/pools", "/api/events"):
        assert b"n0b0dy" not in (await get(balancer.admin_port, path)).body
    balancer.signal(signal.SIGTERM)
    assert await balancer.exit_code() == 0
    assert not any("n0b0dy" in line for line in [*balancer.stderr, *balancer.stdout])
