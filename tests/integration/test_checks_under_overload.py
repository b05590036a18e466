"""Overloaded replicas whose checks wait in a backlog: a slow replica stays, a hanging one is ejected."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from tests.fakes.app_replica import AppReplica, app_replica
from tests.fakes.instance import PATIENCE, Balancer, get, running, until

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.alone]

# A replica works on each request for 20 ms, one at a time: 30 in its backlog are a wait of 600 ms, in which
# all checks time out. It also works on requests whose clients have left, so these are few enough to leave
# capacity for others. Shorter times would test this process, which runs all replicas: one without CPU for two
# checks does not answer, and is rightly ejected.
TAKES = 0.02
CLIENTS = 60
LEAVING = 12
IMPATIENT = 0.4  # seconds
SETTINGS = {"HEALTH_CHECK__INTERVAL": "500ms", "HEALTH_CHECK__TIMEOUT": "250ms"}
SLOW_CHECKS = 6  # three times FALL


@asynccontextmanager
async def overloaded(leaving: int, workers: str) -> AsyncIterator[tuple[Balancer, list[AppReplica]]]:
    """A balancer in front of two replicas under a closed loop of clients, `leaving` of which give up soon."""
    async with app_replica("one") as one, app_replica("two") as two:
        apps = [one, two]
        upstreams = ",".join(app.address for app in apps)
        async with running(UPSTREAMS=upstreams, WORKERS=workers, **SETTINGS) as balancer:
            for app in apps:
                app.takes = TAKES
            patience = [IMPATIENT] * leaving + [PATIENCE] * (CLIENTS - leaving)
            clients = [asyncio.create_task(ask_on(balancer, seconds)) for seconds in patience]
            try:
                yield balancer, apps
            finally:
                for client in clients:
                    client.cancel()
                await asyncio.gather(*clients, return_exceptions=True)


async def ask_on(balancer: Balancer, patience: float) -> None:
    """A client that repeats requests, and leaves whenever it has waited for too long."""
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await get(balancer.port)


async def events(balancer: Balancer) -> list[tuple[str, str | None]]:
    found = (await get(balancer.admin_port, "/api/events")).json()["events"]
    return [(one["kind"], one["upstream"]) for one in found]


async def checks(balancer: Balancer, app: AppReplica, result: str) -> float:
    labels = f'pool="default",result="{result}",upstream="{app.address}"'
    return await balancer.metric(f"balancer_active_checks_total{{{labels}}}")


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("leaving", [0, LEAVING], ids=["all wait", "some leave"])
async def test_a_serving_replica_stays_and_a_hanging_one_is_ejected(leaving: int, workers: str) -> None:
    async with overloaded(leaving, workers) as (balancer, apps):

        async def all_slow() -> bool:
            return all([await checks(balancer, app, "slow") >= SLOW_CHECKS for app in apps])

        await until(all_slow)
        assert await events(balancer) == []
        ill, well = apps
        ill.hangs = True

        async def is_out() -> bool:
            return ("ejected", ill.address) in await events(balancer)

        async with asyncio.timeout(5.0):  # FALL x INTERVAL + TIMEOUT are 1.25
            await until(is_out)
        before = await checks(balancer, well, "slow")

        async def goes_on() -> bool:
            return await checks(balancer, well, "slow") >= before + SLOW_CHECKS

        await until(goes_on)
        # The pool's overload, with many departures, is a separate event.
        of_upstreams = [one for one in await events(balancer) if one != ("overload", None)]
        assert of_upstreams == [("ejected", ill.address), ("silent", ill.address)]
