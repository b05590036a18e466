"""A pool that hangs beside another one, in one worker: what it may hold, and that the other one is served."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from balancer.proxy.waiting_bodies import MOST as MOST_WAITING
from tests.fakes.app_replica import AppReplica, app_replica
from tests.fakes.instance import Balancer, Client, get, running, until

pytestmark = pytest.mark.integration

MOST = 40  # client connections; a pool may hold 30 of them
HELD = 30
PAIR = {"ROUTES": "/a/=a, /=b", "HEALTH_CHECK__ENABLED": "false", "ACCESS_LOG__ENABLED": "false"}


@pytest.fixture
async def apps() -> AsyncIterator[tuple[AppReplica, AppReplica]]:
    async with app_replica("a") as a, app_replica("b") as b:
        yield a, b


def pools(apps: tuple[AppReplica, AppReplica]) -> dict[str, str]:
    a, b = apps
    return {"POOLS__A__UPSTREAMS": a.address, "POOLS__B__UPSTREAMS": b.address, **PAIR}


async def connect(balancer: Balancer, stack: AsyncExitStack) -> Client:
    client = await Client.connect(balancer.port)
    stack.push_async_callback(client.close)
    return client


async def test_the_clients_of_a_hung_pool_take_three_quarters_of_the_connections(
    apps: tuple[AppReplica, AppReplica],
) -> None:
    a, _ = apps
    a.hangs = True
    settings = {**pools(apps), "LIMITS__MAX_CONNECTIONS": str(MOST)}
    async with AsyncExitStack() as stack, running(**settings) as balancer:
        await balancer.becomes_ready()
        clients = [await connect(balancer, stack) for _ in range(MOST)]
        for client in clients:  # all at once: more than a sweep could see in time
            client.send("/a/")
        ended = {asyncio.create_task(client.answer()): client for client in clients}
        refused = []
        waiting = set(ended)
        while len(waiting) > HELD:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            refused += [task.result() for task in done]
        assert len(waiting) == HELD
        assert Counter(answer.status for answer in refused) == {503: MOST - HELD}
        for answer in refused:
            assert 'details="pool_connections"' in answer.head
            assert "Retry-After: " in answer.head
        served = [await get(balancer.port) for _ in range(20)]  # each on a connection of its own
        assert {(answer.status, answer.body) for answer in served} == {(200, b"b")}

        async def reported() -> bool:
            failures = (await get(balancer.admin_port, "/api/failures")).json()["failures"]
            return Counter(one["reason"] for one in failures) == {"pool_connections": MOST - HELD}

        await until(reported)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


# --- memory

CLIENTS = 700
BODY = 8 << 20  # of each client; nobody reads it
PER_CLIENT = 16 << 10  # besides what is held of bodies
UPLOAD = b"POST /a/ HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"


def private_bytes(pid: int) -> int:
    """The memory of a process that it shares with no other."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Private_"))


class Upload(asyncio.Protocol):
    """A client that sends as much of a large body as the balancer takes."""

    def __init__(self) -> None:
        self.paused = False
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(UPLOAD % BODY)
        piece = bytes(1 << 18)
        while not self.paused:
            transport.write(piece)

    def pause_writing(self) -> None:
        self.paused = True

    def data_received(self, data: bytes) -> None:
        self.received += data


@pytest.mark.parametrize(
    "limits",
    [
        pytest.param({"LIMITS__MAX_INFLIGHT": "1", "LIMITS__QUEUE_TIMEOUT": "1m"}, id="in the queue"),
        pytest.param({"ADAPTIVE__ENABLED": "false"}, id="at the app"),
    ],
)
async def test_large_bodies_that_wait_for_a_hung_pool_hold_a_bounded_memory(
    apps: tuple[AppReplica, AppReplica], limits: dict[str, str]
) -> None:
    a, _ = apps
    a.hangs = True
    own = {f"POOLS__A__{name}": value for name, value in limits.items()}
    settings = {**pools(apps), **own, "LIMITS__MAX_CONNECTIONS": str(2 * CLIENTS)}
    loop = asyncio.get_running_loop()
    async with running(**settings) as balancer:
        await balancer.becomes_ready()
        (worker,) = balancer.workers()
        for _ in range(20):
            assert (await get(balancer.port)).status == 200
        before = private_bytes(worker)
        uploads = [
            (await loop.create_connection(Upload, "127.0.0.1", balancer.port))[1] for _ in range(CLIENTS)
        ]

        def refused() -> list[bytes]:
            return [upload.received for upload in uploads if upload.received]

        async def all_wait() -> bool:
            pool = (await get(balancer.admin_port, "/api/pools/a")).json()
            inflight = [one["inflight"] for one in pool["upstreams"]]
            return bool(pool["queue_length"] + sum(inflight) + len(refused()) == CLIENTS)

        await until(all_wait)
        served = [await get(balancer.port) for _ in range(100)]
        assert {(answer.status, answer.body) for answer in served} == {(200, b"b")}
        assert [head for head in refused() if b'details="bodies_full"' not in head] == []
        grown = private_bytes(worker) - before
        for upload in uploads:
            if not upload.transport.is_closing():  # the refused ones may be closed
                upload.transport.abort()
        assert grown < MOST_WAITING + CLIENTS * PER_CLIENT
