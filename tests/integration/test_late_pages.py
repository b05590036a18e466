"""A page slower than the first-byte timeout, over real processes: one replica works on it."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.fakes.app_replica import app_replica
from tests.fakes.instance import Client, get, running, until

pytestmark = pytest.mark.integration

CHECKS = {"HEALTH_CHECK__INTERVAL": "100ms", "HEALTH_CHECK__TIMEOUT": "400ms"}
FIRST_BYTE = "1200ms"  # by then checks have found any dead replica


@pytest.mark.parametrize("alive", ["its checks", "others"])
async def test_a_slow_page_runs_at_one_replica_and_the_setting_is_named(alive: str) -> None:
    settings = CHECKS if alive == "its checks" else {"HEALTH_CHECK__ENABLED": "false"}
    async with AsyncExitStack() as stack:
        apps = [await stack.enter_async_context(app_replica(f"app{number}")) for number in range(3)]
        balancer = await stack.enter_async_context(
            running(
                UPSTREAMS=",".join(app.address for app in apps),
                POLICY="round_robin",
                TIMEOUTS__FIRST_BYTE=FIRST_BYTE,
                **settings,
            )
        )
        await balancer.becomes_ready()
        client = await Client.connect(balancer.port)
        client.send("/hold")
        answer = asyncio.create_task(client.answer())
        while not answer.done():
            if alive == "others":
                assert (await get(balancer.port)).status == 200
            await asyncio.wait([answer], timeout=0.1)
        late = await answer
        await client.close()
        assert sum(app.most_held for app in apps) == 1
        assert late.status == 504
        setting = "BALANCER_TIMEOUTS__FIRST_BYTE (1.2 s)"
        assert setting in late.body.decode()
        assert setting in await balancer.says("was answered 504")

        async def failures() -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = (await get(balancer.admin_port, "/api/failures")).json()["failures"]
            return found

        async def it_is_told() -> bool:
            return bool(await failures())

        await until(it_is_told)
        (failure,) = await failures()
        assert setting in failure["detail"]
        assert len(failure["attempts"]) == 1
