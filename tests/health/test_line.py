"""The connection of checks: bytes after a response belong to no check."""

import asyncio
from typing import cast

import pytest

from balancer.clock import SystemClock
from balancer.connections.intake import Turns
from balancer.health.line import Line
from tests.fakes.transport import FakeTransport

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ERROR = b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n"


def connected() -> tuple[Line, FakeTransport]:
    loop = asyncio.get_running_loop()
    line = Line("app1", "10.0.0.1", 8000, "", Turns(loop, SystemClock()))
    return line, FakeTransport(loop, cast(asyncio.Protocol, line))


@pytest.mark.parametrize("pieces", [[OK, ERROR], [OK + ERROR], [OK[:-1], b"k" + ERROR]])
async def test_a_second_response_belongs_to_no_check_and_ends_the_connection(pieces: list[bytes]) -> None:
    line, transport = connected()
    answer = line.ask(b"GET / HTTP/1.1\r\n\r\n", searched=False)
    for piece in pieces:  # all before the waiting check has its turn
        line.data_received(piece)
    assert await answer.done is None
    assert (answer.status, answer.body, answer.whole) == (200, b"ok", True)
    assert line.closed
    assert transport.aborted


async def test_a_whole_response_leaves_the_connection_to_the_next_check() -> None:
    line, _ = connected()
    for status, response in ((200, OK), (500, ERROR)):
        answer = line.ask(b"GET / HTTP/1.1\r\n\r\n", searched=False)
        line.data_received(response)
        assert await answer.done is None
        assert answer.status == status
    assert not line.closed
    assert line.checks == 2


async def test_unrequested_bytes_end_the_connection() -> None:
    line, _ = connected()
    line.data_received(b"H")
    assert line.closed
