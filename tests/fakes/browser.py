"""A real browser, without a window."""

import asyncio
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.fakes.tools import run, tool

# Without a GPU and a driver, and without calls of its own to anywhere.
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic",
    "--disable-background-networking", "--disable-component-update", "--disable-extensions",
    "--disable-sync", "--no-first-run", "--remote-debugging-port=0",
)  # fmt: skip


def browser() -> str:
    """The command of one. Skips the test where there is none."""
    return tool("chromium", "chromium", "chromium-browser", "google-chrome")


async def trusts(profile: Path, authority: str) -> None:
    """Make a browser with this profile trust the authority in a file, as a user would."""
    store = profile / ".pki/nssdb"
    store.mkdir(parents=True)
    certutil = tool("libnss3-tools", "certutil")
    place = ("-d", f"sql:{store}")
    for words in (("-N", "--empty-password"), ("-A", "-n", "authority", "-t", "C,,", "-i", authority)):
        done = await run(certutil, *place, *words)
        assert done.code == 0, done.text


@asynccontextmanager
async def opened(browser: str, url: str, profile: Path) -> AsyncIterator[None]:
    """The browser with a page, in a session of its own, which is killed at the end."""
    environ = {**os.environ, "HOME": str(profile)}
    process = await asyncio.create_subprocess_exec(
        browser, *OPTIONS, f"--user-data-dir={profile}/profile", url,
        stdout=DEVNULL, stderr=PIPE, env=environ, start_new_session=True,
    )  # fmt: skip
    try:
        yield
    except TimeoutError as error:
        os.killpg(process.pid, signal.SIGKILL)
        assert process.stderr is not None
        error.add_note((await process.stderr.read()).decode(errors="replace"))
        raise
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
        await process.communicate()
