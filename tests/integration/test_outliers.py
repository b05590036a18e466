"""Outlier detection in a whole balancer, without active checks: all workers eject a failing upstream."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from tests.fakes.app_replica import AppReplica, app_replica
from tests.fakes.instance import Balancer, Client, get, running, until

pytestmark = pytest.mark.integration

CONSECUTIVE = 5  # the default of OUTLIER__CONSECUTIVE_5XX
FOR_LONG = {"OUTLIER__EJECTION_TIME": "1m"}
FOR_A_MOMENT = {"OUTLIER__EJECTION_TIME": "300ms"}


@asynccontextmanager
async def before(count: int, **settings: str) -> AsyncIterator[tuple[Balancer, list[AppReplica]]]:
    """A balancer in front of `count` replicas."""
    async with AsyncExitStack() as stack:
        apps = [await stack.enter_async_context(app_replica(f"app{number}")) for number in range(count)]
        upstreams = ",".join(app.address for app in apps)
        yield (
            await stack.enter_async_context(
                running(UPSTREAMS=upstreams, HEALTH_CHECK__ENABLED="false", **settings)
            ),
            apps,
        )


async def statuses(balancer: Balancer, count: int) -> Counter[int]:
    """Status -> number of `count` successive requests, each on its own connection."""
    return Counter([(await get(balancer.port)).status for _ in range(count)])


async def events(balancer: Balancer) -> list[dict[str, Any]]:
    answer = await get(balancer.admin_port, "/api/events")
    found: list[dict[str, Any]] = answer.json()["events"]
    return found


async def has_become(balancer: Balancer, *kinds: str) -> None:
    """Wait for exactly these events, in this order."""

    async def it_has() -> bool:
        return [one["kind"] for one in await events(balancer)] == list(kinds)

    await until(it_has)


@pytest.mark.parametrize("workers", [1, 4])
async def test_an_upstream_that_answers_500_to_everything_is_ejected_at_once(workers: int) -> None:
    async with before(4, WORKERS=str(workers), **FOR_LONG) as (balancer, apps):
        assert await statuses(balancer, 20) == {200: 20}
        ill = apps[1]
        ill.status = 500
        # Enough for every worker to detect it alone if it did not hear of it from the others.
        seen = await statuses(balancer, 40 * CONSECUTIVE * workers)
        assert CONSECUTIVE <= seen[500] <= CONSECUTIVE * workers
        (ejected,) = await events(balancer)
        assert (ejected["kind"], ejected["upstream"], ejected["cause"]) == ("ejected", ill.address, "outlier")
        asked = ill.requests
        assert await statuses(balancer, 10 * workers) == {200: 10 * workers}
        assert ill.requests == asked
        await balancer.shows('balancer_ejections_total{cause="outlier",pool="default"}', 1.0)


async def test_an_outlier_found_by_one_worker_is_known_to_all_within_a_tenth_of_a_second() -> None:
    async with before(2, WORKERS="2", **FOR_LONG) as (balancer, apps):
        clients = [await balancer.connect() for _ in range(12)]  # hardly all at one worker

        async def ask(client: Client) -> int:
            client.send()
            return (await client.answer()).status

        apps[0].status = 500
        finder, others = clients[0], clients[1:]
        while apps[0].requests < CONSECUTIVE:
            await ask(finder)
        await asyncio.sleep(0.1)  # the documented bound; no event shows when a worker has heard
        assert {await ask(client) for client in others for _ in range(4)} == {200}
        assert apps[0].requests == CONSECUTIVE


async def test_clients_see_no_500_if_500_is_retried() -> None:
    async with before(4, RETRY__STATUSES="500,502,503,504", **FOR_LONG) as (balancer, apps):
        apps[1].status = 500
        assert await statuses(balancer, 60) == {200: 60}
        assert [one["kind"] for one in await events(balancer)] == ["ejected"]
        assert apps[1].requests == CONSECUTIVE


async def test_responses_in_flight_at_the_ejection_reach_clients_and_no_more() -> None:
    async with before(2, **FOR_LONG) as (balancer, apps):
        apps[0].status = 500
        waiting = 20
        clients = [await balancer.connect() for _ in range(waiting)]
        for client in clients:
            client.send("/hold")
        for app in apps:
            for _ in range(waiting // 2):
                await app.holds()
            app.release.set()
        answers = await asyncio.gather(*(client.answer() for client in clients))
        later = await statuses(balancer, 20)
        assert Counter(answer.status for answer in answers) == {200: waiting // 2, 500: waiting // 2}
        assert later == {200: 20}


async def test_an_upstream_that_refuses_is_ejected_and_clients_notice_nothing() -> None:
    async with before(2, **FOR_LONG) as (balancer, apps):
        gone = apps[0].address
        await apps[0].leave()
        assert await statuses(balancer, 20) == {200: 20}
        (ejected,) = await events(balancer)
        assert (ejected["kind"], ejected["upstream"], ejected["cause"]) == ("ejected", gone, "outlier")
        assert "3 consecutive failed attempts" in ejected["text"]


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_after_the_ejection_one_request_decides(workers: str) -> None:
    async with before(2, WORKERS=workers, **FOR_A_MOMENT) as (balancer, apps):
        ill = apps[0]
        ill.status = 500
        await statuses(balancer, 20 * int(workers))
        await has_become(balancer, "ejected", "probation")
        asked = ill.requests
        # Each worker tries it once, unless it first hears of another worker's failure.
        assert 1 <= (await statuses(balancer, 10))[500] <= int(workers)
        assert ill.requests - asked <= int(workers)
        ill.status = 200

        async def is_readmitted() -> bool:
            assert await statuses(balancer, 2) == {200: 2}
            return bool((await events(balancer))[-1]["kind"] == "readmitted")

        await until(is_readmitted)
        kinds = [one["kind"] for one in await events(balancer)]
        assert kinds == ["ejected", "probation", "ejected", "probation", "readmitted"]


async def test_the_last_upstream_stays() -> None:
    async with before(2, **FOR_LONG) as (balancer, apps):
        for app in apps:
            app.status = 500
        assert await statuses(balancer, 50) == {500: 50}
        assert [one["kind"] for one in await events(balancer)].count("ejected") <= 1
        text = (await get(balancer.admin_port, "/metrics")).body.decode()
        assert 'balancer_pool_panic{pool="default"} 0.0' in text


async def test_if_all_answer_500_none_is_ejected() -> None:
    async with before(4, **FOR_LONG) as (balancer, apps):
        assert await statuses(balancer, 20) == {200: 20}
        for app in apps:
            app.status = 500
        assert await statuses(balancer, 60) == {500: 60}
        assert [one["kind"] for one in await events(balancer)] == ["ejection_skipped"]
        assert (
            await balancer.metric('balancer_ejections_skipped_total{pool="default",reason="pool_wide"}') > 0
        )


async def test_501_does_not_count() -> None:
    async with before(2, **FOR_LONG) as (balancer, apps):
        apps[0].status = 501
        assert await statuses(balancer, 40) == {200: 20, 501: 20}
        assert await events(balancer) == []


async def test_outlier_detection_can_be_turned_off() -> None:
    async with before(2, OUTLIER__ENABLED="false") as (balancer, apps):
        apps[0].status = 500
        assert await statuses(balancer, 40) == {200: 20, 500: 20}
        assert await events(balancer) == []


async def test_a_new_worker_knows_the_ejected_upstreams() -> None:
    async with before(2, **FOR_LONG) as (balancer, apps):
        apps[0].status = 500
        await statuses(balancer, 20)
        (pid,) = balancer.workers()
        os.kill(pid, signal.SIGKILL)
        await balancer.says("is ready again")
        assert await statuses(balancer, 10) == {200: 10}
