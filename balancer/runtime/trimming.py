"""What the C library does with memory that is free (L7).

It keeps what is between blocks still in use until it is told to return it. What is behind them all it returns
at once, though the next large read needs it again.
"""

import ctypes
from collections.abc import Callable

_WAVE = 100  # connections: fewer hold too little memory
_EVERY_NS = 10_000_000_000
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h
_MOST_KEPT = 4 << 20  # bytes behind all blocks in use
_LARGE = 1 << 20  # bytes of a block that is mapped by itself: more than is read at once


class Trimming:
    """Looks at the number of connections four times a second. If it has fallen by half, and by at least
    _WAVE, it calls `give_back`, at most every ten seconds."""

    def __init__(self, give_back: Callable[[], None]) -> None:
        self._give_back = give_back
        self._most = 0  # most connections since the last call of `give_back`
        self._not_before_ns = 0

    def look(self, connections: int, now_ns: int) -> None:
        """Check the present number of connections."""
        self._most = max(self._most, connections)
        fallen = self._most - connections
        if fallen >= _WAVE and fallen >= connections and now_ns >= self._not_before_ns:
            self._most = connections
            self._not_before_ns = now_ns + _EVERY_NS
            self._give_back()


def give_back() -> None:
    """Make the C library return free memory. That takes half a millisecond; does nothing without glibc."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def keep_some() -> None:
    """Keep some free memory behind all blocks in use. Else responses of 1 MiB cause 100 page faults each."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, _MOST_KEPT)
        mallopt(_M_MMAP_THRESHOLD, _LARGE)
