"""Which state every upstream was in, for thirty minutes (L5)."""

from collections import deque
from collections.abc import Mapping
from typing import Final

KEPT: Final = 1800.0  # seconds
MOST: Final = 200  # changes of an upstream: of one that flaps more often the oldest are forgotten

Key = tuple[str, str]  # a pool, and an upstream of it


class Timeline:
    """Changes of state as seen once a second: what is over within one is in the events only."""

    def __init__(self) -> None:
        self._changes: dict[Key, deque[tuple[float, str]]] = {}

    def see(self, now: float, states: Mapping[Key, str]) -> None:
        """The present states; `now` in seconds since the epoch. Upstreams that are not among them are
        forgotten."""
        for gone in self._changes.keys() - states.keys():
            del self._changes[gone]
        for key, state in states.items():
            changes = self._changes.get(key)
            if changes is None:
                changes = self._changes[key] = deque(maxlen=MOST)
            if not changes or changes[-1][1] != state:
                changes.append((round(now, 3), state))
            while len(changes) > 1 and changes[1][0] <= now - KEPT:
                changes.popleft()

    def since(self, key: Key) -> float | None:
        """When the present state began, in seconds since the epoch, or when it was first seen."""
        changes = self._changes.get(key)
        return changes[-1][0] if changes else None

    def of(self, pool: str | None = None) -> dict[str, dict[str, list[tuple[float, str]]]]:
        """The changes by pool and upstream, the oldest first."""
        found: dict[str, dict[str, list[tuple[float, str]]]] = {}
        for (of, upstream), changes in self._changes.items():
            if pool is None or of == pool:
                found.setdefault(of, {})[upstream] = list(changes)
        return found
