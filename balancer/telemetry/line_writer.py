"""Writes lines to a file descriptor in its own thread (L2): a blocked stdout never stalls an event loop."""

import errno
import os
import queue
import select
import threading
from collections.abc import Callable

GONE = frozenset([errno.EPIPE, errno.EBADF])  # permanent: nothing reads any more; a full disk may get space

Render = Callable[[], bytes]


class LineWriter:
    """Writes lines in order, in a daemon thread; lines that exceed the queue are dropped and counted.

    `write` never blocks and is called from one thread only. `render` is called in the writer's thread.
    """

    def __init__(self, fd: int, max_lines: int = 20_000) -> None:
        self._fd = fd
        self._max_lines = max_lines
        self._queue: queue.SimpleQueue[tuple[Render, int] | None] = queue.SimpleQueue()
        # Each counter is written by one thread: `_accepted` and `_refused` by the caller's, `_settled` and
        # `_lost` by the writer's.
        self._accepted = 0
        self._settled = 0
        self._refused = 0
        self._lost = 0
        self._thread = threading.Thread(target=self._run, name=f"lines-to-{fd}", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Lines dropped since the start: the queue was full, or rendering or writing failed."""
        return self._refused + self._lost

    def write(self, render: Render, lines: int = 1) -> None:
        """Queue `lines` lines that `render` returns, newlines included."""
        if self._accepted - self._settled + lines > self._max_lines:
            self._refused += lines
            return
        self._accepted += lines
        self._queue.put((render, lines))

    def close(self, timeout: float) -> int:
        """Write the queued lines, for at most `timeout` seconds; the descriptor stays open. Returns how many
        lines are left."""
        self._queue.put(None)
        self._thread.join(timeout)
        return self._accepted - self._settled

    def _run(self) -> None:
        gone = False
        while (item := self._queue.get()) is not None:
            render, lines = item
            written = False
            if not gone:
                try:
                    self._write_all(render())
                    written = True
                except OSError as error:
                    gone = error.errno in GONE
                except Exception:  # a bug in `render` loses its own lines, not all that follow
                    written = False
            if not written:
                self._lost += lines
            self._settled += lines

    def _write_all(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._fd, view) :]
            except BlockingIOError:  # another process made the shared descriptor non-blocking
                poller = select.poll()
                poller.register(self._fd, select.POLLOUT)
                poller.poll()
