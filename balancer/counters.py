"""Counts of one row of the stats segment, stored in batches (L0).

A store into shared memory costs a few hundred instructions, so counts are added up and stored together: when
no exchange of the worker is running, and at each sweep (0.25 s) while some are. So the supervisor reads exact
counts of a worker at rest, and of a busy one counts up to a sweep old. A worker that is killed loses those.
If a turn of the loop is so long that no sweep comes, counts are stored meanwhile: they show that it works.
"""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

from typing import Final

from balancer.edges import BEYOND_NS, STANDARD, Edges

CATCH_UP_NS: Final = 1_000_000_000  # a silent worker that has stored nothing for 4 s is stuck


class Batch:
    """The rows of one worker with counts not stored yet. `running`: the exchanges that have not ended.
    `edges` are those of its histograms.

    Whoever begins one calls `catch_up` if it is `due_ns`."""

    __slots__ = ("_rows", "due_ns", "edges", "running")

    def __init__(self, edges: Edges = STANDARD) -> None:
        self.edges = edges
        self.running = 0
        self.due_ns = 0
        self._rows: list[Counters] = []

    def add(self, row: Counters) -> None:
        """This row has counts not stored yet."""
        self._rows.append(row)

    def catch_up(self, now: int) -> None:
        """Store all counts in a turn of the loop that may be a long one."""
        self.due_ns = now + CATCH_UP_NS
        self.flush()

    def flush(self) -> None:
        """Store all counts."""
        if self._rows:
            rows, self._rows = self._rows, []
            for row in rows:
                row.flush()


class Counters:
    """The counters of one row, by column; `cells` has what is stored. Without a batch all is stored at once.

    `level` is the row's gauge, in the column `level_column` (-1: it has none). Who changes it calls
    `await_flush` unless the row is `pending`: it waits for the next flush."""

    __slots__ = ("_above", "_batch", "_bucket", "_changed", "_code", "_counts", "_ns", "_run", "_total",
                 "_up_to", "cells", "edges", "level", "level_column", "pending")  # fmt: skip

    def __init__(self, cells: memoryview[int], batch: Batch | None = None, level_column: int = -1) -> None:
        self.cells = cells
        self.level = 0
        self.level_column = level_column
        self.pending = False
        self.edges = STANDARD if batch is None else batch.edges
        self._batch = batch
        # The last run of responses with the same code and bucket: most are like the one before.
        self._code = self._bucket = self._total = -1
        self._above = self._up_to = 0  # ns: the bucket's bounds
        self._run = 0
        self._ns = 0  # of the run together
        self._counts: list[int] = []  # to be added to the cells, as far as the highest column counted so far
        self._changed: list[int] = []  # the columns that have any

    def measure(self, code: int, histogram: int, total: int, ns: int) -> None:
        """Count one response in the column `code`, and its duration in the histogram at `histogram` and in
        `total`."""
        if code != self._code or ns <= self._above or ns > self._up_to:
            if self._batch is None:
                cells = self.cells
                cells[code] += 1
                cells[histogram + self.edges.cell(ns)] += 1
                cells[total] += ns
                return
            self._begin_run(code, histogram, total, ns)
        self._run += 1
        self._ns += ns

    def count(self, column: int, amount: int = 1) -> None:
        """Count one event, which must be a rare one; or take one back, if `amount` is -1."""
        if self._batch is None:
            self.cells[column] += amount
            return
        self._add(column, amount)
        if not self.pending:
            self.await_flush()

    def await_flush(self) -> None:
        """Something has changed that the next flush stores."""
        batch = self._batch
        if batch is None:
            self.flush()
        elif not self.pending:
            self.pending = True
            batch.add(self)

    def value(self, column: int) -> int:
        """The present count."""
        self._end_run()
        if column == self.level_column:
            return self.level
        return self.cells[column] + (self._counts[column] if column < len(self._counts) else 0)

    def flush(self) -> None:
        """Store all counts."""
        self._end_run()
        self.pending = False
        cells = self.cells
        if self.level_column >= 0:
            cells[self.level_column] = self.level
        changed = self._changed
        if changed:
            counts = self._counts
            for column in changed:
                cells[column] += counts[column]
                counts[column] = 0
            changed.clear()

    def _begin_run(self, code: int, histogram: int, total: int, ns: int) -> None:
        self.await_flush()
        self._end_run()
        edges = self.edges
        bounds = edges.ns
        place = edges.bucket(ns)
        self._code = code
        self._bucket = histogram + edges.cells[place]
        self._above = bounds[place - 1] if place else -1
        self._up_to = bounds[place] if place < len(bounds) else BEYOND_NS
        self._total = total

    def _end_run(self) -> None:
        if self._run:
            self._add(self._code, self._run)
            self._add(self._bucket, self._run)
            self._add(self._total, self._ns)
        self._run = self._ns = 0
        self._code = -1

    def _add(self, column: int, amount: int) -> None:
        counts = self._counts
        if column >= len(counts):
            counts += [0] * (column + 1 - len(counts))
        if amount and not counts[column]:
            self._changed.append(column)
        counts[column] += amount
