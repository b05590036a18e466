"""Rise and fall (L5): when results in a row change the verdict on an upstream. Pure: no time, no I/O."""

from enum import Enum, auto

from balancer.health.result import Result


class Flip(Enum):
    """A verdict that has changed."""

    FAILING = auto()
    PASSING = auto()


class Verdict:
    """What the checks of one upstream have shown so far.

    `FALL` failures in a row make it failing, `RISE` passed checks in a row make it passing again. A result of
    the other kind restarts the count; a result that does not count leaves it as it is. Until a check has
    passed, one result decides: there is no evidence for an upstream that fails its first check, and after its
    first pass no reason to wait for more.
    """

    __slots__ = ("_fall", "_rise", "_streak", "failing", "has_passed")

    def __init__(self, rise: int, fall: int) -> None:
        self._rise = rise
        self._fall = fall
        self._streak = 0  # results in a row that contradict `failing`
        self.failing = False
        self.has_passed = False

    def by(self, rise: int, fall: int) -> "Verdict":
        """The same by other rules; results in a row are counted anew."""
        other = Verdict(rise, fall)
        other.failing, other.has_passed = self.failing, self.has_passed
        return other

    def needed(self, passed: bool, in_doubt: bool = False) -> int:
        """How many results of this kind in a row change the verdict. `in_doubt`: the check may have failed
        although the upstream is alive."""
        if not self.has_passed and not in_doubt:
            return 1
        return self._rise if passed else self._fall

    def observe(self, result: Result, in_doubt: bool = False) -> Flip | None:
        """Count the next result; returns the change of the verdict, if any."""
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
        """The last results prove nothing any more: restart the count, keep the verdict."""
        self._streak = 0
