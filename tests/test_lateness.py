"""Before a look ends, readable data has been read and connected dials have ended, on real loops."""

import asyncio
import socket
import time
from collections.abc import Coroutine
from typing import Any

import pytest
import uvloop

from balancer.clock import SystemClock
from balancer.connections.connector import Connector
from balancer.lateness import look_first
from balancer.telemetry.columns import CELLS_PER_ROW
from balancer.upstreams.upstream import Upstream
from tests.connections.test_connector import KEEPALIVE
from tests.fakes.dialler import FakeDialler
from tests.fakes.specs import UPSTREAM_TLS

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
        cells = memoryview(bytearray(CELLS_PER_ROW * 8)).cast("q")
        upstream = Upstream("app", address[0], address[1], 1, cells)
        connector = Connector(loop, SystemClock(), 32768, 100, lambda *said: None)
        connector.add(upstream, KEEPALIVE, None, UPSTREAM_TLS)
        transport, reader = await loop.create_connection(Reader, *address)
        peer, _ = server.accept()

        def judge(late: FakeDialler) -> None:
            found.append((reader.data, late.ends == 1))
            looked.set()

        def stall() -> None:
            peer.send(b"here")
            time.sleep(STALL)

        late = FakeDialler(connector, upstream)
        loop.call_later(LIMIT, look_first, loop, judge, late)
        loop.call_soon(stall)  # the connect has begun, and has not been seen to end
        await looked.wait()
        assert found == [(b"here", True)]
        late.connection.cancel()
        connector.close()
        transport.close()
        peer.close()


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_after_a_long_turn_everything_is_read_before_the_judgement(loop: str) -> None:
    _run(loop, _reads_and_dials())
