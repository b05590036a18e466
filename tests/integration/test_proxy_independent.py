"""Against independent implementations: aiohttp, its WebSockets, and http.client."""

import asyncio
import http.client
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from tests.proxy.real_sockets import on_uvloop, real_sockets

pytestmark = pytest.mark.integration


@asynccontextmanager
async def aiohttp_app() -> AsyncIterator[int]:
    """An aiohttp server; yields its port."""

    async def echo(request: web.Request) -> web.Response:
        body = await request.read()
        return web.Response(
            body=body or b"nothing",
            headers={"X-Method": request.method, "X-Forwarded-For": request.headers["X-Forwarded-For"]},
        )

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        for number in range(10):
            await response.write(b"%d" % number)
        return response

    async def socket(request: web.Request) -> web.WebSocketResponse:
        response = web.WebSocketResponse(protocols=("chat",))
        await response.prepare(request)
        async for message in response:
            if message.data == "close":
                await response.close(code=4001, message=b"as you wish")
            elif message.type is aiohttp.WSMsgType.TEXT:
                await response.send_str(message.data)
            else:
                await response.send_bytes(message.data)
        return response

    app = web.Application(client_max_size=2**26)
    app.router.add_get("/stream", stream)
    app.router.add_get("/socket", socket)
    app.router.add_route("*", "/{rest:.*}", echo)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@on_uvloop
async def test_http_client_on_one_connection() -> None:
    def talk(port: int) -> list[tuple[int, bytes]]:
        client = http.client.HTTPConnection("127.0.0.1", port)
        seen = []
        for number in range(50):
            body = None if number % 2 else b"x" * number
            client.request("GET" if body is None else "POST", f"/{number}", body)
            response = client.getresponse()
            seen.append((response.status, response.read()))
        client.request("HEAD", "/")
        response = client.getresponse()
        seen.append((response.status, response.read()))
        client.request("GET", "/stream")
        response = client.getresponse()
        seen.append((response.status, response.read()))
        client.close()
        return seen

    async with aiohttp_app() as app, real_sockets(app) as harness:
        seen = await asyncio.to_thread(talk, harness.port)
        expected = [(200, b"nothing" if number % 2 or not number else b"x" * number) for number in range(50)]
        assert seen == [*expected, (200, b""), (200, b"0123456789")]
        assert len(harness.records.records) == 52


@on_uvloop
async def test_many_aiohttp_requests_at_once() -> None:
    async with (
        aiohttp_app() as one,
        aiohttp_app() as two,
        real_sockets(one, two) as harness,
        aiohttp.ClientSession(f"http://127.0.0.1:{harness.port}") as session,
    ):

        async def ask(number: int) -> None:
            body = b"%d" % number * 100
            async with session.post(f"/{number}", data=body) as response:
                assert response.status == 200
                assert response.headers["X-Forwarded-For"] == "127.0.0.1"
                assert await response.read() == body

        await asyncio.gather(*(ask(number) for number in range(300)))
        assert harness.inflight == [0, 0]
        assert len(harness.records.records) == 300


@on_uvloop
async def test_expect_100_continue() -> None:
    async with (
        aiohttp_app() as app,
        real_sockets(app) as harness,
        aiohttp.ClientSession(f"http://127.0.0.1:{harness.port}") as session,
    ):
        for _ in range(3):
            async with session.post("/", data=b"x" * 100_000, expect100=True) as response:
                assert await response.read() == b"x" * 100_000


@on_uvloop
async def test_websocket_echo_through_the_tunnel() -> None:
    async with (
        aiohttp_app() as app,
        real_sockets(app) as harness,
        aiohttp.ClientSession(f"http://127.0.0.1:{harness.port}") as session,
    ):
        async with session.ws_connect("/socket", protocols=("chat",)) as socket:
            assert socket.protocol == "chat"
            for size in (1, 125, 126, 65535, 65536, 1_000_000):
                await socket.send_bytes(b"x" * size)
                assert await socket.receive_bytes() == b"x" * size
            for number in range(100):
                await socket.send_str(str(number))
            assert [await socket.receive_str() for _ in range(100)] == [str(n) for n in range(100)]
            await socket.ping()
            await socket.send_str("close")
            message = await socket.receive()
            assert message.type is aiohttp.WSMsgType.CLOSE
            assert (socket.close_code, message.extra) == (4001, "as you wish")
        await harness.until(lambda: len(harness.records.records) == 1)
        assert harness.records.records[0]["status"] == 101
        assert harness.inflight == [0]


@on_uvloop
async def test_a_websocket_closed_by_the_client() -> None:
    async with (
        aiohttp_app() as app,
        real_sockets(app) as harness,
        aiohttp.ClientSession(f"http://127.0.0.1:{harness.port}") as session,
    ):
        async with session.ws_connect("/socket") as socket:
            await socket.send_str("hello")
            assert await socket.receive_str() == "hello"
        assert socket.close_code == 1000
        await harness.until(lambda: harness.inflight == [0])


@on_uvloop
async def test_many_tunnels_at_once() -> None:
    async with (
        aiohttp_app() as app,
        real_sockets(app) as harness,
        aiohttp.ClientSession(f"http://127.0.0.1:{harness.port}") as session,
    ):

        async def talk(number: int) -> None:
            async with session.ws_connect("/socket") as socket:
                for turn in range(20):
                    await socket.send_str(f"{number}:{turn}")
                    assert await socket.receive_str() == f"{number}:{turn}"

        await asyncio.gather(*(talk(number) for number in range(30)))
        await harness.until(lambda: harness.inflight == [0])
