"""The overview of the instance, for whoever looks (L7): a sample each second, and what has changed since the
one before to all who listen.

Without a listener only samples are taken, for the history. An overview is made once, in a thread, however
many listen."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from balancer.clock import Clock
from balancer.overview.shape import ChangesShape, OverviewShape
from balancer.overview.stream import Listener, Stream, difference
from balancer.runtime.figures import SampledFigures
from balancer.runtime.moment import Moment
from balancer.runtime.shaping import Seen, overview

STEP: Final = 1.0  # seconds
# Of a core: overviews that take longer to make come less often. One of 1,000 upstreams that all have requests
# takes 25 ms, and as much again to read the states and to send: it comes every other second.
MOST_SHARE: Final = 0.015


class Overviews:
    """`look` and `see` read the state of the instance, on the event loop; `run` takes a sample each STEP."""

    def __init__(
        self,
        figures: SampledFigures,
        look: Callable[[], Moment],
        see: Callable[[], Seen],
        clock: Clock,
        log: logging.Logger,
    ) -> None:
        self._figures = figures
        self._look = look
        self._see = see
        self._clock = clock
        self._log = log
        self._one_at_a_time = threading.Lock()
        self._stream = Stream()
        self._due = 0.0  # when the next overview may be made, on the monotonic clock

    async def run(self) -> None:
        """Take samples, for good."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            try:
                await self.sample()
            except Exception:  # mere watching must not end the instance
                self._log.exception("taking a sample for the dashboard failed")
            due = max(due + STEP, loop.time())
            await asyncio.sleep(due - loop.time())

    async def sample(self) -> None:
        """Take one, and tell those who listen."""
        moment, before = self._look(), self._stream.tree
        is_due = moment.now >= self._due or before is None
        seen = self._see() if self._stream and is_due else None
        made = await asyncio.to_thread(self._take, moment, seen, before)
        if made is not None:
            tree, frame, cost = made
            self._due = moment.now + cost / MOST_SHARE - STEP / 2  # it is a sample's time when it has come
            self._stream.publish(before, tree, frame)

    async def now(self, changes: ChangesShape) -> OverviewShape:
        """By the last sample, for one who may make these changes."""
        tree = await asyncio.to_thread(self._make, self._see())
        tree["instance"]["changes"] = changes
        return tree

    async def history(self, only: str | None) -> Mapping[str, Any]:
        """Of all routes and pools, or of `only` one: `route:web`. Empty series if there is none of the
        name."""
        return await asyncio.to_thread(self._recorded, self._clock.wall(), only)

    async def listen(self, changes: ChangesShape) -> Listener | None:
        """Listen from now on, until `leave`; None if too many do."""
        listener = self._stream.join(changes)
        if listener is not None and self._stream.tree is None:  # the first one need not wait for a sample
            tree = await asyncio.to_thread(self._make, self._see())
            if self._stream.tree is None:
                self._stream.publish(None, tree, None)
        return listener

    def leave(self, listener: Listener) -> None:
        """Listen no more."""
        self._stream.leave(listener)

    def close(self) -> None:
        """End all streams."""
        self._stream.close()

    # --- in a thread

    def _take(
        self, moment: Moment, seen: Seen | None, before: OverviewShape | None
    ) -> tuple[OverviewShape, bytes | None, float] | None:
        """An overview, what is different in it, and the CPU seconds that it took; None if nobody looks."""
        with self._one_at_a_time:
            self._figures.take(moment)
            if seen is None:
                return None
            begun = time.thread_time()
            tree = overview(seen, self._figures)
        frame = difference(before, tree)
        return tree, frame, time.thread_time() - begun

    def _make(self, seen: Seen) -> OverviewShape:
        with self._one_at_a_time:
            return overview(seen, self._figures)

    def _recorded(self, wall: float, only: str | None) -> Mapping[str, Any]:
        with self._one_at_a_time:
            return self._figures.recorded(wall, only)
