"""Programs that tests run as clients."""

import asyncio
import os
import shutil
import signal
from asyncio.subprocess import PIPE
from typing import NamedTuple, NoReturn

import pytest

PATIENCE = 30.0  # seconds after which a test has failed


class Done(NamedTuple):
    """A program that has ended, and its output."""

    code: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """All output."""
        return (self.stdout + self.stderr).decode(errors="replace")


def tool(packages: str, *names: str) -> str:
    """The first of these commands that is installed. Skips the test where none is."""
    for name in names:
        if command := shutil.which(name):
            return command
    missing(f"{names[0]} is not installed (Debian: apt-get install --no-install-recommends {packages})")


def missing(what: str) -> NoReturn:
    """Skip the test, or fail it where all must run."""
    if os.environ.get("REQUIRE_ALL_TESTS") == "1":
        pytest.fail(what)
    pytest.skip(what)


async def run(*argv: str, says: bytes = b"", **environ: str) -> Done:
    """Run a program to its end, with `says` as its input; a late one is killed with all that it started."""
    process = await asyncio.create_subprocess_exec(
        *argv, stdin=PIPE, stdout=PIPE, stderr=PIPE, env={**os.environ, **environ}, start_new_session=True
    )
    try:
        async with asyncio.timeout(PATIENCE):
            stdout, stderr = await process.communicate(says)
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.communicate()
    assert process.returncode is not None
    return Done(process.returncode, stdout, stderr)
