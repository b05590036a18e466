"""Trailers over real sockets: a client's must not become an app's next request, an app's reach the client."""

import asyncio

import pytest

from tests.fakes.instance import PATIENCE, running
from tests.proxy.real_sockets import origin

pytestmark = pytest.mark.integration


class App:
    """Reads requests as some app servers do: a chunked body ends behind `0` and CRLF, and one empty line is
    skipped before a request line of three words. With `reads_trailers` it reads them correctly. Answers with
    the target."""

    def __init__(self, reads_trailers: bool) -> None:
        self.reads_trailers = reads_trailers
        self.requests: list[bytes] = []
        self.trailers: list[bytes] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            if line == b"\r\n":
                line = await reader.readline()
            _, target, _ = line.split(b" ")
            self.requests.append(line.rstrip())
            fields = []
            while (field := await reader.readline()) != b"\r\n":
                fields.append(field)
            if b"Transfer-Encoding: chunked\r\n" in fields:
                while size := int(await reader.readline(), 16):
                    await reader.readexactly(size + 2)
                while self.reads_trailers and (field := await reader.readline()) != b"\r\n":
                    self.trailers.append(field)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(target), target))


HIDDEN = b"GET: /report-of-bob HTTP/1.1\r\nX: 1\r\n"


@pytest.mark.parametrize("pieces", [1, 2], ids=["with-the-head", "later"])
@pytest.mark.parametrize("passed", [False, True], ids=["off", "on"])
async def test_a_trailer_never_becomes_a_request(passed: bool, pieces: int) -> None:
    app = App(reads_trailers=passed)
    async with (
        origin(app) as port,
        running(
            UPSTREAMS=f"127.0.0.1:{port}",
            HEALTH_CHECK__ENABLED="false",
            REQUEST_TRAILERS="on" if passed else "off",
        ) as balancer,
        asyncio.timeout(PATIENCE),
    ):
        bodies = (
            [b"1\r\nx\r\n0\r\n%b\r\n" % HIDDEN] if pieces == 1 else [b"1\r\nx\r\n", b"0\r\n%b\r\n" % HIDDEN]
        )
        mallory, to_mallory = await asyncio.open_connection("127.0.0.1", balancer.port)
        head = b"POST /mallory HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        to_mallory.write(head + (bodies[0] if pieces == 1 else b""))
        for body in bodies if pieces == 2 else ():
            to_mallory.write(body)
            await asyncio.sleep(0)
        assert await answer(mallory) == b"/mallory"
        alice, to_alice = await asyncio.open_connection("127.0.0.1", balancer.port)
        to_alice.write(b"GET /alice HTTP/1.1\r\nHost: a\r\n\r\n")
        assert await answer(alice) == b"/alice"
        assert app.requests == [b"POST /mallory HTTP/1.1", b"GET /alice HTTP/1.1"]
        assert b"".join(app.trailers) == (HIDDEN if passed else b"")
        for writer in (to_mallory, to_alice):
            writer.close()


@pytest.mark.parametrize(
    ("version", "fields", "gets"),
    [
        pytest.param(b"1.1", b"TE: trailers\r\nConnection: TE\r\n", True, id="asked-for"),
        pytest.param(b"1.1", b"TE: trailers\r\n", False, id="not-by-connection"),
        pytest.param(b"1.1", b"", False, id="not-asked-for"),
        pytest.param(b"1.0", b"TE: trailers\r\nConnection: TE, keep-alive\r\n", False, id="http-1-0"),
    ],
)
async def test_trailers_of_a_response_reach_clients_that_accept_them(
    version: bytes, fields: bytes, gets: bool
) -> None:
    asked: list[bytes] = []

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n")

    async with (
        origin(app) as port,
        running(UPSTREAMS=f"127.0.0.1:{port}", HEALTH_CHECK__ENABLED="false") as balancer,
        asyncio.timeout(PATIENCE),
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", balancer.port)
        writer.write(b"GET / HTTP/%b\r\nHost: a\r\n%b\r\n" % (version, fields))
        await reader.readuntil(b"\r\n\r\n")
        if version == b"1.0":
            assert await reader.read() == b"hi"
        else:
            trailers = b"X-Sum: 1\r\n" if gets else b""
            expected = b"2\r\nhi\r\n0\r\n%b\r\n" % trailers
            assert await reader.readexactly(len(expected)) == expected
        assert (b"\r\nTE: trailers\r\n" in asked[0]) is gets
        writer.close()


async def answer(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    length = head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0]
    return await reader.readexactly(int(length))
