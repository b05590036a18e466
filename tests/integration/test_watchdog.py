"""A real stuck worker is replaced with its stack logged; a late one loses nothing."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.app_replica import AppReplica, app_replica
from tests.fakes.instance import Balancer, get, gone, running

# Each waits for a silence of ten seconds.
pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.alone]

POLICY = """
import os
import time

from balancer.policies.round_robin import RoundRobin


class Slow(RoundRobin):
    summary = "as slow as a file says"

    def pick(self, key, tried):
        if os.path.exists(os.environ["STUCK"]):
            while not os.path.exists(os.environ["FREE"]):
                pass
        if os.path.exists(os.environ["LATE"]):
            time.sleep(1.0)
        return super().pick(key, tried)
"""
REQUESTS = 13  # of a second each: all but the first in one turn of the loop


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "slow_policy.py").write_text(POLICY)
    for name in ("STUCK", "LATE", "FREE"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


@pytest.fixture
async def app() -> AsyncIterator[AppReplica]:
    async with app_replica() as one:
        yield one


@pytest.fixture
async def balancer(places: Path, app: AppReplica) -> AsyncIterator[Balancer]:
    # The policy is asked only once per request, however late its worker is.
    patient = {"RETRY__MAX_ATTEMPTS": "1", "TIMEOUTS__CONNECT": "60s"}
    async with running(UPSTREAMS=app.address, POLICY="slow_policy:Slow", WORKERS="1", **patient) as started:
        await started.becomes_ready()
        yield started


async def test_a_worker_that_does_not_answer_logs_its_stack(balancer: Balancer, places: Path) -> None:
    (silent,) = balancer.workers()
    (places / "STUCK").touch()
    hanging = asyncio.create_task(get(balancer.port))
    await balancer.says(f"worker 0 (pid {silent}) does not answer; its stack goes to stderr")
    await balancer.says("slow_policy.py")
    (places / "FREE").touch()
    assert (await hanging).status == 200
    assert balancer.workers() == [silent]


async def test_a_stuck_worker_is_replaced(balancer: Balancer, places: Path) -> None:
    (stuck,) = balancer.workers()
    (places / "STUCK").touch()
    hanging = asyncio.create_task(get(balancer.port))
    await balancer.says(f"worker 0 (pid {stuck}) does not answer")
    (places / "STUCK").unlink()  # the worker is already stuck
    await balancer.says(f"worker 0 (pid {stuck}) is stuck; its successor takes over")
    await balancer.says("worker 0 is ready again")
    await gone(stuck)
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await hanging
    assert (await get(balancer.port)).status == 200
    assert stuck not in balancer.workers()


async def test_a_late_worker_answers_all_requests(balancer: Balancer, places: Path) -> None:
    (late,) = balancer.workers()
    (places / "LATE").touch()
    answers = await asyncio.gather(*(get(balancer.port) for _ in range(REQUESTS)))
    assert [answer.status for answer in answers] == [200] * REQUESTS
    assert await balancer.says(f"worker 0 (pid {late}) is late, but works: it is left alone")
    assert balancer.workers() == [late]
