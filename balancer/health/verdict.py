"""Rise and fall (L4): when results in a row change what we think of an upstream. Pure: no time, no I/O."""

from enum import Enum, auto

from balancer.health.result import Result


class Flip(Enum):
    """A verdict that has changed."""

    FAILING = auto()
    PASSING = auto()


class Verdict:
    """What the checks of one upstream have shown so far.

    `FALL` failures in a row make it failing, `RISE` passed checks in a row make it passing again; a result of
    the other kind starts the count anew, one that counts for nothing leaves it as it is. The first check is
    no exception: an upstream is taken for passing until FALL checks have failed, so one failed probe never
    ejects. It is `unchecked` until the first result that counts, whichever that is.
    """

    __slots__ = ("_fall", "_rise", "_streak", "failing", "unchecked")

    def __init__(self, rise: int, fall: int, failing: bool = False) -> None:
        self._rise = rise
        self._fall = fall
        self._streak = 0  # results in a row that speak against `failing`
        self.failing = failing
        self.unchecked = not failing

    def observe(self, result: Result) -> Flip | None:
        """Take in the next result; what it changed, if it did."""
        if not result.counts:
            return None
        self.unchecked = False
        passed = result is Result.PASSED
        if passed is not self.failing:
            self._streak = 0
            return None
        self._streak += 1
        if self._streak < (self._rise if passed else self._fall):
            return None
        self._streak = 0
        self.failing = not passed
        return Flip.PASSING if passed else Flip.FAILING

    def restart(self) -> None:
        """The results so far prove nothing any more: count anew, from the same verdict."""
        self._streak = 0
