"""An app registers itself in a whole balancer, serves, renews, and is dropped when it stops renewing."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.fakes.app_replica import AppReplica, app_replica
from tests.fakes.instance import Balancer, event, get, running, until

pytestmark = pytest.mark.integration

TOKEN = "4pps"


async def register(
    balancer: Balancer, app: AppReplica, ttl: int, token: str = TOKEN
) -> tuple[int, dict[str, Any]]:
    async with aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{balancer.admin_port}/api/pools/default/upstreams"
        wish = {"upstream": app.address, "ttl": ttl}
        headers = {"Authorization": f"Bearer {token}", "X-Forwarded-For": "10.0.0.9"}  # not a local program
        async with session.post(url, json=wish, headers=headers) as response:
            return response.status, await response.json()


async def serves(balancer: Balancer, status: int) -> None:
    async def is_it() -> bool:
        return (await get(balancer.port)).status == status

    await until(is_it)


async def test_an_app_that_registers_itself_serves_until_it_vanishes() -> None:
    settings = {"REGISTRATION__TOKEN": TOKEN, "HEALTH_CHECK__INTERVAL": "100ms", "WORKERS": "2"}
    async with app_replica("one") as one, running(**settings) as balancer:
        assert (await get(balancer.port)).status == 503
        status, shown = await register(balancer, one, 2)
        assert (status, shown["source"]) == (201, "registered")
        await serves(balancer, 200)
        for _ in range(3):
            await asyncio.sleep(0.5)  # time must pass for real
            status, again = await register(balancer, one, 2)
            assert status == 200
            assert again["expires"] > shown["expires"]
        assert (await get(balancer.port)).body == b"one"
        removed = await event(balancer, "removed")
        assert removed["text"] == f"{one.address} removed: its registration has expired"
        await serves(balancer, 503)
        assert await balancer.says("its registration has expired")


async def test_a_wrong_token_registers_nothing() -> None:
    async with app_replica("one") as one, running(REGISTRATION__TOKEN=TOKEN) as balancer:
        status, answer = await register(balancer, one, 2, "4pps2")
        assert status == 403
        assert "set ADMIN_TOKEN to allow changes from other machines" in answer["error"]


async def test_a_reload_takes_up_another_token_and_keeps_what_is_registered(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    settings = {"REGISTRATION__TOKEN_FILE": str(token), "HEALTH_CHECK__ENABLED": "off"}
    async with app_replica("one") as one, running(**settings) as balancer:
        assert (await register(balancer, one, 60))[0] == 201
        token.write_text("n3w")
        url = f"http://127.0.0.1:{balancer.admin_port}/api/reload"
        async with aiohttp.ClientSession() as session, session.post(url, json={}) as response:
            assert (response.status, (await response.json())["result"]) == (200, "applied")
        assert (await register(balancer, one, 60))[0] == 403
        assert (await register(balancer, one, 60, "n3w"))[0] == 200
        await serves(balancer, 200)


async def test_an_app_ends_its_registration_in_good_order() -> None:
    settings = {"REGISTRATION__TOKEN": TOKEN, "HEALTH_CHECK__ENABLED": "off"}
    async with app_replica("one") as one, running(**settings) as balancer:
        _, shown = await register(balancer, one, 60)
        revision = (await get(balancer.admin_port, "/api/pools")).head
        url = f"http://127.0.0.1:{balancer.admin_port}/api/pools/default/upstreams/{shown['id']}"
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with aiohttp.ClientSession() as session, session.delete(url, headers=headers) as response:
            assert response.status == 200
        removed = await event(balancer, "removed")
        assert removed["text"] == f"{one.address} removed: its app has ended its registration"
        await serves(balancer, 503)
        assert _etag(revision) == _etag((await get(balancer.admin_port, "/api/pools")).head)


def _etag(head: str) -> str:
    return next(line for line in head.splitlines() if line.lower().startswith("etag:"))
