"""The site of the case `routes`: every proxy sends each request to the same pool."""

import asyncio
import http.client
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from loadtests.bench import contenders, site
from loadtests.bench.cases import CASES, ROUTING
from loadtests.bench.setup import Place
from loadtests.processes import Processes, free_ports
from tests.fakes.app_replica import app_replica

NAMES = [name for name in contenders.installed(ROUTING) if name != "plain"]


def test_the_site_has_fifty_routes_and_a_request_for_each() -> None:
    assert len(site.ROUTES) == len(set(site.requests())) == 50
    assert {one.pool for one in site.ROUTES} == set(range(site.POOLS))
    assert CASES["routes"].setup.upstreams % site.POOLS == 0


def pools_of(port: int) -> list[str]:
    """Which pool has answered each of the site's requests."""
    found = []
    for host, path in site.requests():
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20.0)
        connection.request("GET", path, headers={"Host": host})
        found.append(connection.getresponse().read().decode())
        connection.close()
    return found


@pytest.mark.integration
@pytest.mark.parametrize("name", NAMES)
async def test_every_proxy_sends_each_request_to_the_same_pool(name: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        apps = [await stack.enter_async_context(app_replica(f"pool {at}")) for at in range(site.POOLS)]
        port, spare = free_ports(2)
        place = Place(tmp_path, port, spare, [app.port for app in apps])
        launch = contenders.launch(name, place, CASES["routes"].setup)
        with Processes(tmp_path) as processes:
            pid = processes.start(name, launch.argv, None, launch.environment)
            await asyncio.to_thread(processes.wait_for_body, name, pid, port, len("pool 9"))
            found = await asyncio.to_thread(pools_of, port)
    assert found == [f"pool {one.pool}" for one in site.ROUTES]
