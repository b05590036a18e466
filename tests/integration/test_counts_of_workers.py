"""Metrics are the sums of what all workers have counted, also those that are no more."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.app_replica import app_replica
from tests.fakes.instance import Balancer, Client, until
from tests.fakes.reloading import Reloading, other_workers, reloading
from tests.fakes.visitors import Visitors

pytestmark = pytest.mark.integration

WORKERS = 4
CLIENTS = 16
REQUESTS = 'balancer_requests_total{code="200",method="GET",pool="default",route="default"}'
DURATIONS = 'balancer_request_duration_seconds_count{pool="default",route="default"}'


async def ask_all(clients: list[Client], times: int) -> int:
    """Each client asks so often; returns the number of requests."""
    for _ in range(times):
        for client in clients:
            client.send()
        assert {(await client.answer()).status for client in clients} == {200}
    return times * len(clients)


async def kill_one(balancer: Balancer, kills: int) -> None:
    """Kill a worker, and wait until another one serves in its place. `kills` is how many that makes."""
    os.kill(balancer.workers()[0], signal.SIGKILL)
    await until(lambda: has_restarted(balancer, kills))
    await balancer.becomes_ready()


async def has_restarted(balancer: Balancer, kills: int) -> bool:
    series = [f'balancer_worker_restarts_total{{worker="{number}"}}' for number in range(WORKERS)]
    return sum([await balancer.metric(one) for one in series]) == kills


@asynccontextmanager
async def watched(balanced: Reloading) -> AsyncIterator[None]:
    """Meanwhile no counter decreases from one scrape to the next."""

    async def watch() -> None:
        last: dict[str, float] = {}
        while True:
            now = await balanced.counts()
            less = {name: (last[name], value) for name, value in now.items() if value < last.get(name, 0)}
            assert not less
            last = now

    task = asyncio.create_task(watch())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_counts_are_what_clients_sent_whichever_workers_served_them(tmp_path: Path) -> None:
    """Workers that were killed have lost no counts: those of a worker without requests are exact."""
    async with app_replica("one") as one, app_replica("two") as two:
        settings: dict[str, Any] = {"upstreams": [one.address, two.address], "workers": WORKERS}
        async with reloading(tmp_path, settings) as balanced:
            balancer = balanced.balancer
            sent = 0

            async def adds_up() -> None:
                await balancer.shows(REQUESTS, sent)
                await balancer.shows(DURATIONS, sent)
                assert one.requests + two.requests == sent

            async with watched(balanced):
                for kills in (1, 2):
                    sent += await ask_all([await balancer.connect() for _ in range(CLIENTS)], 3)
                    await adds_up()
                    await kill_one(balancer, kills)
                kept = [await balancer.connect() for _ in range(CLIENTS)]
                sent += await ask_all(kept, 2)
                for workers in (WORKERS, 2, 3):
                    await balanced.reload(**{**settings, **other_workers(), "workers": workers})
                    sent += await ask_all(kept, 1)  # the last one at a worker of before
                    kept = [await balancer.connect() for _ in range(CLIENTS)]
                    sent += await ask_all(kept, 2)
                    await adds_up()


async def test_no_count_decreases_while_busy_workers_are_killed(tmp_path: Path) -> None:
    async with app_replica() as replica:
        settings = {"upstreams": replica.address, "workers": WORKERS}
        async with reloading(tmp_path, settings) as balanced:
            port = balanced.balancer.port
            visitors = Visitors(lambda: asyncio.open_connection("127.0.0.1", port), every=0.05)
            async with visitors.coming(), watched(balanced):
                for kills in (1, 2, 3):
                    await kill_one(balanced.balancer, kills)
                await balanced.reload(**settings, **other_workers())
            assert len(visitors.visits) > sum(visitors.failures().values())
