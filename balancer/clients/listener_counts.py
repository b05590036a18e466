"""The counts of the connections of one listener (L6)."""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

from balancer.telemetry.columns import (
    LISTENER_CONNECTIONS,
    LISTENER_CONNECTIONS_RECLAIMED,
    LISTENER_CONNECTIONS_TOTAL,
)


class ListenerCounts:
    """`cells` are the listener's row in the stats segment."""

    __slots__ = ("_ever", "_open", "cells")

    def __init__(self, cells: memoryview[int]) -> None:
        self.cells = cells
        # Stored, not added to: each access to shared memory costs a few hundred instructions.
        self._open = 0
        self._ever = cells[LISTENER_CONNECTIONS_TOTAL]

    def opened(self) -> None:
        """One more was accepted."""
        self._open += 1
        self._ever += 1
        self.cells[LISTENER_CONNECTIONS] = self._open
        self.cells[LISTENER_CONNECTIONS_TOTAL] = self._ever

    def closed(self) -> None:
        """One is gone."""
        self._open -= 1
        self.cells[LISTENER_CONNECTIONS] = self._open

    def reclaimed(self) -> None:
        """One was closed to make room for another."""
        self.cells[LISTENER_CONNECTIONS_RECLAIMED] += 1
