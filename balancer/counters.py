"""Counts of one row of the stats segment, stored in batches (L0).

A store into shared memory costs a few hundred instructions, so counts are added up and stored together: when
no exchange of the worker is running, and at each sweep (0.25 s) while some are. So the supervisor reads exact
counts of a worker at rest, and of a busy one counts up to a sweep old. A worker that is killed loses those.
"""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11


class Batch:
    """The rows of one worker with counts not stored yet. `running`: the exchanges that have not ended."""

    __slots__ = ("_rows", "running")

    def __init__(self) -> None:
        self.running = 0
        self._rows: list[Counters] = []

    def add(self, row: Counters) -> None:
        """This row has counts not stored yet."""
        self._rows.append(row)

    def flush(self) -> None:
        """Store all counts."""
        if self._rows:
            rows, self._rows = self._rows, []
            for row in rows:
                row.flush()


class Counters:
    """The counters of one row, by column; `cells` has those that are stored. Without a batch all are, at
    once."""

    __slots__ = ("_batch", "_changed", "_counts", "cells")

    def __init__(self, cells: memoryview[int], batch: Batch | None = None) -> None:
        self.cells = cells
        self._batch = batch
        self._counts: list[int] = []  # to be added to the cells, as far as the highest column counted so far
        self._changed: list[int] = []  # the columns that have any, perhaps twice

    def add(self, column: int, amount: int) -> None:
        """Count `amount` more; a gauge may also count less."""
        batch = self._batch
        if batch is None:
            self.cells[column] += amount
            return
        counts = self._counts
        if not self._changed:
            batch.add(self)
        if column >= len(counts):
            counts += [0] * (column + 1 - len(counts))
        before = counts[column]
        if not before:
            self._changed.append(column)
        counts[column] = before + amount

    def value(self, column: int) -> int:
        """The present count."""
        return self.cells[column] + (self._counts[column] if column < len(self._counts) else 0)

    def flush(self) -> None:
        """Store all counts."""
        changed = self._changed
        if changed:
            counts, cells = self._counts, self.cells
            for column in changed:
                if counts[column]:
                    cells[column] += counts[column]
                    counts[column] = 0
            changed.clear()
