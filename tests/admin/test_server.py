"""The admin listener's own log: what is not HTTP is answered, and worth no traceback."""

import asyncio
import socket

import pytest

from balancer.admin.server import AdminServer
from tests.admin.stage import FakeInstance

PATIENCE = 20.0


async def test_what_is_no_http_is_refused_without_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    server = AdminServer(FakeInstance())
    await server.start(listener)
    try:
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            writer.write(b"what is this?\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.0 400 ")
            writer.close()
            await writer.wait_closed()
    finally:
        await server.stop()
    assert caplog.records == []
