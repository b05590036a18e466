"""A worker's interpreter gets its descriptors at its start, or later if it was started early."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable

import pytest

from balancer.messages import FromWorker, Heartbeat, Ready
from balancer.runtime import interpreter
from balancer.runtime.interpreter import Interpreters, receive, worker_environment
from balancer.runtime.worker_process import Ended, WorkerProcess
from balancer.telemetry.segment import Segment
from tests.fakes.messages import start_message

pytestmark = pytest.mark.integration

PATIENCE = 20.0


async def serves(interpreters: Interpreters) -> int:
    """Start a worker with the next interpreter until it is ready; returns its pid."""
    loop = asyncio.get_running_loop()
    segment = Segment.create(1)
    ended: asyncio.Future[Ended] = loop.create_future()
    heard: asyncio.Queue[FromWorker] = asyncio.Queue()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = WorkerProcess(
            start_message(),
            interpreters.take([segment.fd, listener.fileno()]),
            on_message=heard.put_nowait,
            on_ended=ended.set_result,
            on_error=lambda message, error: None,
        )
        try:
            async with asyncio.timeout(PATIENCE):
                while isinstance(message := await heard.get(), Heartbeat):
                    pass
            assert message == Ready()
        finally:
            process.kill()
            async with asyncio.timeout(PATIENCE):
                await ended
            segment.close()
    return process.pid


@pytest.fixture
def children() -> Callable[[], list[int]]:
    """The pids of the processes that the test has started and that were not waited for."""
    before = pids()
    return lambda: [pid for pid in pids() if pid not in before]


def pids() -> list[int]:
    with open(f"/proc/{os.getpid()}/task/{os.getpid()}/children") as file:
        return [int(pid) for pid in file.read().split()]


async def test_the_early_one_becomes_the_first_worker(children: Callable[[], list[int]]) -> None:
    interpreters = Interpreters()
    interpreters.warm_up()
    (early,) = children()
    assert await serves(interpreters) == early
    assert await serves(interpreters) != early


async def test_without_an_early_one_each_worker_gets_a_new_one(children: Callable[[], list[int]]) -> None:
    interpreters = Interpreters()
    assert children() == []
    assert await serves(interpreters) > 0


def test_one_that_is_not_taken_is_ended(children: Callable[[], list[int]]) -> None:
    interpreters = Interpreters()
    interpreters.warm_up()
    assert len(children()) == 1
    interpreters.close()
    assert children() == []


async def test_if_the_early_one_has_died_another_is_started(children: Callable[[], list[int]]) -> None:
    interpreters = Interpreters()
    interpreters.warm_up()
    (early,) = children()
    os.kill(early, signal.SIGKILL)
    await asyncio.to_thread(os.waitid, os.P_PID, early, os.WEXITED | os.WNOWAIT)  # it was killed
    assert await serves(interpreters) != early
    assert children() == []


def test_one_that_cannot_get_so_many_descriptors_is_ended(
    monkeypatch: pytest.MonkeyPatch, children: Callable[[], list[int]]
) -> None:
    monkeypatch.setattr(interpreter, "MOST_SENT", 1)
    interpreters = Interpreters()
    interpreters.warm_up()
    (early,) = children()
    with open(os.devnull, "rb") as one, open(os.devnull, "rb") as two:
        taken = interpreters.take([one.fileno(), two.fileno()])
        assert taken.process.pid != early
        assert children() == [taken.process.pid]
        taken.channel.close()
        taken.process.kill()
        taken.process.wait()


def test_as_many_descriptors_as_the_kernel_allows_arrive() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, open(os.devnull, "rb") as file:
        socket.send_fds(ours, [b"."], [file.fileno()] * interpreter.MOST_SENT)
        descriptors = receive(theirs)
        assert len(descriptors) == interpreter.MOST_SENT
        assert all(os.path.samestat(os.fstat(each), os.fstat(file.fileno())) for each in descriptors)
        for each in descriptors:
            os.close(each)


def test_an_early_one_ends_when_the_supervisor_does() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "balancer.runtime.worker", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env=worker_environment(os.environ),
            stderr=subprocess.PIPE,
        )
    ours.close()
    assert process.communicate(timeout=PATIENCE)[1] == b""
    assert process.returncode == 0
