"""Retries in a whole balancer: what one replica cannot answer another one does, unknown to the client."""

from contextlib import AsyncExitStack

import pytest

from tests.fakes.app_replica import AppReplica, app_replica
from tests.fakes.instance import Balancer, get, running

pytestmark = pytest.mark.integration


async def scene(stack: AsyncExitStack, **settings: str) -> tuple[Balancer, AppReplica, AppReplica]:
    """A balancer without checks before two replicas, in turn."""
    apps = [await stack.enter_async_context(app_replica(f"app{number}")) for number in (1, 2)]
    balancer = await stack.enter_async_context(
        running(
            UPSTREAMS=",".join(app.address for app in apps),
            POLICY="round_robin",
            HEALTH_CHECK__ENABLED="false",
            **settings,
        )
    )
    return balancer, apps[0], apps[1]


async def test_what_one_cannot_answer_another_does() -> None:
    async with AsyncExitStack() as stack:
        balancer, ill, well = await scene(stack)
        ill.status = 503
        answers = [await get(balancer.port) for _ in range(8)]
        assert {answer.status for answer in answers} == {200}
        assert well.requests == 8
        assert ill.requests > 0
        retries = 'balancer_retries_total{pool="default",reason="status"}'
        assert await balancer.metric(retries) == ill.requests


async def test_when_all_say_no_the_last_ones_word_is_passed_on() -> None:
    async with AsyncExitStack() as stack:
        balancer, first, second = await scene(stack)
        first.status = second.status = 503
        answer = await get(balancer.port)
        assert (answer.status, "Proxy-Status" in answer.head) == (503, False)
        assert (first.requests, second.requests) == (1, 1)


async def test_retries_stay_within_their_budget() -> None:
    async with AsyncExitStack() as stack:
        balancer, ill, _ = await scene(
            stack, RETRY__BUDGET_RATIO="0", RETRY__BUDGET_MIN_PER_SECOND="0", RETRY__STATUSES="503"
        )
        ill.status = 503
        answers = [await get(balancer.port) for _ in range(10)]
        assert [answer.status for answer in answers].count(503) == ill.requests
        assert await balancer.metric('balancer_retry_budget_exhausted_total{pool="default"}') == ill.requests
