"""A whole instance with a cap: no upstream exceeds it, surplus requests wait, and all counts add up."""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator

import pytest

from tests.fakes.app_replica import AppReplica, app_replica
from tests.fakes.instance import Balancer, get, running, until

pytestmark = pytest.mark.integration

CLIENTS = 40


@pytest.fixture
async def apps() -> AsyncIterator[tuple[AppReplica, AppReplica]]:
    async with app_replica("one") as one, app_replica("two") as two:
        yield one, two


async def becomes(balancer: Balancer, series: str, value: float) -> None:
    async def has() -> bool:
        return await balancer.metric(series) == value

    await until(has)


async def test_two_workers_keep_one_cap(apps: tuple[AppReplica, AppReplica]) -> None:
    settings = {"WORKERS": "2", "LIMITS__MAX_INFLIGHT": "3", "LIMITS__QUEUE_TIMEOUT": "1m"}
    upstreams = ",".join(app.address for app in apps)
    async with running(UPSTREAMS=upstreams, HEALTH_CHECK__ENABLED="false", **settings) as balancer:
        clients = [await balancer.connect() for _ in range(CLIENTS)]
        for client in clients:
            client.send("/hold")
        for app in apps:
            for _ in range(3):
                await app.holds()
        await becomes(balancer, 'balancer_queue_length{pool="default"}', CLIENTS - 6)

        (pool,) = (await get(balancer.admin_port, "/api/pools")).json()["pools"]
        assert pool["queue_length"] == CLIENTS - 6
        assert [(one["inflight"], one["max_inflight"]) for one in pool["upstreams"]] == [(3, 3), (3, 3)]
        for app in apps:
            limit = f'balancer_upstream_inflight_limit{{pool="default",upstream="{app.address}"}}'
            await balancer.shows(limit, 3)
            app.release.set()

        assert [(await client.answer()).status for client in clients] == [200] * CLIENTS
        assert [app.most_held for app in apps] == [3, 3]
        assert sum(app.requests for app in apps) == CLIENTS
        await becomes(balancer, 'balancer_queue_wait_seconds_count{pool="default"}', CLIENTS - 6)
        await balancer.shows('balancer_queue_length{pool="default"}', 0)


async def test_a_replacement_worker_has_its_share_of_the_cap(
    apps: tuple[AppReplica, AppReplica],
) -> None:
    settings = {"WORKERS": "2", "LIMITS__MAX_INFLIGHT": "3", "LIMITS__QUEUE_TIMEOUT": "1m"}
    upstreams = ",".join(app.address for app in apps)
    async with running(UPSTREAMS=upstreams, HEALTH_CHECK__ENABLED="false", **settings) as balancer:

        async def pool() -> tuple[int, list[int]]:
            (one,) = (await get(balancer.admin_port, "/api/pools")).json()["pools"]
            return one["queue_length"], [upstream["inflight"] for upstream in one["upstreams"]]

        async def line_up() -> None:
            for _ in range(CLIENTS):
                (await balancer.connect()).send("/hold")

        await line_up()
        await becomes(balancer, 'balancer_queue_length{pool="default"}', CLIENTS - 6)
        os.kill(balancer.workers()[0], signal.SIGKILL)
        await balancer.says("is ready again")
        before, _ = await pool()
        await line_up()

        async def is_full_again() -> bool:
            queued, inflight = await pool()
            return queued > before and inflight == [3, 3]

        await until(is_full_again)
        for app in apps:
            app.release.set()


async def test_a_request_without_a_slot_is_503_with_retry_after(apps: tuple[AppReplica, AppReplica]) -> None:
    app, _ = apps
    settings = {"MAX_INFLIGHT": "1", "QUEUE_SIZE": "1", "QUEUE_TIMEOUT": "2s"}
    limits = {f"LIMITS__{name}": value for name, value in settings.items()}
    async with running(UPSTREAMS=app.address, HEALTH_CHECK__ENABLED="false", **limits) as balancer:
        first, second, third = [await balancer.connect() for _ in range(3)]
        first.send("/hold")
        await app.holds()
        second.send()
        await becomes(balancer, 'balancer_queue_length{pool="default"}', 1)
        third.send()
        for client, reason in ((third, "queue_full"), (second, "queue_timeout")):
            answer = await client.answer()
            assert answer.status == 503
            assert f'details="{reason}"' in answer.head
            assert "\r\nRetry-After: 1\r\n" in answer.head
        app.release.set()
        assert (await first.answer()).status == 200
        for client in (second, third):
            client.send()
            assert (await client.answer()).status == 200
        assert app.requests == 3
        for reason in ("full", "timeout"):
            rejected = f'balancer_queue_rejected_total{{pool="default",reason="{reason}"}}'
            await balancer.shows(rejected, 1)


async def test_during_a_drain_waiting_requests_are_served(apps: tuple[AppReplica, AppReplica]) -> None:
    app, _ = apps
    cap = {"LIMITS__MAX_INFLIGHT": "1"}
    async with running(UPSTREAMS=app.address, HEALTH_CHECK__ENABLED="false", **cap) as balancer:
        clients = [await balancer.connect() for _ in range(3)]
        for client in clients:
            client.send("/hold")
        await app.holds()
        await becomes(balancer, 'balancer_queue_length{pool="default"}', 2)
        balancer.signal(signal.SIGTERM)
        await balancer.says("draining")
        app.release.set()
        answers = await asyncio.gather(*(client.answer() for client in clients))
        assert [answer.status for answer in answers] == [200] * 3
        assert await balancer.exit_code() == 0


async def ask_on(balancer: Balancer) -> None:
    while True:
        await get(balancer.port)


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("workers", ["1", "2"])
async def test_an_overload_is_logged_when_it_begins_and_ends(workers: str) -> None:
    limits = {"LIMITS__MAX_INFLIGHT": "2", "LIMITS__QUEUE_TIMEOUT": "100ms", "WORKERS": workers}
    async with app_replica("one") as app:
        app.takes = 0.02
        async with running(UPSTREAMS=app.address, HEALTH_CHECK__ENABLED="false", **limits) as balancer:
            clients = [asyncio.create_task(ask_on(balancer)) for _ in range(40)]
            try:
                line = await balancer.says("overloaded")
                assert re.search(
                    r"WARNING pool default overloaded: 1 upstream, limit 2, \d\d/s served, [\d,]+/s refused",
                    line,
                )
                await becomes(balancer, 'balancer_pool_overloaded{pool="default"}', 1)
                (pool,) = (await get(balancer.admin_port, "/api/pools")).json()["pools"]
                assert 10 <= pool["overload"]["served_per_second"] <= 50
                assert pool["overload"]["refused_per_second"] > 50
                assert pool["queue_rejected"]["timeout"] > 0
                assert pool["upstreams"][0]["inflight_limit"] == 2
            finally:
                for client in clients:
                    client.cancel()
                await asyncio.gather(*clients, return_exceptions=True)
            await balancer.says("no longer overloaded")
            await becomes(balancer, 'balancer_pool_overloaded{pool="default"}', 0)
            events = (await get(balancer.admin_port, "/api/events")).json()["events"]
            assert [one["kind"] for one in events] == ["overload", "overload_over"]
