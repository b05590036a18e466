"""An app that closes idle connections, on real sockets, and requests just before and after that."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from balancer.connections.keepalive import CLOSE_COLUMN
from balancer.messages import LogLine
from tests.fakes.app_tls import NAME, app_context, upstream_tls
from tests.proxy.real_sockets import RealSockets, on_uvloop, read_head, real_sockets

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.alone]

IDLE = 0.2
ROUNDS = 12
CLIENTS = 8
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Closes a connection that has been idle for IDLE seconds."""
    try:
        while True:
            async with asyncio.timeout(IDLE):
                head = await read_head(reader)
            if b"POST" in head:
                await reader.readexactly(2)
            writer.write(OK)
    except TimeoutError:
        return


async def ask(one: RealSockets, method: str) -> int:
    reader, writer = await one.connect()
    body = "Content-Length: 2\r\n\r\nhi" if method == "POST" else "\r\n"
    writer.write(f"{method} / HTTP/1.1\r\nHost: test\r\n{body}".encode())
    head = await read_head(reader)
    writer.close()
    return int(head.split(b" ")[1])


def news(one: RealSockets) -> list[str]:
    return [message.message for message in one.told if isinstance(message, LogLine)]


async def learned(one: RealSockets) -> None:
    """Leave idle connections for the app to close, until the idle time has been learned."""

    def closed_or_known(before: int) -> Callable[[], bool]:
        return lambda: bool(news(one)) or closes(one) > before

    while not news(one):
        before = closes(one)
        assert await ask(one, "GET") == 200
        await one.until(closed_or_known(before))


def closes(one: RealSockets) -> int:
    return one.proxy.router.routes[0].side.pool.upstreams[0].cells[CLOSE_COLUMN["upstream_closed"]]


async def pauses(play: Callable[[], Awaitable[None]]) -> None:
    """Rounds with pauses just below and above IDLE, ever closer to it."""
    for number in range(ROUNDS):
        await play()
        side = -1 if number % 2 else 1
        await asyncio.sleep(IDLE + side * IDLE / 2**number)


BY_TLS = {"app_tls": app_context(), "server_name": NAME, "upstream_tls": upstream_tls()}


@pytest.mark.parametrize(
    ("method", "by"),
    [
        pytest.param("GET", {}, id="GET"),
        pytest.param("POST", {}, id="POST"),
        pytest.param("POST", BY_TLS, id="POST by TLS"),
    ],
)
@on_uvloop
async def test_no_request_fails_once_the_idle_time_is_known(method: str, by: dict[str, Any]) -> None:
    async with real_sockets(app, **by) as one:
        await learned(one)
        (text,) = news(one)
        assert "closes idle connections after" in text
        statuses: list[int] = []

        async def play() -> None:
            statuses.extend(await asyncio.gather(*(ask(one, method) for _ in range(CLIENTS))))

        await pauses(play)
        assert statuses == [200] * (ROUNDS * CLIENTS)
        assert news(one) == [text]


@on_uvloop
async def test_a_get_does_not_fail_before_the_idle_time_is_known() -> None:
    async with real_sockets(app, keepalive={"learn": False}) as one:
        statuses: list[int] = []

        async def play() -> None:
            statuses.extend(await asyncio.gather(*(ask(one, "GET") for _ in range(CLIENTS))))

        await pauses(play)
        assert statuses == [200] * (ROUNDS * CLIENTS)
