"""Active checks in a whole balancer: a failing upstream gets no requests until it passes again."""

from contextlib import AsyncExitStack

import pytest

from tests.fakes.app_replica import AppReplica, app_replica
from tests.fakes.instance import Balancer, event, get, running, until

pytestmark = pytest.mark.integration

CHECKS = {"HEALTH_CHECK__INTERVAL": "100ms"}


async def replicas(stack: AsyncExitStack, count: int) -> list[AppReplica]:
    return [await stack.enter_async_context(app_replica(f"app{number}")) for number in range(count)]


def upstreams(apps: list[AppReplica]) -> str:
    return ",".join(app.address for app in apps)


async def statuses(balancer: Balancer, count: int) -> set[int]:
    return {(await get(balancer.port)).status for _ in range(count)}


# A worker hears of a change shortly after the event: only the effect can be waited for.


async def spared(balancer: Balancer, app: AppReplica) -> None:
    """Wait until `app` gets no more requests."""

    async def is_spared() -> bool:
        before = app.requests
        await statuses(balancer, 5)
        return app.requests == before

    await until(is_spared)


async def served_again(balancer: Balancer, app: AppReplica, before: int) -> bool:
    assert await statuses(balancer, 2) == {200}
    return app.requests > before


async def answers(balancer: Balancer, status: int) -> bool:
    return (await get(balancer.port)).status == status


async def tells(balancer: Balancer, reason: str) -> bool:
    failures = (await get(balancer.admin_port, "/api/failures")).json()["failures"]
    return any(failure["reason"] == reason for failure in failures)


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_an_upstream_that_fails_its_checks_gets_no_requests_until_it_passes(workers: str) -> None:
    async with AsyncExitStack() as stack:
        well, ill = apps = await replicas(stack, 2)
        balancer = await stack.enter_async_context(
            running(UPSTREAMS=upstreams(apps), WORKERS=workers, **CHECKS)
        )
        ill.status = 500
        ejected = await event(balancer, "ejected")
        assert (ejected["upstream"], ejected["cause"]) == (ill.address, "active_check")
        assert "500" in ejected["text"]
        await spared(balancer, ill)
        before = ill.requests
        assert await statuses(balancer, 20) == {200}
        assert ill.requests == before
        labels = f'pool="default",upstream="{ill.address}"'
        await balancer.shows(f"balancer_upstream_up{{{labels}}}", 0.0)
        await balancer.shows('balancer_ejections_total{cause="active_check",pool="default"}', 1.0)

        ill.status = 200
        readmitted = await event(balancer, "readmitted", ejected["revision"])
        assert readmitted["upstream"] == ill.address
        await until(lambda: served_again(balancer, ill, before))
        assert well.checks > 0


async def test_if_all_fail_their_checks_all_are_used() -> None:
    async with AsyncExitStack() as stack:
        apps = await replicas(stack, 2)
        balancer = await stack.enter_async_context(
            running(UPSTREAMS=upstreams(apps), HEALTH_CHECK__EXPECT="204", **CHECKS)
        )
        await event(balancer, "panic")
        await until(lambda: answers(balancer, 200))
        assert await statuses(balancer, 4) == {200}
        await balancer.shows('balancer_pool_panic{pool="default"}', 1.0)


async def test_without_panic_no_upstream_is_left() -> None:
    async with AsyncExitStack() as stack:
        apps = await replicas(stack, 1)
        balancer = await stack.enter_async_context(
            running(UPSTREAMS=upstreams(apps), HEALTH_CHECK__EXPECT="204", PANIC="off", **CHECKS)
        )
        await event(balancer, "ejected")
        await until(lambda: answers(balancer, 503))
        await until(lambda: tells(balancer, "no_upstream"))


async def test_an_app_that_announces_its_draining_gets_no_new_requests() -> None:
    async with AsyncExitStack() as stack:
        _, leaving = apps = await replicas(stack, 2)
        balancer = await stack.enter_async_context(
            running(UPSTREAMS=upstreams(apps), HEALTH_CHECK__DRAIN_STATUS="503", **CHECKS)
        )
        leaving.status = 503
        draining = await event(balancer, "draining")
        assert (draining["upstream"], draining["cause"]) == (leaving.address, "announced")
        await spared(balancer, leaving)
        before = leaving.requests
        assert await statuses(balancer, 10) == {200}
        assert leaving.requests == before


async def test_checks_can_be_turned_off() -> None:
    async with AsyncExitStack() as stack:
        (app,) = apps = await replicas(stack, 1)
        balancer = await stack.enter_async_context(
            running(UPSTREAMS=upstreams(apps), HEALTH_CHECK__ENABLED="false")
        )
        await balancer.becomes_ready()
        assert await statuses(balancer, 2) == {200}
        assert app.checks == 0
