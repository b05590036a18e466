"""Requests and responses over TLS, by real sockets: as over plain TCP, but for how connections end."""

import asyncio
import socket
import ssl
import struct

import pytest

from balancer.telemetry.columns import HANDSHAKE_RESULTS, LISTENER_CONNECTIONS, LISTENER_TLS_HANDSHAKES
from tests.fakes.messages import TLS_ROW
from tests.fakes.tls_client import TlsClient, tls_client
from tests.fakes.tls_specs import client_context, tls_spec
from tests.proxy.real_sockets import RealSockets, on_uvloop, read_head, real_sockets

pytestmark = pytest.mark.integration

GET = b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
UPGRADE = (
    b"GET /chat HTTP/1.1\r\nHost: shop.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
MUCH = 10 << 20
TLS = tls_spec()

both_versions = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])


def only(version: ssl.TLSVersion) -> ssl.SSLContext:
    context = client_context()
    context.minimum_version = context.maximum_version = version
    return context


async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers every request with its path."""
    while True:
        path = (await read_head(reader)).split(b" ")[1]
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(path), path))


async def large(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers every request with 10 MiB."""
    while True:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % MUCH)
        writer.write(b"x" * MUCH)
        await writer.drain()


async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers every request with the size of its body."""
    while True:
        head = await read_head(reader)
        size = 0
        if b"chunked" in head:
            while length := int(await reader.readline(), 16):
                size += len((await reader.readexactly(length + 2))[:-2])
            await reader.readline()
        else:
            wanted = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
            while size < wanted:
                size += len(await reader.read(min(wanted - size, 1 << 16)))
        body = b"%d" % size
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


def open_connections(proxy: RealSockets) -> int:
    return proxy.segment.page(1).row(TLS_ROW)[LISTENER_CONNECTIONS]


def results(proxy: RealSockets) -> dict[str, int]:
    cells = proxy.segment.page(1).row(TLS_ROW)[LISTENER_TLS_HANDSHAKES:]
    return {result: count for result, count in zip(HANDSHAKE_RESULTS, cells, strict=False) if count}


# --- bodies, both ways


@both_versions
@on_uvloop
async def test_a_large_response_arrives_whole(version: ssl.TLSVersion) -> None:
    async with (
        real_sockets(large, tls=TLS) as proxy,
        tls_client(proxy.tls_port, context=only(version)) as client,
    ):
        await client.send(LAST)
        head, _, body = (await client.rest()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert body == b"x" * MUCH


@both_versions
@on_uvloop
async def test_a_large_request_arrives_whole(version: ssl.TLSVersion) -> None:
    async with (
        real_sockets(count, tls=TLS) as proxy,
        tls_client(proxy.tls_port, context=only(version)) as client,
    ):
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % MUCH)
        await client.send(b"x" * MUCH)
        assert (await client.until(b"%d" % MUCH)).startswith(b"HTTP/1.1 200")


@on_uvloop
async def test_a_chunked_request_arrives_whole() -> None:
    async with real_sockets(count, tls=TLS) as proxy, tls_client(proxy.tls_port) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(500):
            await client.send(b"1000\r\n" + b"x" * 0x1000 + b"\r\n")
        await client.send(b"0\r\n\r\n")
        assert (await client.until(b"%d" % (500 * 0x1000))).startswith(b"HTTP/1.1 200")
        assert await client.ask(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", b"\r\n\r\n3")


@on_uvloop
async def test_pipelined_requests_are_answered_in_order() -> None:
    async with real_sockets(app, tls=TLS) as proxy, tls_client(proxy.tls_port) as client:
        paths = [b"/%d" % number for number in range(200)]
        await client.send(b"".join(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path for path in paths))
        data = await client.until(b"\r\n\r\n/199")
        assert [part.partition(b"HTTP")[0] for part in data.split(b"\r\n\r\n")[1:]] == paths


# --- slow readers


@on_uvloop
async def test_a_client_that_does_not_read_stops_the_app() -> None:
    sent = 0

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1 << 40))
        while True:
            writer.write(b"x" * 65536)
            sent += 65536
            await writer.drain()

    async with (
        real_sockets(endless, tls=TLS) as proxy,
        tls_client(proxy.tls_port, receive_buffer=16384) as client,
    ):
        await client.send(GET)
        before = -1
        while before != sent:  # until the app is held
            before = sent
            await proxy.sweeps(20)
        assert sent < 16 << 20
        for _ in range(1000):
            await client.receive()
        await proxy.until(lambda: sent > before)


@on_uvloop
async def test_a_slow_reader_gets_all_of_a_last_response() -> None:
    """Also if it takes seconds for what is left when the exchange has ended."""
    async with (
        real_sockets(large, tls=TLS) as proxy,
        tls_client(proxy.tls_port, receive_buffer=16384) as client,
    ):
        await client.send(LAST)
        read = len(await client.until(b"\r\n\r\n"))
        while proxy.inflight != [0]:
            read += len(await client.receive())
        begun = proxy.loop.time()
        while proxy.loop.time() < begun + 3:
            await proxy.sweeps(5)
            read += len(await client.receive())
        read += len(await client.rest())
        assert read > MUCH


# --- ends


@on_uvloop
async def test_a_last_response_ends_with_a_close_notify() -> None:
    async with real_sockets(app, tls=TLS) as proxy, tls_client(proxy.tls_port) as client:
        await client.send(LAST)
        assert (await client.rest()).endswith(b"\r\n\r\n/")


@on_uvloop
async def test_a_connection_that_its_client_does_not_close_is_closed_after_a_while() -> None:
    async with real_sockets(app, tls=TLS) as proxy, tls_client(proxy.tls_port) as client:
        await client.send(LAST)
        await client.rest()
        await proxy.until(lambda: open_connections(proxy) == 0)


@both_versions
@on_uvloop
async def test_a_response_that_breaks_off_ends_without_a_close_notify(version: ssl.TLSVersion) -> None:
    async def broken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        await writer.drain()
        writer.transport.abort()

    async with (
        real_sockets(broken, tls=TLS) as proxy,
        tls_client(proxy.tls_port, context=only(version)) as client,
    ):
        with pytest.raises(ConnectionResetError):
            await client.ask(GET, b"never")
        assert results(proxy) == {"ok": 1}


@on_uvloop
async def test_a_close_delimited_response_for_http_1_0_ends_with_a_close_notify_only_if_it_is_whole() -> None:
    async def until_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nsome")
        await writer.drain()
        if b"/broken" in head:
            reset(writer.get_extra_info("socket"))
        writer.close()

    async with real_sockets(until_close, tls=TLS) as proxy:
        async with tls_client(proxy.tls_port) as client:
            await client.send(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
            assert (await client.rest()).endswith(b"some")
        async with tls_client(proxy.tls_port) as client:
            with pytest.raises(ConnectionResetError):
                await client.ask(b"GET /broken HTTP/1.0\r\nHost: a\r\n\r\n", b"never")


@pytest.mark.parametrize("how", ["close_notify", "fin", "reset"])
@on_uvloop
async def test_a_client_that_leaves_cancels_its_request(how: str) -> None:
    asked, cancelled = asyncio.Event(), asyncio.Event()

    async def waits(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        asked.set()
        await reader.read()
        cancelled.set()

    async with real_sockets(waits, tls=TLS) as proxy, tls_client(proxy.tls_port) as client:
        await client.send(GET)
        await asked.wait()
        await leave(client, how)
        await cancelled.wait()
        await proxy.until(lambda: open_connections(proxy) == 0)
        assert [record["status"] for record in proxy.records.records] == [499]


async def leave(client: TlsClient, how: str) -> None:
    if how == "close_notify":
        await client.end()
        return
    if how == "reset":
        reset(client.sock)
    client.sock.close()


def reset(sock: socket.socket) -> None:
    """Its close sends a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@on_uvloop
async def test_an_early_answer_reaches_a_client_that_goes_on_sending() -> None:
    async def refuses(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
        await reader.read()

    async with real_sockets(refuses, tls=TLS) as proxy, tls_client(proxy.tls_port) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % MUCH)
        for _ in range(MUCH >> 16):
            await client.send(b"x" * 65536)
        data = await client.until(b"no")
        assert data.startswith(b"HTTP/1.1 403")
        assert b"Connection: close" in data


# --- tunnels


@on_uvloop
async def test_a_tunnel_relays_both_ways() -> None:
    async def chat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(SWITCH)
        while data := await reader.read(65536):
            writer.write(data)

    async with real_sockets(chat, tls=TLS) as proxy, tls_client(proxy.tls_port) as client:
        await client.ask(UPGRADE, b"\r\n\r\n")
        for size in (1, 100, 100_000):
            await client.send(b"a" * size + b".")
            assert await client.until(b".") == b"a" * size + b"."


@on_uvloop
async def test_a_tunnel_whose_app_ends_its_direction_ends_in_both() -> None:
    ended = asyncio.Event()

    async def last_words(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(SWITCH + b"last words")
        writer.write_eof()
        await reader.read()
        ended.set()

    async with real_sockets(last_words, tls=TLS) as proxy, tls_client(proxy.tls_port) as client:
        await client.send(UPGRADE)
        assert (await client.rest()).endswith(b"last words")
        await ended.wait()


@pytest.mark.parametrize("how", ["close_notify", "fin", "reset"])
@on_uvloop
async def test_a_tunnel_whose_client_leaves_ends_in_both(how: str) -> None:
    heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def listens(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(SWITCH)
        heard.set_result(await reader.read())

    async with real_sockets(listens, tls=TLS) as proxy, tls_client(proxy.tls_port) as client:
        await client.ask(UPGRADE, b"\r\n\r\n")
        await client.send(b"last words")
        await proxy.until(lambda: proxy.records.records == [] and proxy.inflight == [1])
        await leave(client, how)
        assert await heard in (b"last words", b"")
        assert how == "reset" or heard.result() == b"last words"
        await proxy.until(lambda: open_connections(proxy) == 0)


@on_uvloop
async def test_nothing_encrypted_reaches_the_app_when_a_client_is_lost_while_it_is_not_read() -> None:
    heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    read_on = asyncio.Event()

    async def reads_late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(SWITCH)
        await read_on.wait()
        heard.set_result(await reader.read())

    async with real_sockets(reads_late, tls=TLS) as proxy, tls_client(proxy.tls_port) as client:
        await client.ask(UPGRADE, b"\r\n\r\n")
        sending = asyncio.create_task(client.send(b"a" * (32 << 20)))
        before = -1
        while before != (size := proxy.segment.page(1).row(3)[0]) or not sending:
            before = size
            await proxy.sweeps(20)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        await leave(client, "reset")
        await proxy.until(lambda: open_connections(proxy) == 0)
        read_on.set()
        assert set(await heard) <= {ord("a")}


# --- the worker's own ends


@on_uvloop
async def test_a_drain_answers_what_is_running_and_closes_what_is_idle() -> None:
    release = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        await release.wait()
        writer.write(OK)

    async with (
        real_sockets(slow, tls=TLS) as proxy,
        tls_client(proxy.tls_port) as busy,
        tls_client(proxy.tls_port) as idle,
        tls_client(proxy.tls_port, begin=False),
    ):
        await busy.send(GET)
        await proxy.until(lambda: proxy.inflight == [1] and proxy.proxy.connections == 3)
        proxy.proxy.drain()
        assert await idle.rest() == b""
        release.set()
        data = await busy.rest()
        assert b"Connection: close" in data
        assert data.endswith(b"ok")
        await proxy.until(lambda: proxy.proxy.connections == 0)
        assert results(proxy) == {"ok": 2, "timeout": 1}


@on_uvloop
async def test_deadlines_apply_as_to_plain_clients() -> None:
    timeouts = {"client_idle": 0.1, "request_head": 0.2, "first_byte": 0.1}

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with real_sockets(silent, tls=TLS, timeouts=timeouts) as proxy:
        async with tls_client(proxy.tls_port) as client:
            assert await client.rest() == b""
        async with tls_client(proxy.tls_port) as client:
            await client.send(b"GET / HT")
            assert (await client.until(b"head_timeout")).startswith(b"HTTP/1.1 408")
        async with tls_client(proxy.tls_port) as client:
            assert (await client.ask(GET, b"first_byte")).startswith(b"HTTP/1.1 504")
            await client.rest()
