"""Keeps the file of `STATE__FILE` current (L7): soon after each change by an operator, each minute for what
was learned, and at the end.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from balancer.runtime.aside import aside
from balancer.runtime.kept import Kept
from balancer.runtime.state_file import write

SOON = 0.2  # seconds after a change: several are written together
LEARNED = 60.0  # seconds between two looks at what was learned


class StateKeeper:
    """`now` returns what is to be kept. Without a `path` nothing is written."""

    def __init__(self, path: str, now: Callable[[], Kept], log: logging.Logger) -> None:
        self.path = path
        self._now = now
        self._log = log
        self._wanted = asyncio.Event()
        self._one_by_one = asyncio.Lock()
        self._written: Kept | None = None
        self._trouble = ""  # logged, and not over

    @property
    def works(self) -> bool:
        """Whether what changes is kept, as far as known."""
        return bool(self.path) and not self._trouble

    def changed(self) -> None:
        """An operator has changed something."""
        self._wanted.set()

    def settle(self, path: str) -> None:
        """The file is this one now; what another one has is written over."""
        if path != self.path:
            self.path, self._written, self._trouble = path, None, ""
            self._wanted.set()

    async def close(self) -> None:
        """Write nothing any more: it is another program's file now."""
        self.path = ""
        async with self._one_by_one:
            return

    async def run(self) -> None:
        """Write for as long as the instance runs."""
        while True:
            try:
                async with asyncio.timeout(LEARNED):
                    await self._wanted.wait()
                    await asyncio.sleep(SOON)
            except TimeoutError:
                pass
            self._wanted.clear()
            await self.write()

    async def write(self) -> None:
        """Write what is not written yet. A disk that does not answer holds up nothing else."""
        async with self._one_by_one:
            kept, path = self._now(), self.path
            if not path or kept == self._written:
                return
            try:
                await aside("write the state", partial(write, path, kept))
            except OSError as error:
                self._failed(path, error)
                return
            self._written = kept
            if self._trouble:
                self._trouble = ""
                self._log.info("%s is written again", path)

    def _failed(self, path: str, error: OSError) -> None:
        why = (error.strerror or str(error)).lower()
        if why != self._trouble:
            self._trouble = why
            self._log.error("%s cannot be written (%s): a restart forgets what was changed", path, why)
