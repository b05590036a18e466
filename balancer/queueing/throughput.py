"""Measures how fast a queue is served, and whether it grows: the queue's rules are derived from that."""

from typing import Final

_WINDOW_NS: Final = 250_000_000
_LONGEST_NS: Final = 4_000_000_000  # longest window, if few are served
_FEW: Final = 8
_SURE: Final = 3  # windows; in the first, slots may be missing because an upstream still works off a backlog
_FORGOTTEN_NS: Final = 2_000_000_000  # after this long without waiting, the old rate is outdated
# Arrivals must exceed services by a tenth and two, in each of two windows: a single one may be a burst.
_MORE: Final = 1.1
_AT_LEAST: Final = 2


class Throughput:
    """Counts only while requests wait: otherwise the rate of free slots does not show how fast they could be.

    The queue increments `came` (joined or refused), `served` (got a slot), `refused` (timed out, or could not
    join) and `left` (clients that left here or while waiting for a response), and calls `begins` and `ends`
    when it becomes non-empty and empty.

    `per_second` is how many waiting requests get a slot per second, 0.0 if unknown; `refused_per_second` how
    many are refused, in about the last quarter of a second. `is_growing`: for some time now more requests
    have arrived than were served; `is_steady`: known not to grow. Neither holds if there is too little
    traffic to tell. `is_losing`: many clients leave.
    """

    __slots__ = ("_began_ns", "_busy_ns", "_ended_ns", "_moves", "_rate", "_streak", "_windows", "came",
                 "is_steady", "left", "refused", "refused_per_second", "served")  # fmt: skip

    def __init__(self) -> None:
        self._rate = 0.0
        self._windows = 0  # closed ones
        self.refused_per_second = 0.0
        self.is_steady = False
        self._ended_ns = 0
        self._streak = 0  # consecutive windows in which more came than were served
        self._moves = False  # there was a free slot since the queue was last empty
        # of this window, which is measured in time during which requests waited
        self.came = self.served = self.left = self.refused = 0
        self._began_ns = 0  # when the queue was last empty
        self._busy_ns = 0  # busy time before that

    @property
    def per_second(self) -> float:
        return self._rate if self._windows >= _SURE else 0.0

    @property
    def is_growing(self) -> bool:
        return self._streak > 1

    @property
    def is_losing(self) -> bool:
        return self.left > max(_FEW, self.came / 10)

    def begins(self, now_ns: int) -> None:
        """The queue is no longer empty."""
        self._began_ns = now_ns
        if now_ns - self._ended_ns > _FORGOTTEN_NS:
            self._rate = self.refused_per_second = 0.0
            self._windows = self._streak = 0
            self.is_steady = False
            self._start_window(now_ns)

    def ends(self, now_ns: int) -> None:
        """The queue is empty."""
        self._ended_ns = now_ns
        self._busy_ns += now_ns - self._began_ns
        self._moves = False

    def has_news(self, now_ns: int) -> bool:
        """Close the window if it is complete; returns whether it was. Call this while there are slots and
        requests wait."""
        if not self._moves:
            self._moves = True
            if now_ns - self._began_ns >= _WINDOW_NS:  # no slot for so long: that is not a rate
                self._streak = 2 if self.came > _FEW else 0
                self._start_window(now_ns)
                return False
        busy_ns = self._busy_ns + now_ns - self._began_ns
        if busy_ns < _WINDOW_NS or (self.served < _FEW and busy_ns < _LONGEST_NS):
            return False
        rate = self.served * 1e9 / busy_ns
        # A rate seen a moment ago may be possible again: a rise is believed sooner than a fall.
        self._rate = max(rate, (self._rate + rate) / 2)
        self._windows += 1
        self.refused_per_second = self.refused * 1e9 / busy_ns
        # If many leave, so do some that have a slot: the next request gets it, but none was served.
        done = max(0, self.served - self.left) if self.is_losing else self.served
        grows = self.came > done * _MORE + _AT_LEAST
        self._streak = self._streak + 1 if grows else 0
        self.is_steady = not grows and self.served >= _FEW
        self._start_window(now_ns)
        return True

    def _start_window(self, now_ns: int) -> None:
        self.came = self.served = self.left = self.refused = 0
        self._began_ns = now_ns
        self._busy_ns = 0
