"""Routes that serve no changes for a while (L7): other methods than GET, HEAD and OPTIONS get 503.

For a moment in which data must not change, such as a switch between two databases. It ends by itself.
"""

import logging
from collections.abc import Callable, Iterable

from balancer.admin.view import MOST_READ_ONLY, RefusedError
from balancer.clock import Clock
from balancer.messages import ReadOnly


class ReadonlyRoutes:
    """`note(text)` records an event; `broadcast` reaches all workers; `call_later` is the loop's."""

    def __init__(
        self,
        routes: Iterable[str],
        *,
        note: Callable[[str], int],
        broadcast: Callable[[ReadOnly], None],
        call_later: Callable[[float, Callable[[], None]], object],
        clock: Clock,
        log: logging.Logger,
    ) -> None:
        self._routes = frozenset(routes)
        self._note = note
        self._broadcast = broadcast
        self._call_later = call_later
        self._clock = clock
        self._log = log
        self._until: dict[str, int] = {}  # ns on the monotonic clock

    def settle(self, routes: Iterable[str]) -> None:
        """The routes are these now."""
        self._routes = frozenset(routes)
        for route in self._until.keys() - self._routes:
            del self._until[route]

    def set(self, route: str, seconds: float) -> bool:
        """From now on, and for `seconds`; 0 ends it. Returns whether that changes anything. Raises
        RefusedError."""
        if route not in self._routes:
            raise RefusedError(f"there is no route {route}")
        if not 0 <= seconds <= MOST_READ_ONLY:
            raise RefusedError(f"the time is not from 0 to {MOST_READ_ONLY:g} seconds")
        if not seconds:
            return self._end(route, "operator request")
        until = self._clock.monotonic_ns() + round(seconds * 1e9)
        self._until[route] = until
        self._say(f"route {route} is read-only for {seconds:g} s: operator request")
        self._broadcast(ReadOnly(route=route, until_ns=until))
        self._call_later(seconds, lambda: self._is_over(route, until))
        return True

    def left(self, route: str) -> float:
        """Seconds that it still lasts, 0 if it is not read-only."""
        return max(0.0, (self._until.get(route, 0) - self._clock.monotonic_ns()) / 1e9)

    def all_left(self) -> list[tuple[str, float]]:
        """The routes that are read-only, and for how many seconds."""
        return [(route, left) for route in self._until if (left := self.left(route))]

    def updates(self) -> tuple[ReadOnly, ...]:
        """Those that a new worker must know of."""
        return tuple(ReadOnly(route=route, until_ns=until) for route, until in self._until.items())

    def _is_over(self, route: str, until: int) -> None:
        if self._until.get(route) == until:  # else it was set again
            self._end(route, "its time is over")

    def _end(self, route: str, why: str) -> bool:
        """Whether it was read-only."""
        if self._until.pop(route, None) is None:
            return False
        self._say(f"route {route} serves changes again: {why}")
        self._broadcast(ReadOnly(route=route, until_ns=0))
        return True

    def _say(self, text: str) -> None:
        self._log.info("%s", text)
        self._note(text)
