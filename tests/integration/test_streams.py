"""Responses that grow: each piece reaches the client without waiting for the next one.

The app writes a piece only when the client has acknowledged the one before, by a way of its own. So whatever
holds back a piece, or a part of it, holds the test up for ever; how long anything takes does not matter.
"""

import asyncio
import gzip
import io
import statistics
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from random import Random

import pytest

from tests.fakes.instance import PATIENCE, running
from tests.integration.conftest import Stage
from tests.proxy.real_sockets import origin, read_head

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter
RANDOM = Random(5)
LARGE = (20_000, 1, 300_000, 16_384, 70_000, 5, 1 << 20)


def events(count: int) -> list[bytes]:
    return [b"id: %d\ndata: token %d\n\n" % (number, number) for number in range(count)]


def zipped(pieces: Sequence[bytes]) -> list[bytes]:
    """Each so that it can be unpacked as soon as it is there."""
    packed: list[bytes] = []
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as file:
        for piece in pieces:
            file.write(piece)
            file.flush()
            packed.append(buffer.getvalue())
            buffer.seek(0)
            buffer.truncate()
    return packed


# Content-Type and more, and the pieces.
CONTENTS: dict[str, tuple[bytes, list[bytes]]] = {
    "events": (b"Content-Type: text/event-stream\r\nCache-Control: no-store\r\n", events(50)),
    "tokens": (b"Content-Type: text/plain\r\n", [b"%d " % number for number in range(50)]),
    "single bytes": (b"", [b"%c" % number for number in range(40)]),
    "events, compressed": (
        b"Content-Type: text/event-stream\r\nContent-Encoding: gzip\r\n",
        zipped(events(20)),
    ),
    "large pieces": (b"", [RANDOM.randbytes(size) for size in LARGE]),
}


def as_it_is(piece: bytes) -> bytes:
    return piece


def chunk(piece: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(piece), piece)


# How the app frames the response: its head, how it writes a piece, and how it ends.
Framing = tuple[Callable[[int], bytes], Callable[[bytes], bytes], bytes]
FRAMINGS: dict[str, Framing] = {
    "chunked": (lambda _: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", chunk, b"0\r\n\r\n"),
    "Content-Length": (lambda size: b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n" % size, as_it_is, b""),
    "until it closes": (lambda _: b"HTTP/1.1 200 OK\r\nConnection: close\r\n", as_it_is, b""),
    "until it closes, HTTP/1.0": (lambda _: b"HTTP/1.0 200 OK\r\n", as_it_is, b""),
}
REQUESTS = {
    "HTTP/1.1": b"GET /stream HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\nAccept: */*\r\n\r\n",
    "HTTP/1.0": b"GET /stream HTTP/1.0\r\n\r\n",
}


class Body:
    """A body, as far as it has arrived. That of a response starts with `begin`, which sets `head`."""

    def __init__(self, reader: Reader, *, chunked: bool = False) -> None:
        self._reader = reader
        self._chunked = chunked
        self._left = 0  # of a chunk
        self.head = b""

    async def begin(self) -> None:
        self.head = await read_head(self._reader)
        self._chunked = b"\r\nTransfer-Encoding: chunked\r\n" in self.head

    async def read(self, size: int) -> bytes:
        """Exactly so many bytes."""
        if not self._chunked:
            return await self._reader.readexactly(size)
        data = bytearray()
        while len(data) < size:
            if not self._left:
                self._left = int(await self._reader.readline(), 16)
                assert self._left, "it has ended"
            part = await self._reader.readexactly(min(self._left, size - len(data)))
            data += part
            self._left -= len(part)
            if not self._left:
                assert await self._reader.readline() == b"\r\n"
        return bytes(data)


@asynccontextmanager
async def asked(stage: Stage, request: bytes) -> AsyncIterator[tuple[Reader, Writer, Reader, Writer]]:
    """A client that has sent `request`, and the app that got its head."""
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.balancer.port)
        writer.write(request)
        sock, _ = await asyncio.get_running_loop().sock_accept(stage.listening)
        app_reader, app_writer = await asyncio.open_connection(sock=sock)
        await read_head(app_reader)
        try:
            yield reader, writer, app_reader, app_writer
        finally:
            for each in (writer, app_writer):
                each.close()


@pytest.mark.parametrize("client", REQUESTS)
@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("content", CONTENTS)
async def test_no_piece_of_a_response_waits_for_the_next(
    stage: Stage, content: str, framing: str, client: str
) -> None:
    fields, pieces = CONTENTS[content]
    start, written, end = FRAMINGS[framing]
    async with asked(stage, REQUESTS[client]) as (reader, _, _, app):
        app.write(start(sum(map(len, pieces))) + fields + b"\r\n")
        body = Body(reader)
        await body.begin()  # nor does the head wait for the first piece
        assert fields in body.head
        for piece in pieces:
            app.write(written(piece))
            assert await body.read(len(piece)) == piece
        app.write(end)


@pytest.mark.parametrize("framing", ["chunked", "Content-Length"])
async def test_no_piece_of_a_request_waits_for_the_next(stage: Stage, framing: str) -> None:
    _, pieces = CONTENTS["large pieces"]
    size = sum(map(len, pieces))
    fields = b"Transfer-Encoding: chunked" if framing == "chunked" else b"Content-Length: %d" % size
    async with asked(stage, b"POST / HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n" % fields) as (
        _,
        client,
        reader,
        _app,
    ):
        body = Body(reader, chunked=framing == "chunked")
        for piece in pieces:
            client.write(chunk(piece) if framing == "chunked" else piece)
            assert await body.read(len(piece)) == piece


# --- how long it takes

TOKENS = 2_000
INTERVAL = 0.001


@pytest.mark.slow
@pytest.mark.alone
async def test_a_token_each_millisecond_comes_about_as_soon_as_directly() -> None:
    """Each token tells when it was written. `pytest -s` shows the figures."""

    async def app(reader: Reader, writer: Writer) -> None:
        await read_head(reader)
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        due = time.monotonic()
        for _ in range(TOKENS):
            writer.write(chunk(b"data: %020d\n\n" % time.monotonic_ns()))
            due += INTERVAL
            await asyncio.sleep(due - time.monotonic())
        writer.write(b"0\r\n\r\n")

    async def delays(port: int) -> list[float]:
        """In µs, sorted."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(REQUESTS["HTTP/1.1"])
        body = Body(reader)
        await body.begin()
        taken = []
        for _ in range(TOKENS):
            sent = int((await body.read(28))[6:26])
            taken.append((time.monotonic_ns() - sent) / 1e3)
        writer.close()
        return sorted(taken)

    async with (
        origin(app) as port,
        running(UPSTREAMS=f"127.0.0.1:{port}", HEALTH_CHECK__ENABLED="false") as balancer,
    ):
        direct, through = await delays(port), await delays(balancer.port)
    for name, figures in (("directly", direct), ("through", through)):
        median, p99 = statistics.median(figures), figures[-TOKENS // 100]
        print(f"\n{name}: median {median:.0f} µs, p99 {p99:.0f} µs", end="")
    assert statistics.median(through) - statistics.median(direct) < 1_000
