"""Real sockets and misbehaviour on both sides, all at once: the worker survives, and nothing is left
behind."""

import asyncio
from itertools import count, islice
from random import Random

import pytest

from tests.proxy.real_sockets import RealSockets, on_uvloop, read_head, real_sockets

pytestmark = pytest.mark.integration

CLIENTS = 24
REQUESTS = 40
PATIENCE = 30.0  # seconds
STATUSES = {
    101,
    200,
    400,
    499,
    502,
}  # outcomes that must have occurred; on a busy machine that can take two rounds
# Small enough to be read to their end, whatever the app does: behind unread bytes the kernel cannot deliver a
# FIN, and a client that has left would be noticed only by the idle timeout.
REQUEST = [
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 5,
    b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\n\r\n" + bytes(20_000),
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\n\r\n" + bytes(10_000),
    b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + bytes(1000),
    b"nonsense\r\n\r\n",
]
RESPONSE = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: 500000\r\n\r\n" + bytes(500_000),
    b"HTTP/1.1 200 OK\r\nContent-Length: 500000\r\n\r\n" + bytes(100_000),
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\nuntil close",
    b"HTTP/1.1 101 Switch\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + bytes(1000),
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok surplus",
    b"nonsense\r\n\r\n",
    b"",
]


def reset(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def a_client(harness: RealSockets, random: Random) -> None:
    for _ in range(REQUESTS):
        reader, writer = await harness.connect()
        try:
            for _ in range(random.randint(1, 3)):
                writer.write(random.choice(REQUEST))
                wanted = random.choice([0, 1, 100, 100_000, 10_000_000])
                async with asyncio.timeout(random.choice([0.001, 0.02, 0.05])):
                    await reader.readexactly(wanted)
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError):
            pass  # expected here
        finally:
            if random.random() < 0.5:
                reset(writer)
            else:
                writer.close()


@pytest.mark.parametrize("seed", [1, 2])
@on_uvloop
async def test_a_worker_survives_misbehaviour_on_both_sides(seed: int) -> None:
    random = Random(seed)

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            if random.random() < 0.05:
                return
            try:
                head = await read_head(reader)
            except asyncio.LimitOverrunError:  # a body that it has not read
                return
            if head.startswith(b"POST") and random.random() < 0.5:
                await reader.readexactly(20_000)
            writer.write(random.choice(RESPONSE))
            if random.random() < 0.2:
                reset(writer)
                return
            if random.random() < 0.3:
                return

    async with real_sockets(app, app) as harness, asyncio.timeout(PATIENCE):
        clients = (Random(seed * 1000 + number) for number in count())
        while not {record["status"] for record in harness.records.records} >= STATUSES:
            await asyncio.gather(*(a_client(harness, random) for random in islice(clients, CLIENTS)))
            await harness.until(lambda: harness.inflight == [0, 0])
            await harness.until(lambda: harness.proxy.connections == 0)
        assert "internal_error" not in {record["reason"] for record in harness.records.records}
