"""A worker's process: its end is told once, whatever happens at the same moment."""

import asyncio
import os
import signal

import pytest

from balancer.runtime.worker_process import Ended, WorkerProcess
from balancer.telemetry.segment import Segment

pytestmark = pytest.mark.integration

PATIENCE = 20.0


async def test_one_that_has_ended_may_be_killed_before_anybody_has_noticed() -> None:
    """As when a change is told to a worker that has just died."""
    segment = Segment.create(1)
    ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
    try:
        process = WorkerProcess(
            {"type": "start"},
            segment_fd=segment.fd,
            listeners=[],
            on_message=lambda message: None,
            on_ended=ended.set_result,
            on_error=lambda message, error: None,
        )
        os.kill(process.pid, signal.SIGKILL)
        # Dead, and reaped by nobody: any other way to wait for it would reap it. It takes no time.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222 - see above
        process.kill()
        process.kill()
        async with asyncio.timeout(PATIENCE):
            assert (await ended).exit_code == -signal.SIGKILL
        process.kill()
    finally:
        segment.close()
