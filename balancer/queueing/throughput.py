"""How fast a queue is served, and whether more requests come than go: its rules are derived from that."""

_WINDOW_NS = 250_000_000
_LONGEST_NS = 4_000_000_000  # of a window in which few are served
_FEW = 8
_SURE = 3  # windows: in the first some slots may not be to be had yet, as an upstream works off a backlog
_FORGOTTEN_NS = 2_000_000_000  # nobody has waited for so long: what was known is of another time
# What comes must be more than what goes by a tenth and by two in each of two windows: one may be a burst.
_MORE = 1.1
_AT_LEAST = 2


class Throughput:
    """Counts while requests wait: slots that come free without one say nothing of how fast they could.

    The queue counts up `came` (whoever joined or was refused), `served` (with a slot), `refused`
    (whoever joined in vain or not at all) and `left` (clients that waited here or for their response), and
    says when it `begins` and `ends` to be in use.

    `per_second` is how many of those who wait get a slot in a second, 0.0 where that is not known;
    `refused_per_second` how many are refused, as it was in the last quarter of a second or so. `is_growing`:
    more have come than were served, for some time now; `is_steady`: not so, and that is known. Neither holds
    where too little happens to tell. `is_losing`: many leave.
    """

    __slots__ = ("_began_ns", "_busy_ns", "_ended_ns", "_moves", "_rate", "_streak", "_windows", "came",
                 "is_steady", "left", "refused", "refused_per_second", "served")  # fmt: skip

    def __init__(self) -> None:
        self._rate = 0.0
        self._windows = 0  # that have been closed
        self.refused_per_second = 0.0
        self.is_steady = False
        self._ended_ns = 0
        self._streak = 0  # windows in a row in which more came than went
        self._moves = False  # one has been served since the queue was last empty
        # of this window; it goes by the time for which somebody has waited
        self.came = self.served = self.left = self.refused = 0
        self._began_ns = 0  # when the queue was last empty
        self._busy_ns = 0  # before that

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
        """Somebody waits now."""
        self._began_ns = now_ns
        if now_ns - self._ended_ns > _FORGOTTEN_NS:
            self._rate = self.refused_per_second = 0.0
            self._windows = self._streak = 0
            self.is_steady = False
            self._start_window(now_ns)

    def ends(self, now_ns: int) -> None:
        """Nobody does any more."""
        self._ended_ns = now_ns
        self._busy_ns += now_ns - self._began_ns
        self._moves = False

    def has_news(self, now_ns: int) -> bool:
        """Close the window when it is time to; whether it was. To be asked where there are slots, and
        somebody waits for one."""
        if not self._moves:
            self._moves = True
            if now_ns - self._began_ns >= _WINDOW_NS:  # slots were not to be had for so long: that is no rate
                self._streak = 2 if self.came > _FEW else 0
                self._start_window(now_ns)
                return False
        busy_ns = self._busy_ns + now_ns - self._began_ns
        if busy_ns < _WINDOW_NS or (self.served < _FEW and busy_ns < _LONGEST_NS):
            return False
        rate = self.served * 1e9 / busy_ns
        # What was possible a moment ago may be so again: the rate is believed to rise sooner than to fall.
        self._rate = max(rate, (self._rate + rate) / 2)
        self._windows += 1
        self.refused_per_second = self.refused * 1e9 / busy_ns
        # Where many leave, so do some who have a slot: the next one gets it, but nobody has been served.
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
