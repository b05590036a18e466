"""Time as a heap of events: the clock and the event loop of a simulation."""

import asyncio
import contextvars
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, TypeVarTuple

Ts = TypeVarTuple("Ts")
_START_NS = 1_000_000_000_000


class Engine(asyncio.AbstractEventLoop):
    """A `Clock`, and the part of asyncio's loop that pools use. Events of one instant run in the order in
    which they were scheduled."""

    def __init__(self) -> None:
        self._now_ns = _START_NS
        self._events: list[tuple[int, int, Callable[..., object], tuple[Any, ...]]] = []
        self._count = 0
        self._context = contextvars.copy_context()
        self._error: BaseException | None = None

    def run(self, seconds: float) -> None:
        """Run the events of the next `seconds`."""
        events = self._events
        end = self._now_ns + round(seconds * 1e9)
        while events and events[0][0] <= end:
            self._now_ns, _, call, args = heappop(events)
            call(*args)
            if self._error is not None:
                raise self._error
        self._now_ns = end

    def after(self, seconds: float, call: Callable[[*Ts], object], *args: *Ts) -> None:
        """Call it `seconds` from now. There is no cancelling: a callback checks for itself whether it still
        applies."""
        self._count += 1
        heappush(self._events, (self._now_ns + round(seconds * 1e9), self._count, call, args))

    @property
    def passed(self) -> float:
        """Seconds since the beginning."""
        return (self._now_ns - _START_NS) / 1e9

    # --- Clock

    def monotonic_ns(self) -> int:
        return self._now_ns

    def wall(self) -> float:
        return self._now_ns / 1e9

    # --- asyncio's loop

    def time(self) -> float:
        return self._now_ns / 1e9

    def get_debug(self) -> bool:
        return False

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context or self._context)
        self.after(0.0, _run, handle)
        return handle

    def call_later(
        self,
        delay: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(self.time() + delay, callback, args, self, context or self._context)
        self.after(delay, _run, handle)
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """asyncio's own hook."""

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self._error = context.get("exception") or RuntimeError(context["message"])


def _run(handle: asyncio.Handle) -> None:
    if not handle.cancelled():
        handle._run()
