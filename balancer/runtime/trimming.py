"""Gives memory back to the system after many clients have left (L7).

What is freed stays with the C library, between what is still in use, until it is asked for it.
"""

import ctypes
from collections.abc import Callable

_WAVE = 100  # connections: fewer hold too little
_EVERY_NS = 10_000_000_000


class Trimming:
    """Looks at the number of connections, four times a second; when it has fallen by half, and by a wave,
    `give_back` is called, at most every ten seconds."""

    def __init__(self, give_back: Callable[[], None]) -> None:
        self._give_back = give_back
        self._most = 0  # connections since the last time
        self._not_before_ns = 0

    def look(self, connections: int, now_ns: int) -> None:
        """So many connections there are now."""
        self._most = max(self._most, connections)
        fallen = self._most - connections
        if fallen >= _WAVE and fallen >= connections and now_ns >= self._not_before_ns:
            self._most = connections
            self._not_before_ns = now_ns + _EVERY_NS
            self._give_back()


def give_back() -> None:
    """Have the C library return what is free. That takes half a millisecond; one that is not glibc is left
    alone."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
