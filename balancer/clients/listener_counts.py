"""The counts of the connections of one listener (L6)."""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

from balancer.telemetry.columns import LISTENER_CONNECTIONS_TOTAL


class ListenerCounts:
    """`cells` are the listener's row in the stats segment, which has `open` and `ever` too. `ClientContext`
    keeps both: they are stored, not added to, as each access to shared memory costs a few hundred
    instructions."""

    __slots__ = ("cells", "ever", "open")

    def __init__(self, cells: memoryview[int]) -> None:
        self.cells = cells
        self.open = 0  # connections now
        self.ever = cells[LISTENER_CONNECTIONS_TOTAL]
