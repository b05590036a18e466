"""A policy that blocks the worker's event loop: what is late by that is held against nobody."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.fakes.app_replica import app_replica
from tests.fakes.instance import Client, get, running

pytestmark = pytest.mark.integration

SLOW_POLICY = '''
import time
from balancer.policies.round_robin import RoundRobin

class Slow(RoundRobin):
    """Takes longer than any timeout of the test."""

    def pick(self, key, tried):
        time.sleep(0.2)
        return super().pick(key, tried)
'''
CLIENTS = 5
EACH = 3


@pytest.fixture
def slow_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "slow_policy.py").write_text(SLOW_POLICY)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "slow_policy:Slow"


async def _statuses(port: int) -> list[int]:
    client = await Client.connect(port)
    statuses = []
    for _ in range(EACH):
        client.send()
        statuses.append((await client.answer()).status)
    await client.close()
    return statuses


async def test_answers_and_connects_that_came_in_time_count_however_late_they_are_read(
    slow_policy: str,
) -> None:
    async with AsyncExitStack() as stack:
        apps = [await stack.enter_async_context(app_replica(f"app{number}")) for number in range(2)]
        balancer = await stack.enter_async_context(
            running(
                UPSTREAMS=",".join(app.address for app in apps),
                POLICY=slow_policy,
                WORKERS="1",
                KEEPALIVE__MAX_IDLE="0",  # each request dials
                TIMEOUTS__CONNECT="100ms",
                TIMEOUTS__FIRST_BYTE="150ms",
                OUTLIER__CONSECUTIVE_FAILURES="1",
                HEALTH_CHECK__ENABLED="false",
            )
        )
        await balancer.becomes_ready()
        answers = await asyncio.gather(*(_statuses(balancer.port) for _ in range(CLIENTS)))
        assert [status for each in answers for status in each] == [200] * CLIENTS * EACH
        metrics = (await get(balancer.admin_port, "/metrics")).body.decode()
        counts = [line for line in metrics.splitlines() if line.startswith(COUNTERS)]
        assert counts
        assert [line for line in counts if not line.endswith(" 0.0")] == []
        assert sum(app.requests for app in apps) == CLIENTS * EACH


COUNTERS = (
    "balancer_upstream_connect_failures_total",
    "balancer_ejections_total",
    "balancer_retries_total",
)
