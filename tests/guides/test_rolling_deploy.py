"""Every command of docs/guides/rolling-deploy.md prints what is shown, and no request fails meanwhile."""

import asyncio
import os
import shlex
import sys
from asyncio.subprocess import DEVNULL
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest

from tests.fakes.instance import gone, running
from tests.fakes.pebble import free_port
from tests.guides.page import ROOT, Guide, Place

pytestmark = [pytest.mark.integration, pytest.mark.slow]

GUIDE = Guide("guides/rolling-deploy.md")
SECTIONS = ["The first one, by hand", "The rest, by a script", "Afterwards"]
# In place of systemd's: ends the process of an app, and starts it anew.
SYSTEMCTL = """\
#!/bin/sh
cd {directory}
kill -TERM $(cat $2.pid)
tail --pid=$(cat $2.pid) -f /dev/null
. ./$2.env
REPLICA_NAME=$2-new {python} -m loadtests.app >/dev/null 2>&1 &
echo $! >$2.pid
"""


class Machine:
    """The apps of one machine, as processes, and its `systemctl`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.names: dict[str, str] = {}
        file = directory / "bin" / "systemctl"
        file.parent.mkdir()
        file.write_text(SYSTEMCTL.format(directory=shlex.quote(str(directory)), python=sys.executable))
        file.chmod(0o755)

    async def start(self, name: str) -> None:
        """One app, its first version, on a port of its own."""
        address = f"127.0.0.1:{free_port()}"
        environ = {"REPLICA_LISTEN": address, "REPLICA_SERVICE_TIME": "fixed:20ms"}
        lines = [f"export {key}={value}\n" for key, value in environ.items()]
        (self.directory / f"{name}.env").write_text("".join(lines))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "loadtests.app"),
            env={**os.environ, **environ, "REPLICA_NAME": f"{name}-old", "PYTHONPATH": str(ROOT)},
            stdout=DEVNULL,
        )
        (self.directory / f"{name}.pid").write_text(str(process.pid))
        self.names[f"{name}:8000"] = address

    async def end(self) -> None:
        for file in self.directory.glob("*.pid"):
            pid = int(file.read_text())
            with suppress(ProcessLookupError):
                os.kill(pid, 15)
                await gone(pid)


@asynccontextmanager
async def users(port: int) -> AsyncIterator[Counter[str]]:
    """What they get: a status, or the kind of error, and which app has answered. One in two sends a body."""
    seen: Counter[str] = Counter()

    async def user(number: int) -> None:
        async with aiohttp.ClientSession() as session:
            for count in range(100_000):
                body = b"order" if (count + number) % 2 else None
                try:
                    async with session.request("POST" if body else "GET", url, data=body) as response:
                        await response.read()
                    seen[str(response.status)] += 1
                    seen[response.headers.get("X-Replica", "none")] += 1
                except aiohttp.ClientError as error:
                    seen[type(error).__name__] += 1
                await asyncio.sleep(0.02)

    url = f"http://127.0.0.1:{port}/items/7"
    tasks = [asyncio.create_task(user(number)) for number in range(4)]
    try:
        yield seen
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_the_commands_print_what_is_shown_and_users_notice_nothing(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(machine.end)
        for name in ("app1", "app2"):
            await machine.start(name)
        upstreams = ",".join(machine.names.values())
        balancer = await stack.enter_async_context(
            running(UPSTREAMS=upstreams, HEALTH_CHECK__PATH="/healthz", HEALTH_CHECK__INTERVAL="500ms")
        )
        names = {
            **machine.names,
            "127.0.0.1:9901": f"127.0.0.1:{balancer.admin_port}",
            "127.0.0.1:8080": f"127.0.0.1:{balancer.port}",
        }
        place = Place(tmp_path, names, {"BALANCER_ADMIN_LISTEN": names["127.0.0.1:9901"]})
        (tmp_path / "deploy.sh").write_text(place.real(GUIDE.file("deploy.sh")))
        seen = await stack.enter_async_context(users(balancer.port))
        for section in SECTIONS:
            await place.runs(GUIDE.commands(section))
    statuses = {what for what in seen if not what.startswith("app")}
    assert statuses <= {"200", "405", "201"}
    assert {"app1-old", "app2-old", "app1-new", "app2-new"} <= set(seen)


def test_every_command_of_the_page_is_in_a_section_that_runs() -> None:
    assert GUIDE.commands() == [one for section in SECTIONS for one in GUIDE.commands(section)]
