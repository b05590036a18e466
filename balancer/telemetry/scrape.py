"""Keeps scrapes off the event loop (L2): the snapshot is taken on it, the text is rendered in a thread."""

import asyncio
from collections.abc import Callable
from typing import Final

# Renderings in a row take a quarter of the time: in their thread they hold the interpreter's lock, and probes
# of /readyz behind 2,000 connections with a scrape each waited for more than a second.
_PAUSES: Final = 3  # times as long as the rendering took
_LONGEST_PAUSE: Final = 1.0  # seconds


def pause_after(seconds: float) -> float:
    """How long to wait after a rendering that took so long, in seconds, before the next one begins."""
    return min(_PAUSES * seconds, _LONGEST_PAUSE)


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
        self._free_at = 0.0  # on the loop's clock: the next one begins no sooner

    async def result(self) -> bytes:
        """The text of the next rendering to begin. Cancelling one caller does not affect the others."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_task(self._render())
        return await asyncio.shield(self._next)

    async def _render(self) -> bytes:
        loop = asyncio.get_running_loop()
        async with self._one_at_a_time:
            wait = self._free_at - loop.time()
            if wait > 0:
                await asyncio.sleep(wait)
            self._next = None  # later callers are too late for this snapshot
            begun = loop.time()
            try:
                return await asyncio.to_thread(self._snapshot())
            finally:
                ended = loop.time()
                self._free_at = ended + pause_after(ended - begun)
