"""What the dashboard is told of an ejection, and that its history survives a reload."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.fakes.app_replica import AppReplica, app_replica
from tests.fakes.instance import PATIENCE, Balancer, get, until
from tests.fakes.reloading import Reloading, other_workers, reloading

pytestmark = pytest.mark.integration

CHECKS = {"HEALTH_CHECK__ENABLED": "true", "HEALTH_CHECK__INTERVAL": "100ms", "HEALTH_CHECK__FALL": "1"}


@asynccontextmanager
async def scene(directory: Path) -> AsyncIterator[tuple[Reloading, AppReplica, AppReplica]]:
    async with app_replica("one") as one, app_replica("two") as two:
        settings: dict[str, Any] = {"upstreams": [one.address, two.address]}
        async with reloading(directory, settings, **CHECKS) as balanced:
            yield balanced, one, two


async def overview(balancer: Balancer) -> Any:
    return (await get(balancer.admin_port, "/api/overview")).json()


async def history(balancer: Balancer) -> Any:
    return (await get(balancer.admin_port, "/api/history?only=route:default")).json()


async def frames(balancer: Balancer) -> AsyncIterator[tuple[str, Any]]:
    url = f"http://127.0.0.1:{balancer.admin_port}/api/stream"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        while True:
            async with asyncio.timeout(PATIENCE):
                kind = (await response.content.readline()).decode().strip().removeprefix("event: ")
                data = json.loads((await response.content.readline()).decode().strip().removeprefix("data: "))
                await response.content.readline()
            yield kind, data


async def test_an_ejection_is_the_first_finding_and_in_the_stream(tmp_path: Path) -> None:
    async with scene(tmp_path) as (balanced, _, two):
        stream = frames(balanced.balancer)
        kind, tree = await anext(stream)
        assert kind == "overview"
        assert tree["findings"][0]["level"] == "ok"
        assert tree["instance"]["changes"] == {"allowed": "loopback", "hint": ""}
        two.status = 503
        async for kind, patch in stream:
            assert kind == "patch"
            changed = patch.get("pools", {}).get("default", {}).get("upstreams", {}).get(two.address, {})
            if changed.get("state") == "ejected":
                break
        assert patch["findings"][0]["upstream"] == two.address
        await stream.aclose()  # type: ignore[attr-defined]  # it is a generator
        found = (await overview(balanced.balancer))["findings"][0]
        assert found["text"] == (f"{two.address} of pool default is out: 503 on /. One other serves.")
        recorded = (await get(balanced.balancer.admin_port, "/api/history?only=pool:default")).json()
        changes = recorded["states"]["default"][two.address]
        assert changes[-1][1] == "ejected"
        assert abs(changes[-1][0] - datetime.fromisoformat(found["since"]).timestamp()) < 3


async def test_rates_and_history_count_what_clients_sent_and_survive_a_reload(tmp_path: Path) -> None:
    async with scene(tmp_path) as (balanced, one, two):
        balancer = balanced.balancer
        for _ in range(20):
            await get(balancer.port)

        async def is_known() -> bool:
            return bool((await overview(balancer))["routes"]["default"]["rates"]["n"] >= 20)

        await until(is_known)
        tree = await overview(balancer)
        upstreams = tree["pools"]["default"]["upstreams"]
        assert sum(each["rates"]["n"] for each in upstreams.values()) == 20
        before = (await history(balancer))["series"]["route:default"]["rps"]["fine"]
        assert any(before)
        await balanced.reload(upstreams=[one.address, two.address], **other_workers())
        after = (await history(balancer))["series"]["route:default"]["rps"]["fine"]
        peak = max(value for value in before if value is not None)
        assert peak in after


@pytest.mark.slow
async def test_a_replica_that_is_slow_and_serves_is_named(tmp_path: Path) -> None:
    async with scene(tmp_path) as (balanced, one, two):
        balancer = balanced.balancer
        await balanced.reload(upstreams=[one.address, two.address], policy="round_robin")
        two.takes = 0.08
        until_then, found = time.monotonic() + 40, None
        while found is None and time.monotonic() < until_then:
            await asyncio.gather(*(get(balancer.port) for _ in range(4)))
            first = (await overview(balancer))["findings"][0]
            found = first if "stands out" in first["text"] else None
        assert found is not None
        assert (found["upstream"], found["level"]) == (two.address, "watch")
        tree = await overview(balancer)
        ill = tree["pools"]["default"]["upstreams"][two.address]
        assert (ill["state"], ill["whose"]) == ("active", "upstream")
        assert ill["why"].startswith("its p95 is ")
        assert tree["pools"]["default"]["upstreams"][one.address]["why"] == ""
