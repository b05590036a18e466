"""Before a look ends, readable data has been read and connected dials have ended, on real loops."""

import asyncio
import socket
import time
from collections.abc import Coroutine
from typing import Any

import pytest
import uvloop

from balancer.lateness import look_first

LIMIT = 0.05
STALL = 0.15


def _run(loop: str, main: Coroutine[Any, Any, None]) -> None:
    factory = uvloop.new_event_loop if loop == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main)


class Reader(asyncio.Protocol):
    def __init__(self) -> None:
        self.data = b""

    def data_received(self, data: bytes) -> None:
        self.data += data


async def _reads_and_dials() -> None:
    loop = asyncio.get_running_loop()
    looked = asyncio.Event()
    found: list[tuple[bytes, bool]] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        transport, reader = await loop.create_connection(Reader, *address)
        peer, _ = server.accept()

        async def dial() -> None:
            async with asyncio.timeout(None):
                late, _ = await loop.create_connection(Reader, *address)
            late.close()

        async def outer() -> None:  # like a dial to a name with several addresses
            await asyncio.wait([asyncio.ensure_future(dial())])

        def judge(dialled: "asyncio.Task[None]") -> None:
            found.append((reader.data, dialled.done()))
            looked.set()

        def stall() -> None:
            peer.send(b"here")
            time.sleep(STALL)

        task = loop.create_task(outer())
        loop.call_later(LIMIT, look_first, loop, judge, task)
        # Two turns later the connect has begun, and has not been seen to end.
        loop.call_soon(loop.call_soon, stall)
        await looked.wait()
        await task
        assert found == [(b"here", True)]
        transport.close()
        peer.close()


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_after_a_long_turn_everything_is_read_before_the_judgement(loop: str) -> None:
    _run(loop, _reads_and_dials())
