"""The routes in `balancer status` (L7): a row for each side of each route, from `GET /api/routes`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from balancer.console.split import quantile

PATH = "/api/routes"
HEADINGS = ("route", "pool", "requests", "share", "4xx", "5xx", "retries", "p50", "p95", "p99")
MOST = 20  # rows; a site with more has them in the API
_LESS = ("share", "retries", "4xx", "p50")  # left out in this order if the console is too narrow
_QUANTILES = (0.5, 0.95, 0.99)
_UNMATCHED = "unmatched"
_NOTHING = "-"

Answer: TypeAlias = Mapping[str, Any]


def routes(answer: Answer, width: int, most: int | None = None) -> Iterator[RenderableType]:
    """The table for a console of that width, with `most` rows at most, the worst; nothing for a site with one
    route to one pool."""
    shown = [one for one in answer["routes"] if one["name"] != _UNMATCHED or _requests(one)]
    rows = [(route, side) for route in shown for side in route["sides"]]
    if len(rows) < 2:
        return
    total = sum(side["requests"] for _, side in rows)
    most = MOST if most is None else min(most, MOST)
    if len(rows) > most:
        worst = sorted(range(len(rows)), key=lambda at: _badness(rows[at][1]), reverse=True)[:most]
        rest, rows = len(rows) - most, [rows[at] for at in sorted(worst)]
    else:
        rest = 0
    yield _table(rows, answer["bounds"], total, width)
    if rest:
        yield Text(f"... and {rest:,} more with fewer errors and requests (use --json)", style="dim")
    notes = [(route["name"], note) for route in shown if (note := _note(route))]
    if notes:
        yield Text("")
    for name, note in notes:
        yield Text.assemble((name, "bold"), f": {note}")
    yield Text("")


def _table(rows: Sequence[tuple[Answer, Answer]], bounds: Sequence[float], total: int, width: int) -> Table:
    cells = [list(_cells(route, side, bounds, total)) for route, side in rows]
    for at in range(len(rows) - 1, 0, -1):
        if rows[at][0] is rows[at - 1][0]:
            cells[at][0] = Text("")  # the next side of the same route
    columns = [list(column) for column in zip(map(Text, HEADINGS), *cells, strict=True)]
    for heading in _LESS:
        if _natural(columns, 1) > width:
            columns = [column for column in columns if column[0].plain != heading]
    # The box puts one space between columns.
    gap = 2 if _natural(columns, 2) <= width else 1
    table = Table(
        box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, gap - 1, 0, 0), header_style="bold"
    )
    for heading, *_ in columns[:2]:
        table.add_column(heading, overflow="fold")
    for heading, *_ in columns[2:]:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in zip(*(column[1:] for column in columns), strict=True):
        table.add_row(*row)
    return table


def _natural(columns: Sequence[Sequence[Text]], gap: int) -> int:
    """The width at which nothing is folded."""
    return sum(max(map(len, column)) for column in columns) + gap * (len(columns) - 1)


def _cells(route: Answer, side: Answer, bounds: Sequence[float], total: int) -> Iterator[Text]:
    requests, errors = side["requests"], _of_class(side, "5")
    yield Text(route["name"])
    yield Text(f"{side['pool']}:{side['weight']}" if route["split"] else side["pool"] or _NOTHING)
    yield Text(f"{requests:,}")
    yield Text(f"{requests / total:.0%}" if total else _NOTHING)
    yield Text(f"{_of_class(side, '4'):,}")
    yield Text(f"{errors:,} {errors / requests:.1%}" if errors else "0", style="red" if errors else "")
    yield Text(f"{side['retries']:,}" if side["pool"] else _NOTHING)
    for share in _QUANTILES:
        yield Text(quantile(bounds, side["duration_buckets"], share))


def _of_class(side: Answer, first: str) -> int:
    return sum(count for code, count in side["codes"].items() if code.startswith(first))


def _badness(side: Answer) -> tuple[int, int]:
    return _of_class(side, "5"), side["requests"]


def _requests(route: Answer) -> int:
    return sum(side["requests"] for side in route["sides"])


def _note(route: Answer) -> str:
    """What an operator has changed for a while; "" for nothing."""
    notes = []
    if route["read_only"]:
        notes.append(f"serves no changes for another {route['read_only']:.0f} s")
    gate = route["gate"]
    if gate is not None:
        conditions = ", ".join(gate["abort_if"])
        notes.append(f"new weights held for {gate['passed']:.0f} of {gate['hold']:g} s; back if {conditions}")
    return "; ".join(notes)
