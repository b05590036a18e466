"""The stats segment (L2): one block of shared memory in which workers count and the supervisor reads.

A memfd of 64-bit cells: page 0 is the base page (counts of ended incarnations), then one page per worker
incarnation; in a page one row per entity. Only the owning incarnation writes its page, with plain stores (an
aligned 64-bit store is seen whole or not at all), so there are no locks. The segment is sparse: it is sized
once for the maximum, and unused rows cost nothing until they are touched. Reading an unused row through the
mapping touches it too, so rows that no entity uses are never read.
"""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

import mmap
import os
from collections.abc import Iterable
from typing import Final

from balancer.telemetry.columns import CELLS_PER_ROW

ROWS: Final = 4096
CELL_BYTES: Final = 8
BASE_PAGE: Final = 0
GENERATIONS: Final = 6  # one serves, and so many less one may drain
_ROW_BYTES: Final = CELLS_PER_ROW * CELL_BYTES
_PAGE_CELLS: Final = ROWS * CELLS_PER_ROW
PAGE_BYTES: Final = ROWS * _ROW_BYTES  # 16 MiB of address space


def page_count(workers: int) -> int:
    """The number of pages for `workers` slots: the base page, and room for GENERATIONS incarnations of each,
    as a draining one keeps its page until it ends. A reload may set up to as many workers as there are CPUs
    without having fewer generations."""
    return 1 + GENERATIONS * max(workers, os.cpu_count() or 1)


class Page:
    """One page: the rows of one worker incarnation (or the base page)."""

    __slots__ = ("_cells", "index")

    def __init__(self, cells: memoryview, index: int) -> None:
        self._cells = cells
        self.index = index

    def row(self, row: int) -> memoryview:
        """The cells of one row, as signed 64-bit integers; it stays valid after the segment is closed."""
        if not 0 <= row < ROWS:
            raise IndexError(f"row {row} is not among the {ROWS} rows of a page")
        start = row * CELLS_PER_ROW
        return self._cells[start : start + CELLS_PER_ROW]


class OtherPages:
    """The pages of the other incarnations that are running, in the view of the owner of page `own`."""

    __slots__ = ("_before", "_own", "_pages", "_segment")

    def __init__(
        self, segment: Segment, own: int, pages: Iterable[int], predecessors: Iterable[int] = ()
    ) -> None:
        self._segment = segment
        self._own = own
        self._pages: list[Page] = []
        self._before: list[Page] = []
        self.set(pages, predecessors)

    def set(self, pages: Iterable[int], predecessors: Iterable[int] = ()) -> None:
        """These are running now, and these of them before this one in its slot; the own one may be among
        `pages`."""
        self._pages = [self._segment.page(index) for index in pages if index != self._own]
        self._before = [self._segment.page(index) for index in predecessors]

    def rows(self, row: int) -> list[memoryview[int]]:
        """The cells of a row in each of them. Reading does not change them, but pages that are not running
        must not be read: that would allocate their memory."""
        return [page.row(row) for page in self._pages]

    def predecessor_rows(self, row: int) -> list[memoryview[int]]:
        """The same, but only of predecessors in its slot."""
        return [page.row(row) for page in self._before]

    def has_predecessors(self) -> bool:
        """Whether any is running."""
        return bool(self._before)


class Segment:
    """The mapping. `create` it once in the supervisor, `attach` it in each worker by descriptor."""

    __slots__ = ("_cells", "_map", "fd", "pages")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.pages = os.fstat(fd).st_size // PAGE_BYTES
        self._map = mmap.mmap(fd, self.pages * PAGE_BYTES)
        self._cells = memoryview(self._map).cast("q")

    @classmethod
    def create(cls, workers: int) -> Segment:
        """Create shared memory for `workers` slots. The descriptor is close-on-exec: pass it explicitly."""
        fd = os.memfd_create("balancer-stats", os.MFD_CLOEXEC)
        os.ftruncate(fd, page_count(workers) * PAGE_BYTES)
        return cls(fd)

    @classmethod
    def attach(cls, fd: int) -> Segment:
        """Map what `create` made; takes ownership of `fd`."""
        return cls(fd)

    def page(self, index: int) -> Page:
        """The page with this index; `BASE_PAGE` is written by the supervisor only."""
        if not 0 <= index < self.pages:
            raise IndexError(f"page {index} is not among the {self.pages} pages of the segment")
        start = index * _PAGE_CELLS
        return Page(self._cells[start : start + _PAGE_CELLS], index)

    def clear(self, index: int) -> None:
        """Zero a page and return its memory to the system; only for a page without a live owner."""
        self._map.madvise(mmap.MADV_REMOVE, index * PAGE_BYTES, PAGE_BYTES)

    def close(self) -> None:
        """Close the descriptor and release the mapping, which ends with the last row view in use."""
        os.close(self.fd)
        self._cells.release()
