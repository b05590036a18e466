"""The counts of the last seconds (L5): what has happened since a moment ago."""

from collections import deque
from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

from balancer.overview.figures import Counts

KeyT = TypeVar("KeyT", bound=Hashable)


class Window(Generic[KeyT]):
    """The last `length` + 1 samples of counts by key. What is new counts from its first sample on."""

    def __init__(self, length: int) -> None:
        self._samples: deque[tuple[float, Mapping[KeyT, Counts]]] = deque(maxlen=length + 1)

    def push(self, now: float, counts: Mapping[KeyT, Counts]) -> None:
        """The present counts; `now` in seconds on a monotonic clock."""
        self._samples.append((now, counts))

    def newest(self, key: KeyT) -> Counts | None:
        """The present counts."""
        return self._samples[-1][1].get(key) if self._samples else None

    def ends(self, key: KeyT, back: int | None = None) -> tuple[Counts, Counts, float] | None:
        """The oldest sample that has the key, or the one `back` samples ago; the newest one; and the seconds
        in between. None if there are not two such samples."""
        if len(self._samples) < 2:
            return None
        now, newest = self._samples[-1]
        counts = newest.get(key)
        if counts is None:
            return None
        first = 0 if back is None else max(0, len(self._samples) - 1 - back)
        for place in range(first, len(self._samples) - 1):
            then, sample = self._samples[place]
            before = sample.get(key)
            if before is not None:
                return before, counts, now - then
        return None

    def of(self, key: KeyT, back: int | None = None) -> tuple[Counts | None, float]:
        """What was counted between these, and in how many seconds; None if it is not known."""
        ends = self.ends(key, back)
        if ends is None:
            return None, 0.0
        before, counts, seconds = ends
        return counts.since(before), seconds
