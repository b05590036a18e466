"""Changes by the admin API in a whole balancer: drains, maintenance, weights, and which clients may make
them."""

import asyncio
import json
import socket
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest

from tests.fakes.app_replica import AppReplica, app_replica
from tests.fakes.forkserver import run
from tests.fakes.instance import Balancer, get, running, until

pytestmark = pytest.mark.integration

CHECKS = {"HEALTH_CHECK__INTERVAL": "100ms"}
TOKEN = "s3cret"


@pytest.fixture
def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


async def change(balancer: Balancer, app: AppReplica, wish: dict[str, Any], **headers: str) -> int:
    async with aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{balancer.admin_port}/api/pools/default/upstreams/{app.address}"
        async with session.patch(url, json=wish, headers=headers) as response:
            return response.status


async def command(balancer: Balancer, *arguments: str, **environ: str) -> tuple[int, str]:
    """Run a `balancer` command against it: the exit code, and the output."""
    place = ("--admin", f"127.0.0.1:{balancer.admin_port}")
    done = await asyncio.to_thread(run, "balancer", *arguments, *place, environ=environ)
    return done.returncode, done.stdout + done.stderr


async def spared(balancer: Balancer, app: AppReplica) -> None:
    """Wait until `app` gets no more requests."""

    async def is_spared() -> bool:
        before = app.requests
        for _ in range(5):
            assert (await get(balancer.port)).status == 200
        return app.requests == before

    await until(is_spared)


async def used(balancer: Balancer, app: AppReplica) -> None:
    """Wait until `app` gets requests."""
    before = app.requests

    async def is_used() -> bool:
        assert (await get(balancer.port)).status == 200
        return app.requests > before

    await until(is_used)


async def one_that_holds(balancer: Balancer, apps: list[AppReplica]) -> AppReplica:
    """The app that has the waiting request."""

    async def found() -> bool:
        return any(app.requests for app in apps)

    await until(found)
    return next(app for app in apps if app.requests)


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_drain_lets_running_requests_end_and_sends_no_new_ones(workers: str) -> None:
    async with AsyncExitStack() as stack:
        apps = [await stack.enter_async_context(app_replica(f"app{number}")) for number in range(2)]
        upstreams = ",".join(app.address for app in apps)
        balancer = await stack.enter_async_context(running(UPSTREAMS=upstreams, WORKERS=workers, **CHECKS))
        client = await balancer.connect()
        client.send("/hold")
        app = await one_that_holds(balancer, apps)
        code, said = await command(balancer, "drain", app.address)
        forgotten = "; a restart forgets this (STATE__FILE is not set)"
        assert (code, said) == (0, f"{app.address} is draining; 1 in flight may finish{forgotten}\n")
        await spared(balancer, app)
        checks = app.checks

        async def is_checked() -> bool:
            return app.checks > checks

        await until(is_checked)
        code, said = await command(balancer, "drain", app.address, "--wait", "0")
        assert code == 1
        assert "still has 1 in flight" in said
        app.release.set()
        assert (await client.answer()).body == app.name.encode()
        code, said = await command(balancer, "drain", app.address, "--wait", "10")
        assert (code, said.splitlines()[-1]) == (0, f"{app.address} has nothing in flight")
        assert (await command(balancer, "activate", app.address))[0] == 0
        await used(balancer, app)


async def test_maintenance_stops_checks_and_weights_take_effect() -> None:
    async with AsyncExitStack() as stack:
        out, other = apps = [await stack.enter_async_context(app_replica(f"app{n}")) for n in range(2)]
        upstreams = ",".join(app.address for app in apps)
        balancer = await stack.enter_async_context(
            running(UPSTREAMS=upstreams, POLICY="round_robin", **CHECKS)
        )
        assert (await command(balancer, "maintenance", f"default/{out.address}"))[0] == 0
        await spared(balancer, out)
        out_checks, other_checks = out.checks, other.checks

        async def a_few_checks_later() -> bool:
            return other.checks >= other_checks + 3

        await until(a_few_checks_later)
        assert out.checks - out_checks <= 1  # one may have been in transit
        config = (await get(balancer.admin_port, "/api/config")).json()
        (live,) = config["live_changes"]
        assert live.pop("at") > "2026"
        assert live.pop("by").endswith("127.0.0.1")
        assert live == {
            "pool": "default",
            "upstream": out.address,
            "admin_state": "maintenance",
            "weight": None,
            "added": False,
        }
        assert await change(balancer, out, {"admin_state": "active", "weight": 3}) == 200
        await used(balancer, out)

        async def three_to_one() -> bool:
            before = out.requests, other.requests
            for _ in range(8):
                await get(balancer.port)
            return (out.requests - before[0], other.requests - before[1]) == (6, 2)

        await until(three_to_one)
        text = (await get(balancer.admin_port, "/api/config?format=yaml")).body.decode()
        assert f"- {out.address}?weight=3" in text


async def test_if_a_token_is_set_changes_need_it() -> None:
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(app_replica())
        balancer = await stack.enter_async_context(running(UPSTREAMS=app.address, ADMIN_TOKEN=TOKEN))
        drain = {"admin_state": "draining"}
        assert await change(balancer, app, drain) == 401
        assert await change(balancer, app, drain, Authorization=f"Bearer {TOKEN}") == 200
        code, said = await command(balancer, "activate", app.address)
        assert code == 1
        assert "requires an ADMIN_TOKEN: set BALANCER_ADMIN_TOKEN" in said
        code, said = await command(balancer, "activate", app.address, BALANCER_ADMIN_TOKEN=f"no {TOKEN}")
        assert code == 1
        assert "requires a different ADMIN_TOKEN from this shell's: set BALANCER_ADMIN_TOKEN" in said
        code, said = await command(balancer, "activate", app.address, BALANCER_ADMIN_TOKEN=TOKEN)
        assert (code, said) == (0, f"{app.address} is active\n")
        config = await get(balancer.admin_port, "/api/config")
        assert TOKEN not in config.body.decode()
        assert json.loads(config.body)["settings"]["admin_token"] == "*" * 10


async def test_an_added_upstream_serves_until_it_is_removed() -> None:
    async with AsyncExitStack() as stack:
        first, second = [await stack.enter_async_context(app_replica(f"app{n}")) for n in range(2)]
        balancer = await stack.enter_async_context(running(UPSTREAMS=first.address, **CHECKS))
        url = f"http://127.0.0.1:{balancer.admin_port}/api/pools/default/upstreams"
        session = await stack.enter_async_context(aiohttp.ClientSession())
        async with session.post(url, json={"upstream": second.address}) as response:
            assert response.status == 201
        await used(balancer, second)
        async with session.delete(f"{url}/{second.address}") as response:
            assert response.status == 200
        await spared(balancer, second)
        async with session.delete(f"{url}/{first.address}") as response:
            assert response.status == 409


async def test_commands_change_all_instances_and_name_those_that_failed(unused_port: int) -> None:
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(app_replica())
        settings = {"POOLS__WEB__UPSTREAMS": app.address, "ROUTES": "/=web"}
        first, second = [await stack.enter_async_context(running(**settings)) for _ in range(2)]
        both = [f"127.0.0.1:{one.admin_port}" for one in (first, second)]

        async def everywhere(*arguments: str) -> tuple[int, list[str]]:
            code, said = await command(first, *arguments, "--admin", both[1])
            return code, sorted(said.splitlines())

        assert await everywhere("weight", f"web/{app.address}", "3") == (
            0,
            sorted(
                f"{place}  {app.address} has the weight 3; a restart forgets this (STATE__FILE is not set)"
                for place in both
            ),
        )
        added = "web/10.0.0.9:8000?weight=2"
        assert (await command(first, "add", added))[1] == (
            "10.0.0.9:8000 is added to pool web; it serves once it has passed a check\n"
        )
        code, said = await everywhere("add", added)
        assert code == 0
        done = {line.partition("  ")[0]: line.partition("  ")[2].split(";")[0] for line in said}
        assert done == {
            both[0]: "10.0.0.9:8000 is already in pool web",
            both[1]: "10.0.0.9:8000 is added to pool web",
        }
        nobody = f"127.0.0.1:{unused_port}"
        code, said = await everywhere("remove", "web/10.0.0.9:8000", "--admin", nobody)
        assert code == 1
        assert f"balancer: 1 of 3 instances failed: {nobody}" in said
        code, said = await everywhere("remove", "web/10.0.0.9:8000")
        assert (code, len(said)) == (0, 2)
        assert all(line.endswith("is not in pool web; nothing to remove") for line in said)
        for balancer in (first, second):
            events = (await get(balancer.admin_port, "/api/events")).json()["events"]
            audits = [one["text"] for one in events if one["kind"] == "audit"]
            assert any("adds 10.0.0.9:8000?weight=2 to pool web: done" in text for text in audits)
            assert any("removes 10.0.0.9:8000 from pool web: done" in text for text in audits)
            await balancer.says("audit: ")
