"""Rise and fall (L5): when results in a row change what we think of an upstream. Pure: no time, no I/O."""

from enum import Enum, auto

from balancer.health.result import Result


class Flip(Enum):
    """A verdict that has changed."""

    FAILING = auto()
    PASSING = auto()


class Verdict:
    """What the checks of one upstream have shown so far.

    `FALL` failures in a row make it failing, `RISE` passed checks in a row make it passing again; a result of
    the other kind starts the count anew, one that counts for nothing leaves it as it is. Until a check has
    passed one result decides, whichever it is: nothing speaks for an upstream that fails its first check, and
    once it passes one there is no reason to wait for more.
    """

    __slots__ = ("_fall", "_rise", "_streak", "failing", "has_passed")

    def __init__(self, rise: int, fall: int) -> None:
        self._rise = rise
        self._fall = fall
        self._streak = 0  # results in a row that speak against `failing`
        self.failing = False
        self.has_passed = False

    def needed(self, passed: bool, in_doubt: bool = False) -> int:
        """How many results of this kind in a row change the verdict. `in_doubt`: it may have failed for other
        reasons than the upstream's death."""
        if not self.has_passed and not in_doubt:
            return 1
        return self._rise if passed else self._fall

    def observe(self, result: Result, in_doubt: bool = False) -> Flip | None:
        """Take in the next result; what it changed, if it did."""
        if not result.counts:
            return None
        passed = result is Result.PASSED
        needed = self.needed(passed, in_doubt)
        self.has_passed |= passed
        if passed is not self.failing:
            self._streak = 0
            return None
        self._streak += 1
        if self._streak < needed:
            return None
        self._streak = 0
        self.failing = not passed
        return Flip.PASSING if passed else Flip.FAILING

    def restart(self) -> None:
        """The results so far prove nothing any more: count anew, from the same verdict."""
        self._streak = 0
