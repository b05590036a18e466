"""What the tables of routes and splits share (L7): figures of a side, and a table that fits a console."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

Answer: TypeAlias = Mapping[str, Any]

QUANTILES = (0.5, 0.95, 0.99)
_LONGER = "> "  # than the last bound


def of_class(side: Answer, first: str) -> int:
    """Responses whose code begins with `first`."""
    return sum(count for code, count in side["codes"].items() if code.startswith(first))


def errors(side: Answer) -> int:
    """Responses that count as errors in a gate too: 5xx, and those broken off after their head."""
    return of_class(side, "5") + int(side["broken_off"])


def errors_cell(side: Answer) -> Text:
    """Errors, and their share of the requests."""
    found, requests = errors(side), side["requests"]
    return Text(f"{found:,} {found / (requests or 1):.1%}", style="red") if found else Text("0")


def quantile_cells(bounds: Sequence[float], side: Answer) -> list[Text]:
    """p50, p95 and p99 of the time to the first byte."""
    return [Text(quantile(bounds, side["first_byte_buckets"], share)) for share in QUANTILES]


def quantile(bounds: Sequence[float], buckets: Sequence[int], share: float) -> str:
    """The bound that this share of what was counted kept; "-" without any."""
    total, seen = sum(buckets), 0
    if not total:
        return "-"
    for bound, count in zip(bounds, buckets, strict=False):
        seen += count
        if seen >= share * total:
            return f"{bound * 1000:g} ms" if bound < 1 else f"{bound:g} s"
    return f"{_LONGER}{bounds[-1]:g} s"


def added(some: Sequence[int], more: Sequence[int]) -> list[int]:
    """The buckets of two histograms together; one may be empty."""
    if not some or not more:
        return [*(some or more)]
    return [one + other for one, other in zip(some, more, strict=True)]


def common_bounds(several: Iterable[Sequence[float]]) -> list[float]:
    """The bounds that all of them have: instances may have others of their own, and a reload may add some."""
    first, *others = several
    return [bound for bound in first if all(bound in each for each in others)]


def coarse(buckets: Sequence[int], bounds: Sequence[float], common: Sequence[float]) -> list[int]:
    """The buckets of a histogram over `bounds` as those of one over some of these, in `common`."""
    kept = [0] * (len(common) + 1)
    place = 0
    for bound, count in zip((*bounds, math.inf), buckets, strict=True):
        while place < len(common) and common[place] < bound:
            place += 1
        kept[place] += count
    return kept


def gate_in_words(gate: Answer) -> str:
    """What is watched, and what it waits for."""
    text = f"held for {gate['passed']:.0f} of {gate['hold']:g} s; back if {', '.join(gate['abort_if'])}"
    return f"{text}; waiting: {gate['waiting']}" if gate["waiting"] else text


def fitted(rows: Sequence[Sequence[Text]], less: Sequence[str], width: int, left: int) -> Table:
    """A table for a console of that width. The first row are the headings; columns in `less` are left out in
    this order until it fits. The first `left` columns are aligned to the left, and folded if need be."""
    columns = [list(column) for column in zip(*rows, strict=True)]
    for heading in less:
        if _natural(columns, 1) > width:
            columns = [column for column in columns if column[0].plain != heading]
    # The box puts one space between columns.
    gap = 2 if _natural(columns, 2) <= width else 1
    table = Table(
        box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, gap - 1, 0, 0), header_style="bold"
    )
    for heading, *_ in columns[:left]:
        table.add_column(heading, overflow="fold")
    for heading, *_ in columns[left:]:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in zip(*(column[1:] for column in columns), strict=True):
        table.add_row(*row)
    return table


def _natural(columns: Sequence[Sequence[Text]], gap: int) -> int:
    """The width at which nothing is folded."""
    return sum(max(map(len, column)) for column in columns) + gap * (len(columns) - 1)
