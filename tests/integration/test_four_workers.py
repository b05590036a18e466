"""What is one for the whole instance stays one with four workers: checks, ejections, turns, load.

Connections are spread over the workers by the kernel, so no test knows which worker serves a client.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from typing import Any

import pytest

from tests.fakes.app import App
from tests.fakes.app_replica import AppReplica, app_replica
from tests.fakes.instance import Balancer, Client, event, running

pytestmark = pytest.mark.integration

WORKERS = 4
CLIENTS = 32  # one in 2,500 such sets leaves a worker without a client
KNOWN_TO_ALL = 0.1  # seconds, as documented
BUSY_MACHINE = 0.4  # seconds by which the processes of a test may be late
INFLIGHT = 'balancer_requests_inflight{pool="default",route="default"}'
CONSECUTIVE = 5  # the default of OUTLIER__CONSECUTIVE_5XX


class Replica(App):
    """Remembers when requests came, in seconds since the epoch, and when checks came, in seconds of the
    monotonic clock."""

    def __init__(self) -> None:
        super().__init__()
        self.status = 200
        self.check_status = 200
        self.requests: list[float] = []
        self.checks: list[float] = []
        self.checked = asyncio.Condition()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        status = self.status
        if b"User-Agent: balancer-check/" in head:
            status = self.check_status
            self.checks.append(time.monotonic())
            async with self.checked:
                self.checked.notify_all()
        else:
            self.requests.append(time.time())
        writer.write(b"HTTP/1.1 %d Said\r\nContent-Length: 0\r\n\r\n" % status)
        return True


@asynccontextmanager
async def before(count: int, **settings: str) -> AsyncIterator[tuple[Balancer, list[Replica]]]:
    async with AsyncExitStack() as stack:
        replicas = [Replica() for _ in range(count)]
        for replica in replicas:
            await stack.enter_async_context(replica.listening())
        upstreams = ",".join(replica.address for replica in replicas)
        started = running(UPSTREAMS=upstreams, WORKERS=str(WORKERS), **settings)
        yield await stack.enter_async_context(started), replicas


async def ask(client: Client, times: int = 1) -> Counter[int]:
    """Status -> number of answers to requests one after the other."""
    seen: Counter[int] = Counter()
    for _ in range(times):
        client.send()
        seen[(await client.answer()).status] += 1
    return seen


async def all_ask(clients: list[Client], times: int) -> Counter[int]:
    """The same, all at a time."""
    return sum(await asyncio.gather(*(ask(client, times) for client in clients)), Counter[int]())


def moment(of: dict[str, Any]) -> float:
    """When an event happened, in seconds since the epoch, to the millisecond."""
    return datetime.fromisoformat(of["time"]).timestamp()


async def test_each_upstream_is_checked_once_per_interval_whatever_the_number_of_workers() -> None:
    """Periods are between 0.9 and 1 times INTERVAL, and one beat of 50 ms early at most."""
    interval = 0.2
    async with before(3, HEALTH_CHECK__INTERVAL="200ms") as (_, replicas):
        for replica in replicas:
            async with asyncio.timeout(20), replica.checked:
                await replica.checked.wait_for(lambda: len(replica.checks) >= 8)  # noqa: B023 - awaited here
            second, *_, last = replica.checks[1:8]  # the first period is a shorter one
            assert (last - second) / 6 >= 0.9 * interval - 0.05


async def test_an_outlier_that_one_worker_finds_gets_no_request_of_any_worker_afterwards() -> None:
    settings = {"HEALTH_CHECK__ENABLED": "false", "OUTLIER__EJECTION_TIME": "1m"}
    async with before(3, **settings) as (balancer, replicas):
        finder, *others = [await balancer.connect() for _ in range(CLIENTS)]
        assert await all_ask(others, 6) == {200: 6 * len(others)}  # all workers have connections to all
        ill = replicas[0]
        ill.status = 500
        seen: Counter[int] = Counter()
        while seen[500] < CONSECUTIVE:
            seen += await ask(finder)
        found = time.time()
        await all_ask(others, 40)
        late = [at - found for at in ill.requests if at > found]
        assert max(late, default=0.0) < KNOWN_TO_ALL + BUSY_MACHINE
        assert await all_ask([finder, *others], 4) == {200: 4 * CLIENTS}


async def test_an_upstream_that_fails_its_checks_gets_no_request_of_any_worker_afterwards() -> None:
    async with before(3, HEALTH_CHECK__INTERVAL="100ms") as (balancer, replicas):
        clients = [await balancer.connect() for _ in range(CLIENTS)]
        ill = replicas[0]
        ill.check_status = 500
        ejection = asyncio.create_task(event(balancer, "ejected"))
        while not ejection.done():
            assert await all_ask(clients, 1) == {200: CLIENTS}
        ejected = moment(await ejection)
        assert await all_ask(clients, 40) == {200: 40 * CLIENTS}
        assert any(at < ejected for at in ill.requests)
        late = [at - ejected for at in ill.requests if at > ejected]
        assert max(late, default=0.0) < KNOWN_TO_ALL + BUSY_MACHINE
        assert len(replicas[1].requests) > len(ill.requests)


@pytest.mark.parametrize("count", [3, 5])
async def test_round_robin_is_even_over_all_workers(count: int) -> None:
    """A worker takes the upstreams in turn, so what it has sent to any two of them differs by one at most,
    however many requests it gets. So all of them together differ by the number of workers at most."""
    settings = {"POLICY": "round_robin", "HEALTH_CHECK__ENABLED": "false"}
    async with before(count, **settings) as (balancer, replicas):
        clients = [await balancer.connect() for _ in range(CLIENTS)]
        asked = 0
        for number in range(1, 5):  # clients that ask often, and ones that do not
            some = clients[: CLIENTS // number]
            await all_ask(some, 3)
            asked += 3 * len(some)
            shares = [len(replica.requests) for replica in replicas]
            assert sum(shares) == asked
            assert max(shares) - min(shares) <= WORKERS


@asynccontextmanager
async def holding(count: int, **settings: str) -> AsyncIterator[tuple[Balancer, list[AppReplica]]]:
    """Upstreams that are slow: they answer when they are told to."""
    async with AsyncExitStack() as stack:
        apps = [await stack.enter_async_context(app_replica(f"app{number}")) for number in range(count)]
        started = running(
            UPSTREAMS=",".join(app.address for app in apps),
            WORKERS=str(WORKERS),
            HEALTH_CHECK__ENABLED="false",
            ADAPTIVE__ENABLED="false",
            LIMITS__MAX_CONNECTIONS="1000",
            **settings,
        )
        yield await stack.enter_async_context(started), apps


@pytest.mark.parametrize(("count", "each"), [(4, 12), (16, 6)])
async def test_workers_fill_up_to_16_slow_upstreams_evenly_together(count: int, each: int) -> None:
    """All requests come at once. A worker fills the upstreams level, by what it sees of the others, which may
    be 5 ms old: so each worker has one more at one than at another at most."""
    async with holding(count) as (balancer, apps):
        clients = [await balancer.connect() for _ in range(count * each)]
        for client in clients:
            client.send("/hold")
        for _ in range(2):
            await balancer.shows(INFLIGHT, len(clients))
            held = await held_by(balancer, apps)
            assert sum(held) == len(clients)
            assert max(held) <= each + WORKERS
            more = [await balancer.connect() for _ in range(count)]
            for client in more:
                client.send("/hold")
            clients += more
            each += 1
        for app in apps:
            app.release.set()
        answers = await asyncio.gather(*(client.answer() for client in clients))
        assert {answer.status for answer in answers} == {200}


async def held_by(balancer: Balancer, apps: list[AppReplica]) -> list[float]:
    return [
        await balancer.metric(f'balancer_upstream_inflight{{pool="default",upstream="{app.address}"}}')
        for app in apps
    ]
