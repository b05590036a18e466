"""WebSockets by node's `ws`: the script tests/node/ends.cjs, which plays both ends."""

import asyncio
import json
import os
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.fakes.tools import PATIENCE, missing, tool

_ROOT = Path(__file__).parents[2]
_SCRIPT = _ROOT / "tests/node/ends.cjs"
_MODULES = _ROOT / ".venv/node/node_modules"

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


def node() -> str:
    """The command. Skips the test where it or `ws` is missing."""
    command = tool("nodejs npm", "node")
    if not (_MODULES / "ws").is_dir():
        missing(f"{_MODULES} has no ws: install npm, and then run make setup")
    return command


@asynccontextmanager
async def ends(node: str, *arguments: str) -> AsyncIterator[Process]:
    """The script in a process of its own; it is gone afterwards."""
    environ = {**os.environ, "NODE_PATH": str(_MODULES)}
    process = await asyncio.create_subprocess_exec(node, str(_SCRIPT), *arguments, stdout=PIPE, env=environ)
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


async def seen(node: str, server: Process, port: int, *ca: str) -> dict[str, list[list[Any]]]:
    """What the client and the server see of each play at this port; with TLS if there is a file `ca`."""
    ends_of: list[dict[str, list[Any]]] = [{}, {}]  # an end may print a play after the next one
    async with asyncio.timeout(PATIENCE), ends(node, "client", str(port), *ca) as client:
        for _ in CODES:
            for plays, end in zip(ends_of, (client, server), strict=True):
                name, *events = await line(end)
                plays[name] = events
    return {name: [plays[name] for plays in ends_of] for name in CODES}
