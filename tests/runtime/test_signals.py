"""Every signal, sent to real processes: which ones drain, which are ignored, and none ends a process without
a log line."""

import asyncio
import os
import resource
import signal
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest

from balancer.runtime import signals
from tests.fakes.app_replica import AppReplica, app_replica
from tests.fakes.instance import Balancer, get, launched, running, until

pytestmark = pytest.mark.integration

CRASHES = {
    signal.SIGSEGV,
    signal.SIGBUS,
    signal.SIGFPE,
    signal.SIGILL,
    signal.SIGABRT,
    signal.SIGTRAP,
    signal.SIGSYS,
}
# The first two cannot be handled; the others stop a process, they do not end it.
NOT_OURS = {signal.SIGKILL, signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
ALL = sorted(signal.valid_signals() - CRASHES - NOT_OURS)
LIVED_THROUGH = [number for number in ALL if number not in (*signals.STOPPING, signals.REPLACING)]


@pytest.fixture
async def app() -> AsyncIterator[AppReplica]:
    async with app_replica() as replica:
        yield replica


def test_every_signal_is_handled() -> None:
    default = {signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH}  # must have no effect
    python = {signal.SIGPIPE, signal.SIGXFSZ}  # ignored by the interpreter
    ours = {*signals.STOPPING, signals.RELOADING, signals.REPLACING, *signals.WITHOUT_EFFECT}
    assert set(ALL) == {*ours, *default, *python}


async def test_the_supervisor_survives_all_other_signals_and_logs_them(app: AppReplica) -> None:
    async with running(UPSTREAMS=app.address) as balancer:
        workers = balancer.workers()
        for number in LIVED_THROUGH:
            os.kill(balancer.pid, number)
            if number in signals.WITHOUT_EFFECT:
                await balancer.says(f"{signals.name_of(number)} is ignored: ")
        assert (await get(balancer.port)).status == 200
        assert balancer.workers() == workers


@pytest.mark.parametrize("number", signals.STOPPING, ids=signals.name_of)
async def test_term_and_its_like_drain(app: AppReplica, number: signal.Signals) -> None:
    async with running(UPSTREAMS=app.address) as balancer:
        client = await balancer.connect()
        client.send("/hold")
        await app.holds()
        balancer.signal(number)
        await balancer.says(f"{number.name}: draining")
        app.release.set()
        assert (await client.answer()).status == 200
        assert await balancer.exit_code() == 0


async def test_workers_ignore_every_signal_they_can(app: AppReplica) -> None:
    async with running(UPSTREAMS=app.address) as balancer:
        (worker,) = balancer.workers()
        assert os.getpgid(worker) != os.getpgid(balancer.pid)
        for number in ALL:
            os.kill(worker, number)
        assert (await get(balancer.port)).status == 200
        assert balancer.workers() == [worker]


async def test_workers_that_have_just_started_ignore_signals_too(app: AppReplica) -> None:
    async with launched(UPSTREAMS=app.address) as balancer:
        await until(lambda: has_worker(balancer))
        (worker,) = balancer.workers()
        for number in ALL:
            os.kill(worker, number)
        await balancer.established()
        assert balancer.workers() == [worker]


async def has_worker(balancer: Balancer) -> bool:
    return bool(balancer.workers())


def without_core(pid: int) -> None:
    resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))


@pytest.mark.parametrize("number", sorted(CRASHES), ids=signals.name_of)
async def test_a_crash_logs_its_position(app: AppReplica, number: signal.Signals) -> None:
    async with running(UPSTREAMS=app.address) as balancer:
        (worker,) = balancer.workers()
        for pid in (worker, balancer.pid):
            without_core(pid)
        os.kill(worker, number)
        await balancer.says(f"worker 0 (pid {worker}) ended (signal {number.name}); replacing it")
        await balancer.becomes_ready()
        said = len(tracebacks(balancer))
        assert said
        os.kill(balancer.pid, number)
        assert await balancer.exit_code() == -number
        assert len(tracebacks(balancer)) > said


def tracebacks(balancer: Balancer) -> list[str]:
    return [line for line in balancer.stderr if "(most recent call first)" in line]


ALONE = """
import os, sys
from balancer.runtime import signals
signals.outside_the_loop()
for number in signals.WITHOUT_EFFECT:
    os.kill(os.getpid(), number)
os.kill(os.getpid(), int(sys.argv[1]))
"""


@pytest.mark.parametrize("number", signals.STOPPING, ids=signals.name_of)
async def test_before_it_serves_the_supervisor_exits_at_once_with_a_message(number: signal.Signals) -> None:
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", ALONE, str(int(number))],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 128 + number
    assert done.stderr == f"balancer: {number.name} while it does not serve: exiting at once\n"
