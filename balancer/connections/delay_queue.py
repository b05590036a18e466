"""Many short delays of one fixed length, at the cost of one timer."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from balancer.clock import Clock
from balancer.lateness import look_first

T = TypeVar("T")


class DelayQueue(Generic[T]):
    """Calls `due(item)` for each pushed item `delay` seconds later, or some turns of the loop after that:
    data that has arrived by then is read first.

    All delays are equal, so the items are in order of their deadlines and one timer, armed for the first, is
    enough. Items are not removed: `due` checks whether an item still matters.
    """

    __slots__ = ("_clock", "_delay", "_due", "_fired_ns", "_items", "_loop", "_timer")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, clock: Clock, delay: float, due: Callable[[T], None]
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._delay = delay
        self._due = due
        self._items: deque[tuple[int, T]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._fired_ns = 0

    def push(self, item: T) -> None:
        """Make `item` due one delay from now."""
        self._items.append((self._clock.monotonic_ns() + round(self._delay * 1e9), item))
        if self._timer is None:
            self._timer = self._loop.call_later(self._delay, self._fire)

    def _fire(self) -> None:
        self._fired_ns = self._clock.monotonic_ns()
        look_first(self._loop, self._looked)

    def _looked(self) -> None:
        """Everything that had arrived when the timer fired has been read."""
        if self._timer is None:
            return  # closed
        self._timer = None
        now = self._fired_ns
        items = self._items
        try:
            while items and items[0][0] <= now:
                self._due(items.popleft()[1])
        finally:  # if one raises, the others must still become due
            self._go_on(now)

    def _go_on(self, now: int) -> None:
        if self._items and self._timer is None:  # an item that was due may have pushed another
            wait = max((self._items[0][0] - now) / 1e9, 0.001)
            self._timer = self._loop.call_later(wait, self._fire)

    def close(self) -> None:
        """Forget all items and the timer."""
        self._items.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
