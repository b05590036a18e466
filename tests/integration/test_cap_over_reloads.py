"""The cap on an upstream's requests holds while workers of earlier generations still have some."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.app_replica import app_replica
from tests.fakes.instance import Client
from tests.fakes.reloading import Reloading, other_workers, reloading

pytestmark = pytest.mark.integration

CAP = 8
INFLIGHT = 'balancer_requests_inflight{pool="default",route="default"}'  # at the app, or in a queue


async def holding(balanced: Reloading, count: int) -> list[Client]:
    """So many more requests that wait for `release`, at the app or in the queue."""
    clients = [await balanced.balancer.connect() for _ in range(count)]
    for client in clients:
        client.send("/hold")
    return clients


@pytest.mark.parametrize("workers", [1, 4])
async def test_requests_of_draining_workers_count_towards_the_cap(tmp_path: Path, workers: int) -> None:
    """Over several reloads; once they have ended, others get their slots."""
    async with app_replica() as replica:
        settings: dict[str, Any] = {
            "upstreams": replica.address,
            "workers": workers,
            "adaptive": {"enabled": False},
            "timeouts": {"first_byte": "1m"},
        }

        def capped() -> dict[str, Any]:
            changed = other_workers()
            changed["limits"] |= {"max_inflight": CAP, "queue_timeout": "1m"}
            return {**settings, **changed}

        async with reloading(tmp_path, capped()) as balanced:
            clients = await holding(balanced, CAP // 2)
            await balanced.balancer.shows(INFLIGHT, CAP // 2)
            for _ in range(2):
                await balanced.reload(**capped())
                clients += await holding(balanced, 3 * CAP)
            for _ in range(CAP):  # with what was left, in whichever worker
                await replica.holds()
            await balanced.balancer.shows(INFLIGHT, len(clients))
            assert replica.most_held == CAP
            replica.release.set()
            answers = await asyncio.gather(*(client.answer() for client in clients))
            assert [answer.status for answer in answers] == [200] * len(clients)
            await balanced.has_workers(workers)
