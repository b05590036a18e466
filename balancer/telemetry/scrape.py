"""Keeps scrapes off the event loop (L2): the snapshot is taken on it, the text is rendered in a thread."""

import asyncio
from collections.abc import Callable


class Scrape:
    """One rendering at a time, however many scrapes arrive.

    Scrapes that arrive while one runs share the next one, so that none gets a state from before its request,
    and at most one rendering runs and one waits.
    """

    def __init__(self, snapshot: Callable[[], Callable[[], bytes]]) -> None:
        """`snapshot` is called on the event loop; what it returns is called in a thread."""
        self._snapshot = snapshot
        self._one_at_a_time = asyncio.Lock()
        self._next: asyncio.Task[bytes] | None = None

    async def result(self) -> bytes:
        """The text of the next rendering to begin. Cancelling one caller does not affect the others."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_task(self._render())
        return await asyncio.shield(self._next)

    async def _render(self) -> bytes:
        async with self._one_at_a_time:
            self._next = None  # later callers are too late for this snapshot
            return await asyncio.to_thread(self._snapshot())
