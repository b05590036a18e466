"""What happens on an ordinary day fires nothing: the shipped rules as they are, and a real Prometheus."""

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.fakes.app_replica import AppReplica, app_replica
from tests.fakes.prometheus import Series, prometheus
from tests.fakes.reloading import Reloading, other_workers, reloading
from tests.prometheus.rules import FILES
from tests.prometheus.scene import asking

pytestmark = [pytest.mark.integration, pytest.mark.slow]

INTERVAL = "500ms"
FIRING = 'max_over_time(ALERTS{alertstate="firing"}[1h])'


class Day:
    """A balancer under load, whose replicas are in a file."""

    def __init__(self, one: Reloading, members: Path, settings: dict[str, object]) -> None:
        self.one = one
        self.settings = settings
        self._members = members

    async def serves_by(self, *replicas: AppReplica) -> None:
        """List these replicas, and wait until each has got requests since."""
        listed(self._members, [one.address for one in replicas])
        before = [one.requests for one in replicas]
        async with asyncio.timeout(20):
            while any(one.requests <= count for one, count in zip(replicas, before, strict=True)):  # noqa: ASYNC110
                await asyncio.sleep(0.05)


def listed(members: Path, addresses: list[str]) -> None:
    """Replace the file in one step."""
    fresh = members.with_suffix(".new")
    fresh.write_text(json.dumps(addresses))
    fresh.replace(members)


async def ordinary(directory: Path) -> tuple[Series, Series]:
    """A rolling deploy, a reload that starts new workers, and a scale-in. Returns the alerts that fired, and
    the requests that the rules have counted."""
    members = directory / "members.json"
    async with AsyncExitStack() as stack:
        replicas = [await stack.enter_async_context(app_replica(f"{number}")) for number in range(6)]
        listed(members, [one.address for one in replicas[:3]])
        settings: dict[str, object] = {
            "upstreams": f"file://{members}",
            "slo": {"latency": "1s"},
            "workers": 2,
        }
        one = await stack.enter_async_context(
            reloading(directory, settings, HEALTH_CHECK__ENABLED="true", HEALTH_CHECK__INTERVAL="200ms")
        )
        server = await stack.enter_async_context(
            prometheus(
                directory,
                {"balancer": [one.balancer.admin_port]},
                rule_files=[str(file) for file in FILES],
                **{
                    "global": {
                        "scrape_interval": INTERVAL,
                        "scrape_timeout": INTERVAL,
                        "evaluation_interval": INTERVAL,
                    }
                },
            )
        )
        clients = [asyncio.create_task(asking(one.balancer.port, "/", 0.02)) for _ in range(6)]
        day = Day(one, members, settings)
        await server.scrapes(4)
        for number in range(3):  # a rolling deploy
            await day.serves_by(*replicas[number + 1 : number + 4])
            await replicas[number].leave()
        await one.reload(**settings, **other_workers())
        await server.scrapes(4)
        await day.serves_by(replicas[5])  # a scale-in
        for replica in replicas[3:5]:
            await replica.leave()
        await server.scrapes(4)
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
        return await server.query(FIRING), await server.query(
            "job_route_pool:balancer_slo_requests:increase1h"
        )


def test_a_deploy_a_reload_and_a_scale_in_fire_nothing(tmp_path: Path) -> None:
    fired, requests = asyncio.run(ordinary(tmp_path))
    assert fired == {}
    assert min(requests.values()) > 100  # the alerts about promises had enough to judge by
