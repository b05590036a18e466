"""`balancer top` in a terminal and in a pipe, against a running instance."""

import asyncio
import os
import pty
import re
import signal
import subprocess
import sys
import termios
from collections.abc import AsyncIterator

import pytest

from tests.fakes.app_replica import AppReplica, app_replica
from tests.fakes.forkserver import run
from tests.fakes.instance import PATIENCE, Balancer, get, running

pytestmark = pytest.mark.integration

LEAVES, ENTERS = b"\x1b[?1049l", b"\x1b[?1049h"  # of the alternate screen
_STYLES = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture
async def app() -> AsyncIterator[AppReplica]:
    async with app_replica() as replica:
        yield replica


@pytest.fixture
async def balancer(app: AppReplica) -> AsyncIterator[Balancer]:
    async with running(UPSTREAMS=app.address) as instance:
        yield instance


class Terminal:
    """`balancer top` in a terminal of 80 columns."""

    def __init__(self, balancer: Balancer) -> None:
        self._master, self._slave = pty.openpty()
        termios.tcsetwinsize(self._slave, (24, 80))
        self.before = termios.tcgetattr(self._slave)
        self._shown = bytearray()
        self._more = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._master, self._read)
        command = [sys.executable, "-m", "balancer", "top", "--admin", f"127.0.0.1:{balancer.admin_port}"]
        environ = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        self.process = subprocess.Popen(
            [*command, "--interval", "0.2"],
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            env={**environ, "TERM": "xterm"},
            start_new_session=True,
        )

    def _read(self) -> None:
        self._shown += os.read(self._master, 1 << 16)
        self._more.set()

    def press(self, keys: bytes) -> None:
        self._shown.clear()
        os.write(self._master, keys)

    async def shows(self, text: bytes, *, raw: bool = False) -> None:
        """Wait until it has shown this since the last key."""
        async with asyncio.timeout(PATIENCE):
            while text not in (self._shown if raw else _STYLES.sub(b"", self._shown)):
                self._more.clear()
                await self._more.wait()

    async def ends(self) -> int:
        """Its exit code."""
        return await asyncio.to_thread(self.process.wait, PATIENCE)

    def settings(self) -> list[object]:
        return termios.tcgetattr(self._slave)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._master)
        self.process.kill()
        self.process.wait()
        os.close(self._master)
        os.close(self._slave)


@pytest.fixture
async def terminal(balancer: Balancer) -> AsyncIterator[Terminal]:
    made = Terminal(balancer)
    yield made
    made.close()


async def test_it_shows_an_upstream_in_place_and_quits(
    terminal: Terminal, balancer: Balancer, app: AppReplica
) -> None:
    await terminal.shows(app.address.encode())
    await terminal.shows(ENTERS, raw=True)
    for _ in range(5):
        await get(balancer.port)
    terminal.press(b"r")
    await terminal.shows(b"sort:")
    terminal.press(b"\x1b[B\r")
    await terminal.shows(b"last check")
    await terminal.shows(b"5 so far")
    terminal.press(b"\x1b")
    await terminal.shows(b"sort:")
    terminal.press(b"q")
    assert await terminal.ends() == 0
    await terminal.shows(LEAVES, raw=True)
    assert terminal.settings() == terminal.before


async def test_it_survives_the_balancer(terminal: Terminal, balancer: Balancer, app: AppReplica) -> None:
    await terminal.shows(app.address.encode())
    balancer.signal(signal.SIGKILL)
    await terminal.shows(b"stale since ")
    terminal.process.send_signal(signal.SIGINT)
    assert await terminal.ends() == 130
    await terminal.shows(LEAVES, raw=True)
    assert terminal.settings() == terminal.before


@pytest.mark.parametrize("options", [(), ("--once",)], ids=["pipe", "once"])
async def test_in_a_pipe_it_prints_one_table(
    balancer: Balancer, app: AppReplica, options: tuple[str, ...]
) -> None:
    place = f"127.0.0.1:{balancer.admin_port}"
    done = await asyncio.to_thread(
        run, "balancer", "top", "--admin", place, "--interval", "0.2", *options, environ={}
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == ["balancer", "pool,", "default", app.address]
    assert lines[3][1:3] == ["active", "0"]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--sort", "size"), "size is not known; write name, rps, errors, latency, inflight"),
        (("--admin", "127.0.0.1:1"), "nothing answers on 127.0.0.1:1"),
    ],
    ids=["order", "nobody"],
)
async def test_what_it_cannot_show_is_an_error(arguments: tuple[str, ...], error: str) -> None:
    done = await asyncio.to_thread(run, "balancer", "top", *arguments, environ={})
    assert done.returncode != 0
    assert error in " ".join(done.stderr.replace("\u2502", " ").split())
