"""How a scrape keeps off the event loop (L2): a snapshot is taken on it, the text is made in a thread."""

import asyncio
from collections.abc import Callable


class Scrape:
    """One rendering at a time, however many ask.

    Whoever asks while one runs shares the next one with all who came meanwhile, so that nobody is shown a
    state from before his question, and there is never more than one running and one waiting.
    """

    def __init__(self, snapshot: Callable[[], Callable[[], bytes]]) -> None:
        """`snapshot` is called on the event loop; what it returns is called in a thread."""
        self._snapshot = snapshot
        self._one_at_a_time = asyncio.Lock()
        self._next: asyncio.Task[bytes] | None = None

    async def result(self) -> bytes:
        """The text of the next rendering to begin. Who gives up waiting disturbs nobody else."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_task(self._render())
        return await asyncio.shield(self._next)

    async def _render(self) -> bytes:
        async with self._one_at_a_time:
            self._next = None  # who asks from here on comes too late for this snapshot
            return await asyncio.to_thread(self._snapshot())
