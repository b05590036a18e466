"""What two instances share, which is nothing but their settings: the table of docs/high-availability.md."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import pytest

from tests.fakes.app_replica import AppReplica, app_replica
from tests.fakes.instance import Balancer, event, get, running

pytestmark = pytest.mark.integration

USERS = [f"user-{number}" for number in range(40)]
CAP = 2
NO_CHECKS = {"HEALTH_CHECK__ENABLED": "false"}


@asynccontextmanager
async def pair(
    apps: int, settings: Mapping[str, str], own: Sequence[dict[str, str]] = ({}, {})
) -> AsyncIterator[tuple[Balancer, Balancer, list[AppReplica]]]:
    """Two instances before the same apps. `own`: what differs between them."""
    async with AsyncExitStack() as stack:
        replicas = [await stack.enter_async_context(app_replica(f"app{one}")) for one in range(apps)]
        upstreams = ",".join(one.address for one in replicas)
        first, second = [
            await stack.enter_async_context(running(**{"UPSTREAMS": upstreams, **settings, **each}))
            for each in own
        ]
        for instance in (first, second):
            await instance.becomes_ready()
        yield first, second, replicas


async def ask(instance: Balancer, **headers: str) -> tuple[str, str]:
    """The app that has answered, and the cookie that was set."""
    url = f"http://127.0.0.1:{instance.port}/"
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
        assert response.status == 200
        cookie = re.match(r"[^;]*", response.headers.get("Set-Cookie", ""))
        return await response.text(), cookie[0] if cookie else ""


async def served_alike(first: Balancer, second: Balancer, header: str) -> int:
    """Of so many users both instances send the same ones to the same app."""
    alike = 0
    for user in USERS:
        alike += (await ask(first, **{header: user}))[0] == (await ask(second, **{header: user}))[0]
    return alike


async def admin_states(instance: Balancer) -> list[str]:
    (pool,) = (await get(instance.admin_port, "/api/pools")).json()["pools"]
    return [upstream["admin_state"] for upstream in pool["upstreams"]]


def secrets(*texts: str) -> list[dict[str, str]]:
    return [{"STICKY__SECRET": text} if text else {} for text in texts]


@pytest.mark.parametrize(
    ("own", "is_known"),
    [
        pytest.param(secrets("of both", "of both"), True, id="one secret"),
        pytest.param(secrets("", ""), True, id="no secret"),
        pytest.param(secrets("of one", "of two"), False, id="two secrets"),
    ],
)
async def test_a_pin_is_known_to_both_if_the_secrets_are_the_same(
    own: list[dict[str, str]], is_known: bool
) -> None:
    settings = {"STICKY__ENABLED": "true", "POLICY": "round_robin", **NO_CHECKS}
    async with pair(2, settings, own) as (one, two, _):
        for _ in range(5):
            app, cookie = await ask(one)
            again, new_cookie = await ask(two, Cookie=cookie)
            assert (not new_cookie) is is_known
            assert app == again or not is_known


@pytest.mark.parametrize(
    ("own", "is_same"),
    [
        pytest.param([{"SPLIT__SECRET": "of both"}] * 2, True, id="one secret"),
        pytest.param([{}, {}], True, id="no secret"),
        pytest.param([{"SPLIT__SECRET": "of one"}, {"SPLIT__SECRET": "of two"}], False, id="two secrets"),
    ],
)
async def test_a_user_is_on_one_side_if_the_secrets_are_the_same(
    own: list[dict[str, str]], is_same: bool
) -> None:
    async with app_replica("old") as old, app_replica("new") as new:
        settings = {
            "POOLS__OLD__UPSTREAMS": old.address,
            "POOLS__NEW__UPSTREAMS": new.address,
            "SPLIT__KEY": "header:X-User",
            "ROUTES": "/=old:50|new:50",
            **NO_CHECKS,
        }
        async with pair(0, settings, own) as (one, two, _):
            assert (await served_alike(one, two, "X-User") == len(USERS)) is is_same


async def test_hash_policies_agree() -> None:
    settings = {"POLICY": "consistent_hash", "HASH_KEY": "header:X-User", **NO_CHECKS}
    async with pair(3, settings) as (one, two, _):
        assert await served_alike(one, two, "X-User") == len(USERS)


async def test_a_cap_holds_for_each() -> None:
    settings = {"LIMITS__MAX_INFLIGHT": str(CAP), "ADAPTIVE__ENABLED": "false", **NO_CHECKS}
    async with pair(1, settings) as (one, two, (app,)):
        clients = [await instance.connect() for instance in (one, two) for _ in range(CAP + 1)]
        for client in clients:
            client.send("/hold")
        for _ in range(2 * CAP):
            await app.holds()
        for instance in (one, two):
            await instance.shows('balancer_queue_length{pool="default"}', 1.0)
        app.release.set()
        assert [(await client.answer()).status for client in clients] == [200] * len(clients)
        assert app.most_held == 2 * CAP


async def test_a_policy_sees_only_its_own_load() -> None:
    async with pair(2, {"POLICY": "least_connections", **NO_CHECKS}) as (one, two, apps):
        held = [await one.connect() for _ in range(4)]
        for client in held:
            client.send("/hold")
        for app in apps:
            for _ in range(2):
                await app.holds()
        # Both apps work on two requests of `one`. For `two` they are idle, and it takes turns.
        before = [app.requests for app in apps]
        for _ in range(4):
            assert (await get(two.port)).status == 200
        assert [app.requests - count for app, count in zip(apps, before, strict=True)] == [2, 2]
        for app in apps:
            app.release.set()
        for client in held:
            assert (await client.answer()).status == 200


async def test_both_check_and_each_ejects_by_itself() -> None:
    settings = {"HEALTH_CHECK__INTERVAL": "100ms"}
    async with pair(2, settings) as (one, two, (bad, _)):
        checks = bad.checks
        bad.status = 500
        ejected = await asyncio.gather(event(one, "ejected"), event(two, "ejected"))
        assert [each["upstream"] for each in ejected] == [bad.address] * 2
        assert bad.checks - checks >= 4, "two of each instance"


async def test_an_outlier_is_ejected_where_its_failures_were_seen() -> None:
    settings = {"OUTLIER__CONSECUTIVE_5XX": "3", "RETRY__STATUSES": "", **NO_CHECKS}
    async with pair(2, settings) as (one, two, apps):
        apps[0].status = 500
        for _ in range(10):
            await get(one.port)
        assert (await event(one, "ejected"))["upstream"] == apps[0].address
        before = apps[0].requests
        for _ in range(4):
            await get(two.port)
        assert apps[0].requests == before + 2, "the other one has to find out by itself"


async def test_a_live_change_is_made_in_one() -> None:
    async with pair(2, NO_CHECKS) as (one, two, (app, _)):
        url = f"http://127.0.0.1:{one.admin_port}/api/pools/default/upstreams/{app.address}"
        wish = {"admin_state": "draining"}
        async with aiohttp.ClientSession() as session, session.patch(url, json=wish) as response:
            assert response.status == 200
        assert await admin_states(one) == ["draining", "active"]
        assert await admin_states(two) == ["active", "active"]
