"""A policy that blocks the worker's event loop: its lateness is blamed on no upstream."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from tests.fakes.app_replica import AppReplica, app_replica
from tests.fakes.instance import Balancer, Client, get, running

# The apps must answer within 150 ms, which a busy machine does not allow them.
pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.alone]

ROOT = Path(__file__).parents[2]
CLIENTS = 4
COUNTERS = (
    "balancer_upstream_connect_failures_total",
    "balancer_ejections_total",
    "balancer_retries_total",
    "balancer_queue_rejected_total",
)


@pytest.fixture(autouse=True)
def _workers_find_the_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@asynccontextmanager
async def late(options: str, **settings: str) -> AsyncIterator[tuple[Balancer, list[AppReplica]]]:
    """Two apps that answer at once, and one worker whose policy takes longer than any timeout."""
    async with AsyncExitStack() as stack:
        apps = [await stack.enter_async_context(app_replica(f"app{number}")) for number in range(2)]
        balancer = await stack.enter_async_context(
            running(
                UPSTREAMS=",".join(app.address for app in apps),
                POLICY="tests.fakes.slow_policy:Slow",
                POLICY_OPTIONS=options,
                WORKERS="1",
                TIMEOUTS__CONNECT="100ms",
                TIMEOUTS__FIRST_BYTE="150ms",
                OUTLIER__CONSECUTIVE_FAILURES="1",
                **settings,
            )
        )
        await balancer.becomes_ready()
        yield balancer, apps


async def statuses(port: int, requests: int) -> list[int]:
    """Requests of one client, each after the response to the previous one."""
    client = await Client.connect(port)
    found = []
    for _ in range(requests):
        client.send()
        found.append((await client.answer()).status)
    await client.close()
    return found


async def nobody_is_blamed(balancer: Balancer, apps: list[AppReplica], requests: int) -> None:
    """All were answered once, without any counted failure, retry, ejection or limit."""
    answers = await asyncio.gather(*(statuses(balancer.port, requests) for _ in range(CLIENTS)))
    assert [status for each in answers for status in each] == [200] * CLIENTS * requests
    metrics = (await get(balancer.admin_port, "/metrics")).body.decode()
    counts = [line for line in metrics.splitlines() if line.startswith(COUNTERS)]
    assert {name for name in COUNTERS if any(line.startswith(name) for line in counts)} == set(COUNTERS)
    assert [line for line in counts if not line.endswith(" 0.0")] == []
    assert "balancer_upstream_inflight_limit{" not in metrics
    assert sum(app.requests for app in apps) == CLIENTS * requests


async def test_answers_and_connects_that_arrived_in_time_count_however_late_they_are_read() -> None:
    """Each pick takes 200 ms, and each request dials."""
    settings = {"KEEPALIVE__MAX_IDLE": "0", "HEALTH_CHECK__ENABLED": "false"}
    async with late('{"stall": 0.2}', **settings) as (balancer, apps):
        await nobody_is_blamed(balancer, apps, 2)


async def test_one_long_turn_under_load_counts_against_no_upstream() -> None:
    """Once in 120 requests the loop stalls for a second, seven times the first-byte timeout, while checks
    go on."""
    checks = {"HEALTH_CHECK__INTERVAL": "200ms", "HEALTH_CHECK__TIMEOUT": "150ms"}
    async with late('{"stall": 1.0, "at": 50}', KEEPALIVE__MAX_IDLE="10", **checks) as (balancer, apps):
        await nobody_is_blamed(balancer, apps, 30)
        shown = (await get(balancer.admin_port, "/api/events")).json()["events"]
        assert not {"ejected", "probation", "overload"} & {one["kind"] for one in shown}
