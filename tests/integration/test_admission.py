"""Slots for client connections over real sockets: which is closed when all are taken, and which is
refused."""

import asyncio

import pytest

from tests.fakes.app_replica import app_replica
from tests.fakes.instance import Client, running
from tests.proxy.real_sockets import on_uvloop, read_head, real_sockets

pytestmark = pytest.mark.integration

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 2\r\n\r\nok"
SLOTS = 50


async def hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        await read_head(reader)
        writer.write(OK)


@on_uvloop
async def test_idle_clients_in_every_slot_block_no_new_client() -> None:
    """Half of them have had a response, half have sent nothing."""
    async with real_sockets(hello, limits={"max_connections": SLOTS}) as harness:
        idle = []
        for number in range(SLOTS):
            reader, writer = await harness.connect()
            if number % 2:
                writer.write(GET)
                assert await reader.readexactly(len(OK)) == OK
            idle.append((reader, writer))
        await harness.until(lambda: harness.proxy.connections == SLOTS)
        good = []
        for number in range(SLOTS // 2):
            reader, writer = await harness.connect()
            writer.write(GET)
            assert await reader.readexactly(len(OK)) == OK
            assert await idle[number][0].read() == b""  # a clean end: the oldest
            good.append((reader, writer))
        reader, writer = idle[-1]
        writer.write(GET)
        assert await reader.readexactly(len(OK)) == OK
        await harness.until(lambda: harness.proxy.connections == SLOTS)
        for _, one in idle + good:
            one.close()


@on_uvloop
async def test_a_flood_of_connections_ends_no_request() -> None:
    """Many connections compete for each slot while requests run, and heads arrive in pieces."""
    go_on = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        await go_on.wait()
        writer.write(OK)

    async with real_sockets(slow, limits={"max_connections": SLOTS}) as harness:
        running_ones = [await harness.connect() for _ in range(10)]
        for _, writer in running_ones[:5]:
            writer.write(GET)
        for _, writer in running_ones[5:]:
            writer.write(GET[:9])
        await harness.until(lambda: harness.proxy.connections == 10)
        flood = [await harness.connect() for _ in range(SLOTS * 6)]
        await harness.until(lambda: harness.proxy.connections <= SLOTS)
        for _, writer in running_ones[5:]:
            writer.write(GET[9:])
        go_on.set()
        for reader, _ in running_ones:
            assert await reader.readexactly(len(OK)) == OK
        for _, writer in running_ones + flood:
            writer.close()


async def test_connections_per_address_are_limited() -> None:
    async with (
        app_replica("one") as app,
        running(UPSTREAMS=app.address, LIMITS__CONNECTIONS_PER_CLIENT="3") as balancer,
    ):
        ours = [await balancer.connect() for _ in range(3)]
        for client in ours:
            client.send()
            assert (await client.answer()).status == 200
        port = balancer.port
        over = await Client.connect(port)
        answer = await over.answer()
        assert answer.status == 429
        assert 'details="too_many_from_client"' in answer.head
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.2", 0))
        other = Client(reader, writer)
        other.send()
        assert (await other.answer()).status == 200
        await ours[0].close()
        refused = 'balancer_local_responses_total{code="429",reason="too_many_from_client"}'
        await balancer.shows(refused, 1)
        again = await Client.connect(port)
        again.send()
        assert (await again.answer()).status == 200
        for client in (over, other, again):
            await client.close()


async def test_connections_of_a_trusted_proxy_are_not_limited() -> None:
    settings = {"LIMITS__CONNECTIONS_PER_CLIENT": "1", "TRUSTED_PROXIES": "127.0.0.0/8"}
    async with app_replica("one") as app, running(UPSTREAMS=app.address, **settings) as balancer:
        for client in [await balancer.connect() for _ in range(5)]:
            client.send()
            assert (await client.answer()).status == 200
