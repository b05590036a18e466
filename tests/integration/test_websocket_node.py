"""WebSockets by node's `ws`: both ends see the same through a balancer as directly."""

import asyncio
import json
import os
import shutil
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.instance import PATIENCE, running

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tests/node/ends.cjs"
MODULES = ROOT / ".venv/node/node_modules"

# The plays of the script, and the code with which they end.
CODES = {
    "large messages": 1000,
    "fragments from the client": 1000,
    "fragments from the app": 1000,
    "compressed fragments": 1000,
    "permessage-deflate": 1000,
    "a code from the client": 4321,
    "a code from the app": 1013,
    "no code": 1005,
    "an end without a Close frame": 1006,
    "a message that is no UTF-8": 1007,
}


@pytest.fixture(scope="module")
def node() -> str:
    """The command. Skips the test where it or `ws` is missing."""
    command = shutil.which("node")
    if command is None:
        missing = "node is not installed (Debian: apt-get install --no-install-recommends nodejs npm)"
    elif not (MODULES / "ws").is_dir():
        missing = f"{MODULES} has no ws: install npm, and then run make setup"
    else:
        return command
    if os.environ.get("REQUIRE_ALL_TESTS") == "1":
        pytest.fail(missing)
    pytest.skip(missing)


@asynccontextmanager
async def ends(node: str, *arguments: str) -> AsyncIterator[Process]:
    """The script in a process of its own; it is gone afterwards."""
    environ = {**os.environ, "NODE_PATH": str(MODULES)}
    process = await asyncio.create_subprocess_exec(node, str(SCRIPT), *arguments, stdout=PIPE, env=environ)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def line(process: Process) -> Any:
    """The next line of its output."""
    assert process.stdout is not None
    return json.loads(await process.stdout.readline())


async def seen(node: str, server: Process, port: int) -> dict[str, list[list[Any]]]:
    """What the client and the server see of each play at this port."""
    plays: dict[str, list[list[Any]]] = {}
    async with asyncio.timeout(PATIENCE), ends(node, "client", str(port)) as client:
        for _ in CODES:
            for end in (client, server):
                name, *events = await line(end)
                plays.setdefault(name, []).append(events)
    return plays


async def test_both_ends_see_the_same_as_directly(node: str) -> None:
    async with ends(node, "server") as server:
        port = await line(server)
        direct = await seen(node, server, port)
        for name, code in CODES.items():
            at_client, at_server = direct[name]
            assert at_client[0][:2] == ["open", "v1"]
            assert code in (at_client[-1][1], at_server[-1][1])
        async with running(UPSTREAMS=f"127.0.0.1:{port}", HEALTH_CHECK__ENABLED="false") as balancer:
            through = await seen(node, server, balancer.port)
    for name in CODES:
        assert through[name] == direct[name], name
