"""A worker's process: its end is reported once, whatever happens at the same time."""

import asyncio
import os
import signal
import socket
import sys

import pytest

from balancer.messages import Fatal, FromWorker, from_workers
from balancer.runtime.channel import Channel
from balancer.runtime.interpreter import started
from balancer.runtime.worker_process import Ended, WorkerProcess
from balancer.spec.part import encode
from balancer.telemetry.segment import Segment
from tests.fakes.messages import start_message

pytestmark = pytest.mark.integration

PATIENCE = 20.0


async def test_a_worker_that_has_just_ended_may_be_killed() -> None:
    """As when a change is sent to a worker that has just died."""
    segment = Segment.create(1)
    ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
    try:
        process = WorkerProcess(
            start_message(),
            started([segment.fd]),
            on_message=lambda message: None,
            on_ended=ended.set_result,
            on_error=lambda message, error: None,
        )
        os.kill(process.pid, signal.SIGKILL)
        # Dead, but not reaped: any other way to wait for it would reap it. It takes no time.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222 - see above
        process.kill()
        process.kill()
        async with asyncio.timeout(PATIENCE):
            assert (await ended).exit_code == -signal.SIGKILL
        process.kill()
    finally:
        segment.close()


async def test_cpu_seconds_do_not_decrease_when_a_worker_ends() -> None:
    """Not between its end and the report of it either, when nothing is left in /proc."""
    segment = Segment.create(1)
    ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
    ready = asyncio.Event()
    try:
        process = WorkerProcess(
            start_message(),
            started([segment.fd]),
            on_message=lambda message: ready.set(),
            on_ended=ended.set_result,
            on_error=lambda message, error: None,
        )
        async with asyncio.timeout(PATIENCE):
            await ready.wait()
            seen = [process.stats().cpu_seconds]
            process.kill()
            while not ended.done():
                seen.append(process.stats().cpu_seconds)
                await asyncio.sleep(0)
        seen += [process.stats().cpu_seconds, (await ended).cpu_seconds]
    finally:
        segment.close()
    assert seen[0] > 0.0
    assert seen == sorted(seen)
    assert seen[-1] == seen[-2]


async def test_a_worker_that_cannot_read_its_spec_reports_why_and_ends() -> None:
    """As when supervisor and workers have different versions, after an upgrade in place."""
    ours, theirs = socket.socketpair()
    segment = Segment.create(1)
    heard: asyncio.Queue[FromWorker] = asyncio.Queue()
    lost = asyncio.Event()
    channel = Channel(from_workers(), heard.put_nowait, lost.set, lambda what, error: None)
    with theirs:
        fds = (theirs.fileno(), segment.fd)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "balancer.runtime.worker", *map(str, fds)), pass_fds=fds
        )
    try:
        async with asyncio.timeout(PATIENCE):
            ours.send(encode(start_message()).replace(b'"hash_key"', b'"key"') + b"\n")
            await channel.open(ours)
            while not isinstance(message := await heard.get(), Fatal):
                pass  # a log line
            channel.close()
            assert await process.wait() == 1
            await lost.wait()
    finally:
        segment.close()
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert "unknown field `key` - at `$.spec.pools[0]`" in message.error
