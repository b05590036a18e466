"""examples/own_check: the app and the settings file as they are, with real processes on both sides."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fakes.instance import PATIENCE, Balancer, event, get, running, until

pytestmark = pytest.mark.integration

FOLDER = Path(__file__).parents[2] / "examples/own_check"
# The file's settings with upstreams on free ports, and a shorter interval.
OVERRULED = {"CONFIG": str(FOLDER / "balancer.yaml"), "HEALTH_CHECK__INTERVAL": "100ms"}


@dataclass(frozen=True, slots=True)
class App:
    """A running replica with a database of its own."""

    process: asyncio.subprocess.Process
    port: int
    database: Path

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


@asynccontextmanager
async def app(database: Path, leave_seconds: float = 0.0) -> AsyncIterator[App]:
    environ = {"DATABASE": str(database), "PORT": "0", "LEAVE_SECONDS": str(leave_seconds)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(FOLDER / "app.py"), env={**os.environ, **environ}, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            line = await process.stdout.readline()
        yield App(process, int(line.split()[-1]), database)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_a_replica_without_its_database_gets_no_requests_until_it_is_back(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        well, ill = [await stack.enter_async_context(app(tmp_path / name)) for name in ("well.db", "ill.db")]
        upstreams = f"{well.address},{ill.address}"
        balancer = await stack.enter_async_context(running(UPSTREAMS=upstreams, **OVERRULED))
        assert (await get(balancer.port)).body == b"0 orders\n"
        away = ill.database.rename(tmp_path / "away.db")
        ejected = await event(balancer, "ejected")
        assert (ejected["upstream"], ejected["cause"]) == (ill.address, "active_check")
        assert "503" in ejected["text"]
        await until(lambda: _serves_alone(balancer, well))
        away.rename(ill.database)
        readmitted = await event(balancer, "readmitted", after=ejected["revision"])
        assert readmitted["upstream"] == ill.address


async def test_a_replica_that_leaves_announces_it_and_loses_nothing(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        stays = await stack.enter_async_context(app(tmp_path / "stays.db"))
        leaves = await stack.enter_async_context(app(tmp_path / "leaves.db", leave_seconds=PATIENCE))
        upstreams = f"{stays.address},{leaves.address}"
        balancer = await stack.enter_async_context(running(UPSTREAMS=upstreams, **OVERRULED))
        leaves.process.send_signal(signal.SIGTERM)
        draining = await event(balancer, "draining")
        assert (draining["upstream"], draining["cause"]) == (leaves.address, "announced")
        assert (await get(leaves.port)).status == 200  # it still serves who asks
        await until(lambda: _serves_alone(balancer, stays))


async def test_a_replica_ends_by_itself_after_term(tmp_path: Path) -> None:
    async with app(tmp_path / "orders.db") as one:
        one.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            assert await one.process.wait() == 0


async def _serves_alone(balancer: Balancer, app: App) -> bool:
    """All of a few requests succeed, and `app` is the only eligible upstream."""
    assert [(await get(balancer.port)).status for _ in range(5)] == [200] * 5
    (pool,) = (await get(balancer.admin_port, "/api/pools")).json()["pools"]
    return [one["id"] for one in pool["upstreams"] if one["eligible"]] == [app.address]
