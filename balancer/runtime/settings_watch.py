"""Reloads when the settings file, or a file that it names, has changed (L7).

By stat, as for certificates (docs/decisions/0112): what a path leads to is often replaced, or a link to it
swapped. A change counts when it has stayed the same from one look to the next: files are seldom written in
one step.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping

from balancer.config.file_stamps import Stamp
from balancer.runtime.certificates import StampFiles, stamps_aside

LOOK = 1.0  # seconds between two looks


class SettingsWatch:
    """`files` returns those to watch, at each look; none while that is off. `reload(by)` takes them up."""

    def __init__(
        self,
        files: Callable[[], Iterable[str]],
        reload: Callable[[str], Awaitable[None]],
        stamp_files: StampFiles = stamps_aside,
    ) -> None:
        self._files = files
        self._reload = reload
        self._stamp_files = stamp_files
        self._taken_up: Mapping[str, Stamp] = {}
        self._last: Mapping[str, Stamp] = {}

    async def run(self) -> None:
        """Look for as long as the instance runs."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK)

    async def look(self) -> None:
        """Reload if a file has changed, and is not being changed any more."""
        found = await self._stamp_files(list(self._files()))
        last, self._last = self._last, found
        # A file that was not watched before was read just now.
        self._taken_up = {path: self._taken_up.get(path, stamp) for path, stamp in found.items()}
        changed = [path for path, stamp in found.items() if stamp != self._taken_up[path]]
        if changed and found == last:
            self._taken_up = found
            await self._reload(f"change of {', '.join(changed)}")
