"""TERM while WebSockets are open: they go on for a while, and both ends then see an orderly close."""

import asyncio
import signal
from collections.abc import Sequence

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.server import ServerConnection

from tests.fakes.instance import PATIENCE, Balancer, running
from tests.fakes.websocket_ends import Play, app, hears, joined
from tests.proxy.real_sockets import origin, read_head

pytestmark = pytest.mark.integration

LARGE = b"x" * (1 << 20)
SETTINGS = {"HEALTH_CHECK__ENABLED": "false", "TIMEOUTS__DRAIN": "20s"}


async def refuses_clients(balancer: Balancer) -> None:
    """Wait until a connect is refused."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", balancer.port)
            except ConnectionRefusedError:
                return
            writer.close()
            await asyncio.sleep(0)


async def test_open_websockets_are_closed_with_1012_and_lose_nothing() -> None:
    answer = asyncio.Event()

    async def server(websocket: ServerConnection) -> Sequence[object]:
        first = await websocket.recv()
        await answer.wait()
        await websocket.send(LARGE)
        return [first, *await hears(websocket)]

    async def client(websocket: ClientConnection) -> Sequence[object]:
        await websocket.send("question")
        heard = await websocket.recv() == LARGE
        await websocket.send("thanks")
        return [heard, *await hears(websocket)]

    play = Play(client, server)
    async with (
        app(play) as server_side,
        running(
            UPSTREAMS=f"127.0.0.1:{server_side.port}", TIMEOUTS__TUNNEL_DRAIN="6s", **SETTINGS
        ) as balancer,
        asyncio.timeout(PATIENCE),
    ):
        clients = [await joined(play, balancer.port) for _ in range(3)]
        balancer.signal(signal.SIGTERM)
        await refuses_clients(balancer)
        answer.set()  # what is said now still arrives, if it takes less than the 6 s
        for task in clients:
            assert await task == [True, 1012, ""]
            assert await server_side.saw.get() == ["question", "thanks", 1012, ""]
        assert await balancer.exit_code() == 0
        assert {(each["status"], each.get("reason")) for each in await balancer.logs_access(3)} == {
            (101, None)
        }


async def test_a_message_that_has_begun_arrives_before_the_close() -> None:
    """The Close frame waits for the end of the frame. That of another client, which is idle, shows when it is
    due."""
    begun = asyncio.Barrier(3)  # both WebSockets and the test
    go_on = asyncio.Event()
    head = b"\x82\x7f" + len(LARGE).to_bytes(8, "big")

    async def server(websocket: ServerConnection) -> Sequence[object]:
        if await websocket.recv() == "idle":
            await begun.wait()
            return await hears(websocket)
        websocket.transport.write(head + LARGE[:100_000])
        await begun.wait()
        await go_on.wait()
        websocket.transport.write(LARGE[100_000:])
        return await hears(websocket)

    async def busy(websocket: ClientConnection) -> Sequence[object]:
        await websocket.send("busy")
        return [await websocket.recv() == LARGE, *await hears(websocket)]

    async def idle(websocket: ClientConnection) -> Sequence[object]:
        await websocket.send("idle")
        return await hears(websocket)

    async with (
        app(Play(busy, server)) as server_side,
        running(
            UPSTREAMS=f"127.0.0.1:{server_side.port}", TIMEOUTS__TUNNEL_DRAIN="0", **SETTINGS
        ) as balancer,
        asyncio.timeout(PATIENCE),
    ):
        waiting = await joined(Play(busy, server), balancer.port)
        other = await joined(Play(idle, server), balancer.port)
        await begun.wait()
        balancer.signal(signal.SIGTERM)
        assert await other == [1012, ""]
        go_on.set()
        assert await waiting == [True, 1012, ""]
        for _ in range(2):
            assert await server_side.saw.get() == [1012, ""]
        assert await balancer.exit_code() == 0


async def test_ends_that_do_not_answer_get_a_fin_and_no_reset() -> None:
    """Neither says anything after the Close frame, and the process still exits in time."""
    heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x02hi"
        )
        heard.set_result(await reader.read())

    async with (
        origin(server) as port,
        running(
            UPSTREAMS=f"127.0.0.1:{port}",
            TIMEOUTS__TUNNEL_DRAIN="0",
            HEALTH_CHECK__ENABLED="false",
            TIMEOUTS__DRAIN="5s",
        ) as balancer,
        asyncio.timeout(PATIENCE),
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", balancer.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly")
        await read_head(reader)
        assert await reader.readexactly(4) == b"\x81\x02hi"
        balancer.signal(signal.SIGTERM)
        assert await reader.read() == b"\x88\x02\x03\xf4"  # an error if it were a reset
        assert await heard == b"early"
        writer.close()
        assert await balancer.exit_code() == 0
