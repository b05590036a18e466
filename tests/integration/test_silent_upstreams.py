"""Replicas that answer neither checks nor requests: requests waiting there are moved."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.app_replica import app_replica
from tests.fakes.instance import Answer, Balancer, Client, get, running, stop, until
from tests.fakes.lone_worker import LoneWorker, lone_worker

pytestmark = pytest.mark.integration

# From the first check that times out to the ejection it takes some 0.6 s: enough to send the requests.
CHECKS = {
    "HEALTH_CHECK__INTERVAL": "300ms",
    "HEALTH_CHECK__TIMEOUT": "200ms",
    "HEALTH_CHECK__FALL": "3",
    "POLICY": "round_robin",
}
SOON = 1.0  # seconds: a fraction of one, plus a margin for a busy machine


@asynccontextmanager
async def harness(
    directory: Path, count: int = 2, **settings: str
) -> AsyncIterator[tuple[Balancer, list[LoneWorker]]]:
    async with AsyncExitStack() as stack:
        apps = [
            await stack.enter_async_context(lone_worker(f"app{number}", directory))
            for number in range(1, count + 1)
        ]
        upstreams = ",".join(app.address for app in apps)
        balancer = await stack.enter_async_context(running(UPSTREAMS=upstreams, **CHECKS, **settings))
        await balancer.becomes_ready()
        yield balancer, apps


async def event(balancer: Balancer, kind: str, upstream: str) -> dict[str, Any]:
    """Wait for the first event of this kind."""
    after = 0
    while True:
        events = (await get(balancer.admin_port, f"/api/events?after={after}&wait=20")).json()["events"]
        assert events, f"nothing happened for 20 s, and {upstream} was never {kind}"
        for one in events:
            if (one["kind"], one["upstream"]) == (kind, upstream):
                return dict(one)
        after = events[-1]["revision"]


async def silent_ones(balancer: Balancer, count: int = 1) -> list[str]:
    """Wait until `count` upstreams have been found silent; returns the first ones."""
    found: list[str] = []

    async def are_found() -> bool:
        events = (await get(balancer.admin_port, "/api/events")).json()["events"]
        found[:] = [one["upstream"] for one in events if one["kind"] == "silent"]
        return len(found) >= count

    await until(are_found)
    return found[:count]


async def kinds(balancer: Balancer) -> set[str]:
    return {one["kind"] for one in (await get(balancer.admin_port, "/api/events")).json()["events"]}


async def frozen(balancer: Balancer, app: LoneWorker) -> None:
    """Stop `app`, and wait until the first check has timed out."""
    await stop(app.pid)
    labels = f'pool="default",result="timeout",upstream="{app.address}"'

    async def is_late() -> bool:
        return await balancer.metric(f"balancer_active_checks_total{{{labels}}}") > 0

    await until(is_late)


async def ask(balancer: Balancer, method: str = "GET", target: str = "/") -> tuple[str, Answer]:
    client = await Client.connect(balancer.port)
    try:
        client.send(target, method)
        return method, await client.answer()
    finally:
        await client.close()


def seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_requests_waiting_at_a_frozen_replica_move_or_fail(tmp_path: Path, workers: str) -> None:
    async with harness(tmp_path, WORKERS=workers) as (balancer, (ill, well)):
        await frozen(balancer, ill)
        asked = [asyncio.create_task(ask(balancer, method)) for method in ["GET"] * 20 + ["POST"] * 20]
        silent = await event(balancer, "silent", ill.address)
        answers = await asyncio.gather(*asked)

        gets = [answer for method, answer in answers if method == "GET"]
        assert {(answer.status, answer.body) for answer in gets} == {(200, b"app2")}
        refused = [answer for method, answer in answers if answer.status != 200]
        assert len(refused) >= 5  # about half of the POSTs: each worker takes its own turns
        for answer in refused:
            assert answer.status == 504
            assert b"it failed its checks while this request waited" in answer.body

        lines = await balancer.logs_access(40)
        saved = [line for line in lines if line["method"] == "GET" and line["attempts"] == 2]
        lost = [line for line in lines if line["method"] == "POST" and line["status"] == 504]
        assert len(saved) >= 5
        assert len(lost) == len(refused)
        for line in saved:
            assert (line["upstream"], line["tried"]) == (well.address, [ill.address, well.address])
        for line in lost:
            assert (line["upstream"], line["reason"]) == (ill.address, "upstream_unresponsive")
        for line in saved + lost:
            assert -0.1 < seconds(line["time"]) - seconds(silent["time"]) < SOON

        async def are_told() -> bool:
            told = (await get(balancer.admin_port, "/api/failures")).json()["failures"]
            tries = [[(one["upstream"], one["failure"]) for one in failure["attempts"]] for failure in told]
            return tries == [[(ill.address, "upstream_unresponsive")]] * len(lost)

        await until(are_told)
        retries = 'balancer_retries_total{pool="default",reason="upstream_unresponsive"}'
        await balancer.shows(retries, len(saved))
        local = 'balancer_local_responses_total{code="504",reason="upstream_unresponsive"}'
        await balancer.shows(local, len(lost))


async def test_a_request_that_fails_at_the_next_replica_too_is_reported_with_both(tmp_path: Path) -> None:
    async with harness(tmp_path, OUTLIER__ENABLED="false") as (balancer, (ill, well)):
        await frozen(balancer, ill)
        answers = await asyncio.gather(*(ask(balancer, target="/drop") for _ in range(4)))
        assert {answer.status for _, answer in answers} == {502, 504}
        waited, dropped = (ill.address, "upstream_unresponsive"), (well.address, "upstream_closed")
        for line in await balancer.logs_access(4):
            assert sorted(line["tried"]) == sorted([ill.address, well.address])
            # The client is told of the last failure.
            assert (line["upstream"], line["reason"]) == (dropped if line["status"] == 502 else waited)

        async def are_told() -> bool:
            told = (await get(balancer.admin_port, "/api/failures")).json()["failures"]
            tries = {tuple((one["upstream"], one["failure"]) for one in each["attempts"]) for each in told}
            return tries == {(waited, dropped), (dropped, waited)}

        await until(are_told)


async def test_a_request_in_work_at_a_single_worker_app_is_left_to_it(tmp_path: Path) -> None:
    """It looks the same from outside: checks time out, and no request is answered. But it was sent before
    them."""
    async with harness(tmp_path) as (balancer, (first, second)):
        asked = asyncio.create_task(ask(balancer, "POST", "/hold"))
        apps = {app.address: app for app in (first, second)}
        (busy,) = await silent_ones(balancer)
        assert not asked.done()
        apps[busy].release()
        _, answer = await asked
        assert (answer.status, answer.body) == (200, apps[busy].name.encode())


async def test_a_slow_page_starts_at_two_single_worker_apps_but_not_at_all(
    tmp_path: Path,
) -> None:
    async with harness(tmp_path, count=3) as (balancer, apps):
        asked = asyncio.create_task(ask(balancer, "GET", "/hold"))
        first, second = await silent_ones(balancer, 2)
        assert not asked.done()
        for app in apps:
            app.release()
        _, answer = await asked
        assert answer.status == 200
        (line,) = await balancer.logs_access(1)
        assert (line["tried"], line["upstream"]) == ([first, second], second)


async def test_if_all_replicas_are_frozen_waiting_requests_keep_waiting(tmp_path: Path) -> None:
    async with harness(tmp_path) as (balancer, apps):
        for app in apps:
            await stop(app.pid)
        asked = [asyncio.create_task(ask(balancer, method)) for method in ("GET", "POST") * 4]
        await event_of_pool(balancer, "panic")
        for app in apps:
            os.kill(app.pid, signal.SIGCONT)
        assert {answer.status for _, answer in await asyncio.gather(*asked)} == {200}
        assert "silent" not in await kinds(balancer)


async def event_of_pool(balancer: Balancer, kind: str) -> None:
    async def has_come() -> bool:
        return kind in await kinds(balancer)

    await until(has_come)


async def test_a_replica_ejected_for_its_responses_keeps_its_running_requests(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        apps = [await stack.enter_async_context(app_replica(f"app{number}")) for number in (1, 2)]
        upstreams = ",".join(app.address for app in apps)
        balancer = await stack.enter_async_context(running(UPSTREAMS=upstreams, **CHECKS))
        await balancer.becomes_ready()
        asked = [asyncio.create_task(ask(balancer, method, "/hold")) for method in ("GET", "POST") * 2]
        for app in apps:
            await app.holds()
            await app.holds()
        leaving = apps[0]
        leaving.status = 503
        await event(balancer, "ejected", leaving.address)
        checked = leaving.checks

        async def goes_on() -> bool:
            return leaving.checks > checked + 3

        await until(goes_on)
        assert not any(one.done() for one in asked)
        leaving.status = 200
        for app in apps:
            app.release.set()
        answers = await asyncio.gather(*asked)
        assert sorted(answer.body for _, answer in answers) == [b"app1"] * 2 + [b"app2"] * 2
        assert "silent" not in await kinds(balancer)
