"""The admin listener's own log: a request that is not HTTP is answered, without a traceback."""

import asyncio
import logging
import socket

import pytest

from balancer.admin.server import AdminServer
from tests.admin.harness import FakeInstance

PATIENCE = 20.0


@pytest.mark.parametrize(
    "request_",
    [b"what is this?\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"\x16\x03\x01\r\n\r\n"],
    ids=["words", "two hosts", "tls"],
)
async def test_a_request_that_is_not_http_is_refused_without_a_traceback(
    request_: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    server = AdminServer(FakeInstance(), "", "", most=100)
    await server.start(listener)
    try:
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            writer.write(request_)
            assert (await reader.read()).startswith(b"HTTP/1.0 400 ")
            writer.close()
            await writer.wait_closed()
    finally:
        await server.stop()
    assert caplog.records == []


@pytest.mark.parametrize(
    ("error", "is_told"),
    [(ConnectionResetError("it has left"), False), (RuntimeError("ours"), True)],
    ids=["the client has left", "an error of ours"],
)
async def test_an_answer_to_a_client_that_has_left_is_worth_no_traceback(
    error: Exception, is_told: bool
) -> None:
    AdminServer(FakeInstance(), "", "", most=100)
    logger = logging.getLogger("balancer.admin")
    exc_info = (type(error), error, None)
    record = logger.makeRecord(logger.name, logging.ERROR, __file__, 1, "as aiohttp says", (), exc_info)
    assert bool(logger.filter(record)) == is_told
