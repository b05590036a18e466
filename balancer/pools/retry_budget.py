"""Limits how many of a pool's requests may be sent again: retries must not multiply load in an outage."""

from math import exp
from typing import Final

# Savings decay: a burst of retries can use the budget of about the last ten seconds.
_FADE_NS: Final = 10_000_000_000


class RetryBudget:
    """Retries are at most `ratio` of the requests, plus `floor` per second whatever their number (Finagle).

    The caller increments `requests` for each request; the rest is computed when a retry is requested.
    """

    __slots__ = ("_floor", "_ratio", "_saved", "_seen", "_seen_ns", "requests")

    def __init__(self, ratio: float, floor: float, now_ns: int) -> None:
        self._ratio = ratio
        self._floor = floor / 1e9  # per nanosecond
        self._saved = floor  # one second's worth
        self._seen_ns = now_ns
        self._seen = 0
        self.requests = 0

    def has_one(self, now_ns: int) -> bool:
        """Whether a retry is left. Does not change the budget."""
        return self._reckoned(now_ns) >= 1.0

    def spend(self, now_ns: int) -> bool:
        """Take one retry out of the budget; False if none is left."""
        saved = self._reckoned(now_ns)
        self._seen = self.requests
        self._seen_ns = now_ns
        if saved < 1.0:
            self._saved = saved
            return False
        self._saved = saved - 1.0
        return True

    def _reckoned(self, now_ns: int) -> float:
        """The savings, including what has been earned since the last `spend`."""
        passed = now_ns - self._seen_ns
        earned = self._ratio * (self.requests - self._seen) + self._floor * passed
        if passed > _FADE_NS:
            earned *= _FADE_NS / passed  # only the last _FADE_NS count: rare calls must not hoard a budget
        return self._saved * exp(-passed / _FADE_NS) + earned
