"""Bodies over real sockets: large ones in both directions, slow readers, early responses, broken ends."""

import asyncio
import hashlib
import http.client
import itertools
from typing import cast

import aiohttp
import pytest
from aiohttp import web

from balancer.clients.connection import ClientConnection
from balancer.clients.roles import Client
from tests.proxy.real_sockets import on_uvloop, read_head, real_sockets

pytestmark = pytest.mark.integration

MIB = 1024 * 1024
SIZE = 20 * MIB
BLOCK = bytes(range(256)) * 256  # 64 KiB
BUFFER_LIMIT = MIB  # bytes that may wait in this process for one slow connection


def digest_of(size: int) -> str:
    digest = hashlib.sha256()
    for _ in range(size // len(BLOCK)):
        digest.update(BLOCK)
    return digest.hexdigest()


EXPECTED = digest_of(SIZE)
FRAMINGS = {
    "length": b"Content-Length: %d\r\n" % SIZE,
    "chunked": b"Transfer-Encoding: chunked\r\n",
    "until close": b"Connection: close\r\n",
}


def framed(framing: str) -> bytes:
    return b"%x\r\n%b\r\n" % (len(BLOCK), BLOCK) if framing == "chunked" else BLOCK


def written_ahead(client: Client) -> int:
    """Bytes written to a client but not read by it."""
    assert isinstance(client, ClientConnection)
    return client.transport.get_write_buffer_size()


@pytest.mark.parametrize("framing", FRAMINGS)
@on_uvloop
async def test_a_large_response(framing: str) -> None:
    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_head(reader)
            writer.write(b"HTTP/1.1 200 OK\r\n" + FRAMINGS[framing] + b"\r\n")
            for _ in range(SIZE // len(BLOCK)):
                writer.write(framed(framing))
                await writer.drain()
            if framing == "chunked":
                writer.write(b"0\r\n\r\n")
            if framing == "until close":
                return

    async with real_sockets(app) as harness, aiohttp.ClientSession() as session:
        for _ in range(2):  # the client connection goes on, whatever the framing upstream
            digest = hashlib.sha256()
            async with session.get(f"http://127.0.0.1:{harness.port}/") as response:
                async for piece in response.content.iter_any():
                    digest.update(piece)
            assert digest.hexdigest() == EXPECTED
        assert harness.proxy.connections == 1


@pytest.mark.parametrize("framing", ["length", "chunked"])
@on_uvloop
async def test_a_large_request(framing: str) -> None:
    async def app(request: web.Request) -> web.Response:
        digest = hashlib.sha256()
        async for piece in request.content.iter_any():
            digest.update(piece)
        return web.Response(text=digest.hexdigest())

    runner = web.ServerRunner(web.Server(app))  # type: ignore[arg-type]  # the stub wants BaseRequest
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]

    def upload(to: int) -> list[str]:
        client = http.client.HTTPConnection("127.0.0.1", to)
        answers = []
        for _ in range(2):
            blocks = itertools.repeat(BLOCK, SIZE // len(BLOCK))
            headers = {} if framing == "chunked" else {"Content-Length": str(SIZE)}
            client.request("PUT", "/", blocks, headers, encode_chunked=framing == "chunked")
            answers.append(client.getresponse().read().decode())
        client.close()
        return answers

    try:
        async with real_sockets(port) as harness:
            assert await asyncio.to_thread(upload, harness.port) == [EXPECTED] * 2
    finally:
        await runner.cleanup()


@on_uvloop
async def test_a_slow_reader_slows_the_app_down() -> None:
    written = 0

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (5 * SIZE))
        for _ in range(5 * SIZE // len(BLOCK)):
            writer.write(BLOCK)
            await writer.drain()
            written += len(BLOCK)

    async with real_sockets(app) as harness:
        reader, writer = await harness.connect(receive_buffer=65536)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await read_head(reader)
        (client,) = harness.proxy._clients
        await harness.until(lambda: client.exchange.client.paused)
        assert written_ahead(client) < BUFFER_LIMIT
        assert written < 5 * SIZE
        digest = hashlib.sha256()
        left = 5 * SIZE
        most = 0
        while left:
            piece = await reader.read(MIB)
            assert piece
            digest.update(piece)
            left -= len(piece)
            most = max(most, written_ahead(client))
        assert most < BUFFER_LIMIT
        assert digest.hexdigest() == digest_of(5 * SIZE)
        writer.close()


@on_uvloop
async def test_a_slow_app_slows_the_client_down() -> None:
    go_on = asyncio.Event()

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        await go_on.wait()
        digest = hashlib.sha256()
        left = 5 * SIZE
        while left:
            piece = await reader.read(MIB)
            assert piece
            digest.update(piece)
            left -= len(piece)
        text = digest.hexdigest().encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(text) + text)

    async with real_sockets(app) as harness:
        reader, writer = await harness.connect()

        async def upload() -> None:
            writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (5 * SIZE))
            for _ in range(5 * SIZE // len(BLOCK)):
                writer.write(BLOCK)
                await writer.drain()

        uploading = asyncio.create_task(upload())

        def waits_for_the_app() -> bool:
            """The client pauses before that too, where it sends faster than the upstream is connected."""
            return any(
                client.paused_fd >= 0
                and client.exchange.attempt is not None
                and client.exchange.attempt.connection.untaken()
                for client in harness.proxy._clients
            )

        await harness.until(waits_for_the_app)
        assert not uploading.done()
        (client,) = harness.proxy._clients
        attempt = client.exchange.attempt
        assert attempt is not None
        assert attempt.connection.untaken() < BUFFER_LIMIT
        go_on.set()
        await uploading
        await read_head(reader)
        assert (await reader.readexactly(64)).decode() == digest_of(5 * SIZE)
        writer.close()


@pytest.mark.parametrize("size", [1 * MIB, SIZE], ids=["1 MiB", "20 MiB"])
@on_uvloop
async def test_an_early_response_reaches_a_client_that_still_sends(size: int) -> None:
    """http.client reads nothing before it has sent everything."""

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\nConnection: close\r\n\r\nlarge")
        writer.write_eof()
        await reader.read()  # until the proxy closes

    def upload(port: int) -> tuple[int, bytes]:
        client = http.client.HTTPConnection("127.0.0.1", port)
        blocks = itertools.repeat(BLOCK, size // len(BLOCK))
        client.request("POST", "/", blocks, {"Content-Length": str(size)})
        response = client.getresponse()
        answer = response.status, response.read()
        client.close()
        return answer

    async with real_sockets(app) as harness:
        assert await asyncio.to_thread(upload, harness.port) == (413, b"large")


@on_uvloop
async def test_a_refused_body_is_answered_while_the_client_still_sends() -> None:
    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise AssertionError("nothing may reach the app")

    def upload(port: int) -> int:
        client = http.client.HTTPConnection("127.0.0.1", port)
        client.request("POST", "/", itertools.repeat(BLOCK, 64), {"Content-Length": str(64 * len(BLOCK))})
        status = client.getresponse().status
        client.close()
        return status

    async with real_sockets(app, limits={"body_bytes": 1000}) as harness:
        assert await asyncio.to_thread(upload, harness.port) == 413


BREAKS = {
    "length": (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"Content-Length: 100\r\n\r\nhalf"),
    "chunked": (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"),
    "length, to HTTP/1.0": (b"GET / HTTP/1.0\r\n\r\n", b"Content-Length: 100\r\n\r\nhalf"),
    "chunked, to HTTP/1.0": (b"GET / HTTP/1.0\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"),
}


@pytest.mark.parametrize("case", BREAKS)
@on_uvloop
async def test_a_truncated_response_is_a_reset(case: str) -> None:
    request, response = BREAKS[case]
    seen = asyncio.Event()

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n" + response)
        await seen.wait()

    async with real_sockets(app) as harness:
        reader, writer = await harness.connect()
        writer.write(request)
        await reader.readuntil(b"half")
        seen.set()
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()


EARLY = {
    "length": (b"Content-Length: 5\r\n", (413, b"large"), None),
    "until close": (b"", None, "response_truncated"),
}


@pytest.mark.parametrize("case", EARLY)
@on_uvloop
async def test_an_early_response_of_an_app_that_closes_at_once(case: str) -> None:
    """The app resets the connection, as it has not read the body. Its response must not be lost; but only a
    length shows that it is complete."""
    framing, seen, reason = EARLY[case]

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        cast(asyncio.Transport, writer.transport).pause_reading()
        await unread_bytes(writer)
        writer.write(b"HTTP/1.1 413 Too Large\r\n" + framing + b"Connection: close\r\n\r\nlarge")

    def upload(port: int) -> tuple[int, bytes] | None:
        client = http.client.HTTPConnection("127.0.0.1", port)
        blocks = itertools.repeat(BLOCK, 160)
        try:
            client.request("POST", "/", blocks, {"Content-Length": str(160 * len(BLOCK))})
            response = client.getresponse()
            return response.status, response.read()
        except (ConnectionError, http.client.IncompleteRead):
            return None  # broken off
        finally:
            client.close()

    async with real_sockets(app) as harness:
        for _ in range(10):
            assert await asyncio.to_thread(upload, harness.port) == seen
        assert [record["reason"] for record in harness.records.records] == [reason] * 10


@on_uvloop
async def test_an_early_response_ends_with_its_fin_although_the_app_reads_no_more() -> None:
    """Bytes still to be written to the app must not delay the end of its response."""

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        cast(asyncio.Transport, writer.transport).pause_reading()
        writer.write(b"HTTP/1.1 413 Too Large\r\nDate: x\r\n\r\nlarge")
        await harness.until(lambda: any(client.exchange.upstream_paused for client in harness.proxy._clients))
        writer.write_eof()
        await answered.wait()

    answered = asyncio.Event()
    async with real_sockets(app) as harness:
        reader, writer = await harness.connect()
        writer.write(b"POST / HTTP/1.0\r\nContent-Length: 99999999\r\n\r\n" + bytes(16 * MIB))
        assert (await reader.read()).endswith(b"\r\n\r\nlarge")
        answered.set()
        writer.transport.abort()


async def unread_bytes(writer: asyncio.StreamWriter) -> None:
    """Wait until the socket has some bytes."""
    loop = asyncio.get_running_loop()
    there = asyncio.Event()
    with writer.get_extra_info("socket").dup() as sock:
        loop.add_reader(sock, there.set)
        await there.wait()
        loop.remove_reader(sock)
