"""A flood of the admin listener of a whole balancer: probes are admitted, and workers are replaced."""

import os
import resource
import signal
from contextlib import AsyncExitStack

import pytest

from tests.fakes.app_replica import app_replica
from tests.fakes.instance import Balancer, Client, get, gone, running

pytestmark = pytest.mark.integration

FEW_FILES = 96  # of the supervisor: fewer than it has allotted, as if something had used up the others
FLOOD = 300


async def flood(balancer: Balancer, stack: AsyncExitStack, count: int, sends: str = "") -> list[Client]:
    """Connections to the admin listener that are kept open on this side."""
    clients = []
    for _ in range(count):
        client = await Client.connect(balancer.admin_port)
        stack.push_async_callback(client.close)
        if sends:
            client.send(sends)
        clients.append(client)
    return clients


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


@pytest.mark.parametrize(
    "sends", ["", "/healthz", "/api/events?wait=60&after=LAST"], ids=["silent", "idle", "waiting"]
)
@pytest.mark.parametrize("limit", [FEW_FILES, 1024])
async def test_a_flood_of_the_admin_listener_stops_neither_probes_nor_worker_starts(
    limit: int, sends: str
) -> None:
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(app_replica())
        balancer = await stack.enter_async_context(running(UPSTREAMS=app.address, WORKERS="1"))
        resource.prlimit(balancer.pid, resource.RLIMIT_NOFILE, (limit, limit))
        sends = sends.replace("LAST", str((await get(balancer.admin_port, "/api/events")).json()["last"]))
        await flood(balancer, stack, FLOOD, sends)
        assert open_files(balancer.pid) <= limit
        assert (await balancer.readiness()).status == 200
        (worker,) = balancer.workers()
        os.kill(worker, signal.SIGKILL)
        await gone(worker)
        await balancer.says("worker 0 is ready again")
        assert (await get(balancer.port)).status == 200
        await flood(balancer, stack, FLOOD, sends)
        assert (await balancer.readiness()).status == 200
