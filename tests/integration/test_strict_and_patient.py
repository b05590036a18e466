"""Over real sockets: malformed requests are refused at once, harmlessly malformed responses are accepted."""

import asyncio
import http.client

import pytest

from tests.proxy.real_sockets import on_uvloop, read_head, real_sockets

pytestmark = pytest.mark.integration

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

BARE_LF = {
    "after the last field": b"GET / HTTP/1.1\r\nHost: a\r\n\n",
    "in all lines": b"GET / HTTP/1.1\nHost: a\n\n",
    "in the last two": b"GET / HTTP/1.1\r\nHost: a\n\n",
    "in a field": b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n",
}


async def app_that_answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        await read_head(reader)
        writer.write(OK)


@pytest.mark.parametrize("case", BARE_LF)
@on_uvloop
async def test_a_head_with_bare_lf_is_400_at_once(case: str) -> None:
    async with real_sockets(
        app_that_answers
    ) as harness:  # the deadline for heads is 10 s: nothing waits for that
        reader, writer = await harness.connect()
        async with asyncio.timeout(5):
            writer.write(BARE_LF[case])
            assert (await read_head(reader)).startswith(b"HTTP/1.1 400 ")
        writer.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"HEAD /a b HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\r\nHEAD / HTTP/1.1\r\n\r\n",
        b"HEAD / HTTP/1.1\r\nHost: a\nX: y",
        b"HEAD / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 70_000,
    ],
    ids=["request line", "no Host", "bare LF", "too large"],
)
@on_uvloop
async def test_a_refused_head_gets_no_body(sent: bytes) -> None:
    async with real_sockets(app_that_answers) as harness:
        reader, writer = await harness.connect()
        async with asyncio.timeout(5):
            writer.write(sent)
            head = await read_head(reader)
            assert head.startswith(b"HTTP/1.1 4")
            assert b"\r\nContent-Length: " in head
            assert await reader.read() == b""
        writer.close()


@on_uvloop
async def test_an_apps_own_method_is_passed_on() -> None:
    heads: list[bytes] = []

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await read_head(reader))
        writer.write(OK)

    async with real_sockets(app) as harness:
        reader, writer = await harness.connect()
        writer.write(b"VERSION-CONTROL /v1/secret HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await read_head(reader)).startswith(b"HTTP/1.1 200 ")
        assert heads[0].startswith(b"VERSION-CONTROL /v1/secret HTTP/1.1\r\n")
        writer.close()


# name: (the app's bytes, whether it closes after them, the body and the fields that a strict client reads)
PATIENCE: dict[str, tuple[bytes, bool, bytes, dict[str, str]]] = {
    "bare LF": (b"HTTP/1.1 200 OK\nX-A: 1\nContent-Length: 4\n\n\r\n\r\n", False, b"\r\n\r\n", {"X-A": "1"}),
    "white space before the colon": (
        b"HTTP/1.1 200 OK\r\nX-A : 1\r\nContent-Length : 2\r\n\r\nok", False, b"ok", {"X-A": "1"},
    ),
    "a fold": (
        b"HTTP/1.1 200 OK\r\nX-A: 1\r\n 2\r\nContent-Length: 2\r\n\r\nok", False, b"ok", {"X-A": "1 2"},
    ),
    "CR and NUL": (
        b"HTTP/1.1 200 OK\r\nX-A: 1\r2\0\r\nContent-Length: 2\r\n\r\nok", False, b"ok", {"X-A": "1 2"},
    ),
    "HTTP/1.2": (b"HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\nok", False, b"ok", {}),
    "HTTP/2.0": (b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok", False, b"ok", {}),
    "two lengths": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        False, b"ok", {"Content-Length": "2"},
    ),
    "length and chunked": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        False, b"ok", {"Transfer-Encoding": "chunked"},
    ),
    "chunked in HTTP/1.0": (
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        True, b"ok", {"Transfer-Encoding": "chunked"},
    ),
    "chunks in bare LF": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\nok\n0\n\n", False, b"ok", {},
    ),
    "padded chunk sizes": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%b2  \r\nok\r\n0  \r\n\r\n" % (b"0" * 30),
        False, b"ok", {},
    ),
    "a trailer that is none": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"2\r\nok\r\n0\r\nCache-Control: no-store\r\n\r\n",
        False, b"ok", {"Cache-Control": ""},
    ),
    "a large cookie": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nSet-Cookie: %b\r\nX-A: 1\r\n\r\nok" % (b"x" * 40_960),
        False, b"ok", {"X-A": "1"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", PATIENCE)
@on_uvloop
async def test_a_strict_client_can_read_the_response_of_an_inexact_app(case: str) -> None:
    sent, closes, body, fields = PATIENCE[case]

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_head(reader)
            writer.write(sent)
            if closes:
                return

    def ask(port: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        for _ in range(3):  # on one connection: the end of each response is unambiguous
            connection.request("GET", "/")
            sock = connection.sock
            response = connection.getresponse()
            assert response.status == 200
            assert response.version == 11
            assert response.read() == body
            for name, value in fields.items():
                assert response.headers.get(name, "").strip() == value
            assert len(response.headers.get_all("Content-Length", [])) <= 1
            assert connection.sock is sock
        connection.close()

    async with real_sockets(app) as harness:
        await asyncio.to_thread(ask, harness.port)


@on_uvloop
async def test_heads_as_large_as_those_of_browsers_and_apps_are_passed_on() -> None:
    fields = b"X-A: 1\r\n" * 150 + b"Cookie: %b\r\n" % (b"x" * 40_960)

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert fields in await read_head(reader)
        writer.write(b"HTTP/1.1 204 No Content\r\n" + fields + b"\r\n")

    async with real_sockets(app) as harness:
        reader, writer = await harness.connect()
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n")
        assert fields in await read_head(reader)
        writer.close()


@on_uvloop
async def test_a_flood_of_informational_responses_is_502() -> None:
    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        while True:
            writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 10)
            await writer.drain()

    async with real_sockets(app) as harness:
        reader, writer = await harness.connect()
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        for _ in range(100):
            assert (await read_head(reader)).startswith(b"HTTP/1.1 103 ")
        assert (await read_head(reader)).startswith(b"HTTP/1.1 502 ")
        writer.close()
