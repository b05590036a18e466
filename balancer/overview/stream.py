"""The overview as server-sent events (L5): the whole, and from then on what has changed, as merge patches."""

import asyncio
from collections import deque
from typing import Any, Final

import orjson

from balancer.overview.patch import merge_patch
from balancer.overview.shape import ChangesShape, OverviewShape

MOST_LISTENERS: Final = 32  # of one instance
BEHIND: Final = 5  # frames that wait for a slow reader; then it gets the whole again


def whole(tree: OverviewShape, changes: ChangesShape) -> OverviewShape:
    """The overview for one who may make these changes."""
    return {**tree, "instance": {**tree["instance"], "changes": changes}}


class Listener:
    """One who reads the stream. The frames of a slow one do not pile up."""

    def __init__(self, stream: "Stream", changes: ChangesShape) -> None:
        self._stream = stream
        self._changes = changes
        self._frames: deque[bytes] = deque()
        self._wants_all = True
        self._woken = asyncio.Event()

    async def frame(self) -> bytes:
        """The next frame; empty at the end of the stream."""
        while True:
            if self._stream.closed:
                return b""
            tree = self._stream.tree
            if self._wants_all and tree is not None:
                self._wants_all = False
                self._frames.clear()
                return _event("overview", whole(tree, self._changes))
            if self._frames and not self._wants_all:
                return self._frames.popleft()
            self._woken.clear()
            await self._woken.wait()

    def push(self, frame: bytes) -> None:
        """A frame that says what has changed."""
        if len(self._frames) >= BEHIND:
            self._wants_all = True
        if not self._wants_all:
            self._frames.append(frame)
        self._woken.set()

    def begin_anew(self) -> None:
        """The next frame is to be the whole."""
        self._wants_all = True
        self._woken.set()

    def wake(self) -> None:
        """The stream has ended."""
        self._woken.set()


class Stream:
    """Those who listen, and the overview that they have. For one event loop."""

    def __init__(self) -> None:
        self.tree: OverviewShape | None = None
        self.closed = False
        self._listeners: set[Listener] = set()

    def __bool__(self) -> bool:
        return bool(self._listeners)

    def join(self, changes: ChangesShape) -> Listener | None:
        """Listen from now on; None if too many do."""
        if len(self._listeners) >= MOST_LISTENERS or self.closed:
            return None
        listener = Listener(self, changes)
        self._listeners.add(listener)
        return listener

    def leave(self, listener: Listener) -> None:
        """Listen no more."""
        self._listeners.discard(listener)
        if not self._listeners:
            self.tree = None  # out of date from now on

    def publish(self, before: OverviewShape | None, tree: OverviewShape, frame: bytes | None) -> None:
        """The present overview, and what `difference` has found between `before` and it. If those who listen
        have another one than `before`, they get the whole."""
        if not self._listeners:
            return
        follows = before is not None and before is self.tree and frame is not None
        self.tree = tree
        for listener in self._listeners:
            if follows and frame is not None:
                listener.push(frame)
            else:
                listener.begin_anew()

    def close(self) -> None:
        """End it for all: the instance stops."""
        self.closed = True
        for listener in self._listeners:
            listener.wake()


def difference(before: OverviewShape | None, after: OverviewShape) -> bytes | None:
    """The frame for those who have `before`; None for none. It may be made in a thread."""
    if before is None:
        return None
    return _event("patch", merge_patch(dict(before), dict(after)))


def _event(kind: str, data: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps(data))
