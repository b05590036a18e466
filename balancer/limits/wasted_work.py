"""Whether an upstream is busy with requests whose clients have left (pure).

Most apps do not notice that a client has left while its request is in their backlog, and process it all the
same. If the backlog takes longer than clients wait, goodput drops to zero, and stays there for as long as the
backlog is fed.
"""

from __future__ import annotations

from math import sqrt
from typing import Final

from balancer.limits.window import RunningWindow, Sample, Window

_WINDOW_SECONDS: Final = 0.5
_LONGEST_SECONDS: Final = 10.0  # longest window, if there is little traffic
_FEW_CLIENTS: Final = 10  # least number of clients that left
_SIGNIFICANT: Final = 2.0  # deviations by which answers are fewer than usual
_SURE_ANSWERS: Final = 36.0  # expected answers; of this many, half is three deviations


class WastedWork:
    """Takes each sample of the upstream."""

    __slots__ = ("_lately",)

    def __init__(self, first: Sample) -> None:
        self._lately = RunningWindow(first)

    @property
    def left(self) -> int:
        """Clients that left in the last half second, or longer if there is little traffic."""
        return self._lately.left

    def observe(self, sample: Sample, usual_rate: float) -> Window | None:
        """Returns the recent window if its work was wasted: at least as many clients left as were answered,
        at least a few, and at most half as many were answered as usual (`usual_rate` per second). Answers
        then come too late, so a limit costs nothing, however low."""
        lately = self._lately
        seconds, answers = lately.observe(sample)
        if seconds < _WINDOW_SECONDS:
            return None
        left = lately.left
        expected = usual_rate * seconds
        missing = expected - answers
        wasted = (
            left >= max(_FEW_CLIENTS, answers)
            and missing >= max(expected / 2, _SIGNIFICANT * sqrt(expected))
            and expected > 0
        )
        may_tell = (
            left > answers
            and (left < _FEW_CLIENTS or expected < _SURE_ANSWERS)
            and seconds <= _LONGEST_SECONDS
        )
        if wasted or not may_tell:
            self._lately = RunningWindow(sample)
        return lately.end() if wasted else None
