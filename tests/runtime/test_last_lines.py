"""The exit waits at most one second, for both outputs together, until the logs are read."""

import asyncio
import logging
import os
import signal
from collections.abc import Iterator
from contextlib import suppress

import pytest

from balancer.runtime.launch import LAST_LINES, close_logs
from balancer.telemetry.line_writer import LineWriter
from tests.fakes.app_replica import app_replica
from tests.fakes.forkserver import Process, forkserver
from tests.fakes.instance import PATIENCE, Balancer, get, gone, until
from tests.fakes.loop import FakeClock


class Output(LineWriter):
    """Writes its queued lines in `needed` seconds, if it may take so long."""

    def __init__(self, clock: FakeClock, needed: float) -> None:
        self._clock = clock
        self._needed = needed
        self.allowed = 0.0

    def close(self, timeout: float) -> int:
        self.allowed = timeout
        self._clock.advance(min(self._needed, timeout))
        return 3 if self._needed > timeout else 0


@pytest.mark.parametrize(
    ("access", "log", "allowed", "together"),
    [
        pytest.param(0.0, 0.0, LAST_LINES, 0.0, id="both are read"),
        pytest.param(0.3, 9.0, LAST_LINES - 0.3, LAST_LINES, id="the log is unread"),
        pytest.param(9.0, 9.0, LAST_LINES / 10, LAST_LINES * 1.1, id="neither is read"),
    ],
)
def test_both_outputs_together_have_one_second(
    access: float, log: float, allowed: float, together: float, caplog: pytest.LogCaptureFixture
) -> None:
    clock = FakeClock()
    outputs = Output(clock, access), Output(clock, log)
    begun = clock.monotonic_ns()
    close_logs(logging.getLogger("test"), outputs[1], outputs[0], lambda: clock.monotonic_ns() / 1e9)
    assert [one.allowed for one in outputs] == pytest.approx([LAST_LINES, allowed])
    assert (clock.monotonic_ns() - begun) / 1e9 == pytest.approx(together)
    lost = ["the last 3 lines of the access log are lost: nobody reads stdout"] if access > 1.0 else []
    assert caplog.messages == lost


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


@pytest.mark.integration
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
                series = 'balancer_requests_total{code="200",method="GET",pool="default",route="default"}'
                return await balancer.metric(series) == 3

            await until(has_come)
            balancer.signal(signal.SIGTERM)
            await balancer.says("drained, exiting")
            assert await balancer.exit_code() == 0
            await balancer.says("the last 3 lines of the access log are lost: nobody reads stdout")
        finally:
            await balancer.end()


@pytest.mark.integration
async def test_two_unread_outputs_do_not_prevent_the_exit(full_pipe: int) -> None:
    async with app_replica() as app:
        child = forkserver().start(
            "balancer", environ=environ(app.address), stdout=full_pipe, stderr=full_pipe
        )
        process = Process(child)
        try:

            async def is_checked() -> bool:
                return app.checks > 0

            await until(is_checked)  # so it runs and handles its signals
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(PATIENCE):
                assert await process.wait() == 0
        finally:
            process.kill()
            await gone(process.pid)
