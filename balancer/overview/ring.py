"""A series of numbers in fixed memory (L5)."""

from array import array
from math import isnan, nan


class Ring:
    """The last `length` values, the oldest first; those that are not known are None. 4 bytes a value."""

    __slots__ = ("_at", "_values")

    def __init__(self, length: int) -> None:
        self._values = array("f", [nan]) * length
        self._at = 0  # of the oldest one, which the next one replaces

    def push(self, value: float | None) -> None:
        """The newest value."""
        self._values[self._at] = nan if value is None else value
        self._at = (self._at + 1) % len(self._values)

    def values(self) -> list[float | None]:
        """All of them, rounded to what a chart can show."""
        values = self._values[self._at :] + self._values[: self._at]
        return [None if isnan(value) else _rounded(value) for value in values]


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
