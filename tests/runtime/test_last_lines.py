"""The exit waits at most one second, for both outputs together, until the logs are read."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from balancer.runtime.launch import LAST_LINES
from tests.fakes.app_replica import app_replica
from tests.fakes.forkserver import Process, forkserver
from tests.fakes.instance import PATIENCE, Balancer, get, gone, until

pytestmark = pytest.mark.integration

MARGIN = 0.8  # seconds for the rest of the exit, on a busy machine


@pytest.fixture
def full_pipe() -> Iterator[int]:
    """The writing end of a full pipe without a reader."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, bytes(1 << 16))
    with suppress(BlockingIOError):
        while True:
            os.write(writing, b"\0")
    os.set_blocking(writing, True)
    yield writing
    os.close(writing)
    os.close(reading)


def environ(upstream: str) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("BALANCER_")}
    return own | {
        "BALANCER_UPSTREAMS": upstream,
        "BALANCER_LISTEN": "127.0.0.1:0",
        "BALANCER_ADMIN_LISTEN": "127.0.0.1:0",
        "BALANCER_LIMITS__MAX_CONNECTIONS": "100",
    }


async def test_unread_log_lines_are_counted_and_dropped_at_the_exit(full_pipe: int) -> None:
    async with app_replica() as app:
        ours, stderr = os.pipe()
        process = Process(
            forkserver().start("balancer", environ=environ(app.address), stdout=full_pipe, stderr=stderr)
        )
        os.close(stderr)
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(process.stderr), os.fdopen(ours, "rb", 0)
        )
        process.stdout.feed_eof()
        balancer = Balancer(process)
        try:
            await balancer.established()
            for _ in range(3):
                assert (await get(balancer.port)).status == 200

            async def has_come() -> bool:
                series = 'balancer_requests_total{code="200",method="GET",route="default"}'
                return await balancer.metric(series) == 3

            await until(has_come)
            balancer.signal(signal.SIGTERM)
            await balancer.says("drained, exiting")
            begun = time.monotonic()
            assert await balancer.exit_code() == 0
            assert time.monotonic() - begun < LAST_LINES + MARGIN
            await balancer.says("the last 3 lines of the access log are lost: nobody reads stdout")
        finally:
            await balancer.end()


async def test_two_unread_outputs_together_delay_the_exit_by_one_second(full_pipe: int) -> None:
    async with app_replica() as app:
        child = forkserver().start(
            "balancer", environ=environ(app.address), stdout=full_pipe, stderr=full_pipe
        )
        process = Process(child)
        try:

            async def is_checked() -> bool:
                return app.checks > 0

            await until(is_checked)  # so it runs and handles its signals
            begun = time.monotonic()
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(PATIENCE):
                assert await process.wait() == 0
            # No client was served, so there is nothing else to wait for.
            assert time.monotonic() - begun < LAST_LINES * 1.1 + MARGIN
        finally:
            process.kill()
            await gone(process.pid)
