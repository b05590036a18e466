"""Outlier ejections (L3): whether a suspect is ejected, and for how long. Pure; the supervisor acts on it."""

from collections.abc import Sequence

from balancer.spec.instance import EjectionSpec
from balancer.upstreams.state import AdminState, Cause, HasState, others_left
from balancer.upstreams.traffic_history import SkipReason


def skip_reason(suspect: HasState, members: Sequence[HasState], max_percent: int) -> SkipReason | None:
    """Why `suspect`, one of `members`, is not ejected; None if it is.

    `max_percent` is a share of the reachable upstreams in the admin state ACTIVE, rounded down, but at least
    one upstream. Upstreams on probation count as ejected: they are not known to be healthy.
    """
    if not others_left(suspect, members):
        return SkipReason.LAST_ELIGIBLE
    wanted = [one for one in members if one.is_reachable() and one.admin_state is AdminState.ACTIVE]
    out = sum((one is not suspect and (Cause.OUTLIER in one.causes or one.on_probation) for one in wanted), 0)
    if out >= max(1, len(wanted) * max_percent // 100):
        return SkipReason.MAX_PERCENT
    return None


def in_a_row(times: int) -> str:
    """(2nd in a row) and the like, with the space before it; "" for the first time."""
    if times < 2:
        return ""
    last = 0 if times % 100 in (11, 12, 13) else times % 10
    return f" ({times}{('th', 'st', 'nd', 'rd')[last if last < 4 else 0]} in a row)"


class EjectionTerm:
    """How long an upstream stays ejected: longer each time, and shorter again after a good period.

    The n-th ejection in a row lasts n times `time`, at most `max_time`. Each period of `time` after a
    readmission without another ejection reduces n by one.
    """

    __slots__ = ("_readmitted_ns", "_spec", "_until_ns", "in_a_row")

    def __init__(self, spec: EjectionSpec) -> None:
        self._spec = spec
        self.in_a_row = 0
        self._until_ns = 0
        self._readmitted_ns: int | None = None  # the end of its last probation

    def begin(self, now_ns: int) -> float:
        """Start an ejection; returns its length in seconds."""
        spec = self._spec
        if self._readmitted_ns is not None:
            good = int((now_ns - self._readmitted_ns) / 1e9 / spec.time)
            self.in_a_row = max(0, self.in_a_row - good)
            self._readmitted_ns = None
        self.in_a_row += 1
        seconds = min(spec.max_time, spec.time * self.in_a_row)
        self._until_ns = now_ns + round(seconds * 1e9)
        return seconds

    def resume(self, now_ns: int, left: float, in_a_row: int) -> None:
        """Another program has begun it: it has `left` seconds, and is the `in_a_row`th."""
        self.in_a_row = in_a_row
        self._until_ns = now_ns + round(left * 1e9)

    def end(self, now_ns: int) -> None:
        """Its probation has ended successfully."""
        self._readmitted_ns = now_ns

    def left(self, now_ns: int) -> float:
        """Seconds until the ejection ends; 0 if it has."""
        return max(0.0, (self._until_ns - now_ns) / 1e9)
