"""Whether an upstream is busy with requests whose clients have left (pure).

Most apps do not see that a client has left while its request stands in their backlog, and work on it all the
same. Where the backlog is longer than the clients' patience nobody is served any more, and it stays so for as
long as the backlog is fed.
"""

from __future__ import annotations

from math import sqrt

from balancer.limits.window import RunningWindow, Sample, Window

_WINDOW_SECONDS = 0.5
_LONGEST_SECONDS = 10.0  # where little happens it takes so long to tell
_FEW_CLIENTS = 10  # that have left
_SIGNIFICANT = 2.0  # deviations by which fewer are answered than usually
_SURE_ANSWERS = 36.0  # answers that would have come; of so many half is significant by three deviations


class WastedWork:
    """Told of each sample of the upstream."""

    __slots__ = ("_lately",)

    def __init__(self, first: Sample) -> None:
        self._lately = RunningWindow(first)

    @property
    def left(self) -> int:
        """Clients who left in the last half second, or longer where little happens."""
        return self._lately.left

    def observe(self, sample: Sample, usual_rate: float) -> Window | None:
        """What went on lately, if it was in vain: as many left as were answered, some at least, and no more
        than half as many were answered as usually (`usual_rate` a second). Who is answered then is answered
        too late, so fewer at a time cost nothing, however few."""
        lately = self._lately
        seconds, answers = lately.observe(sample, False)
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
