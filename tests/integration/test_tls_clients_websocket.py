"""WebSockets over TLS: by the library `websockets`, and by node's `ws`."""

import asyncio
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosedError

from tests.fakes.https import Authority, https
from tests.fakes.node_websockets import CODES, ends, line, node, seen

pytestmark = pytest.mark.integration

LARGE = bytes(range(256)) * (1 << 12)
PATIENCE = 20.0


async def echoes(connection: ServerConnection) -> None:
    """Return each message; leave at once when asked to, without a Close frame."""
    async for message in connection:
        if message == "vanish":
            connection.transport.abort()
            return
        await connection.send(message)


async def test_messages_of_any_size_come_back(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with serve(echoes, "127.0.0.1", 0) as server:
        app = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with (
            https(authority, authority.site("localhost"), UPSTREAMS=app) as site,
            asyncio.timeout(PATIENCE),
            connect(f"wss://localhost:{site.port}/", ssl=authority.context(), max_size=None) as client,
        ):
            for message in ("Füße", b"", b"\0\xff", LARGE, "x" * 100_000):
                await client.send(message)
                assert await client.recv() == message
            await client.close(4321, "enough")
            assert (client.close_code, client.close_reason) == (4321, "enough")


async def test_an_app_that_vanishes_is_no_clean_end(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with serve(echoes, "127.0.0.1", 0) as server:
        app = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with (
            https(authority, authority.site("localhost"), UPSTREAMS=app) as site,
            asyncio.timeout(PATIENCE),
            connect(f"wss://localhost:{site.port}/", ssl=authority.context()) as client,
        ):
            await client.send("vanish")
            with pytest.raises(ConnectionClosedError):
                await client.recv()


async def test_both_ends_see_the_same_with_tls_as_without(tmp_path: Path) -> None:
    command = node()
    authority = Authority(tmp_path)
    async with ends(command, "server") as server:
        port = await line(server)
        direct = await seen(command, server, port)
        pair = authority.site("localhost")
        async with https(authority, pair, UPSTREAMS=f"127.0.0.1:{port}") as secured:
            through = await seen(command, server, secured.port, authority.file)
    for name in CODES:
        assert through[name] == direct[name], name
