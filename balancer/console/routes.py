"""The routes in `balancer status` (L7): a row for each side of each route, from `GET /api/routes`."""

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from balancer.config.durations import format_duration
from balancer.console.sides import (
    Answer,
    errors,
    errors_cell,
    fitted,
    gate_in_words,
    of_class,
    quantile_cells,
)

PATH = "/api/routes"
HEADINGS = ("route", "pool", "requests", "share", "4xx", "errors", "retries", "p50", "p95", "p99")
MOST = 20  # rows; a site with more has them in the API
_LESS = ("share", "retries", "4xx", "p50")  # left out in this order if the console is too narrow
_UNMATCHED = "unmatched"
_NOTHING = "-"


def routes(answer: Answer, width: int, most: int | None = None) -> Iterator[RenderableType]:
    """The table for a console of that width, with `most` rows at most, the worst, and notes; no table for a
    site with one route to one pool."""
    shown = [one for one in answer["routes"] if one["name"] != _UNMATCHED or _requests(one)]
    rows = [(route, side) for route in shown for side in route["sides"]]
    if len(rows) > 1:
        yield from _table_of_the_worst(rows, answer["bounds"], width, most)
    notes = [(route["name"], note) for route in shown if (note := _note(route))]
    if notes and len(rows) > 1:
        yield Text("")
    for name, note in notes:
        yield Text.assemble((name, "bold"), f": {note}")
    if notes or len(rows) > 1:
        yield Text("")


def _table_of_the_worst(
    rows: Sequence[tuple[Answer, Answer]], bounds: Sequence[float], width: int, most: int | None
) -> Iterator[RenderableType]:
    total = sum(side["requests"] for _, side in rows)
    most = MOST if most is None else min(most, MOST)
    if len(rows) > most:
        worst = sorted(range(len(rows)), key=lambda at: _badness(rows[at][1]), reverse=True)[:most]
        rest, rows = len(rows) - most, [rows[at] for at in sorted(worst)]
    else:
        rest = 0
    yield _table(rows, bounds, total, width)
    if rest:
        yield Text(f"... and {rest:,} more with fewer errors and requests (use --json)", style="dim")


def _table(rows: Sequence[tuple[Answer, Answer]], bounds: Sequence[float], total: int, width: int) -> Table:
    cells = [list(_cells(route, side, bounds, total)) for route, side in rows]
    for at in range(len(rows) - 1, 0, -1):
        if rows[at][0] is rows[at - 1][0]:
            cells[at][0] = Text("")  # the next side of the same route
    return fitted([[Text(heading) for heading in HEADINGS], *cells], _LESS, width, 2)


def _cells(route: Answer, side: Answer, bounds: Sequence[float], total: int) -> Iterator[Text]:
    requests = side["requests"]
    yield Text(route["name"])
    yield Text(f"{side['pool']}:{side['weight']}" if route["split"] else side["pool"] or _NOTHING)
    yield Text(f"{requests:,}")
    yield Text(f"{requests / total:.0%}" if total else _NOTHING)
    yield Text(f"{of_class(side, '4'):,}")
    yield errors_cell(side)
    yield Text(f"{side['retries']:,}" if side["pool"] else _NOTHING)
    yield from quantile_cells(bounds, side)


def _badness(side: Answer) -> tuple[int, int]:
    return errors(side), side["requests"]


def _requests(route: Answer) -> int:
    return sum(side["requests"] for side in route["sides"])


def _missed(side: Answer) -> str:
    """What of a side's promise has not been kept since the start; "" for nothing."""
    slo = side.get("slo")
    if slo is None or not slo["requests"]:
        return ""
    slow, failed = slo["slow"] / slo["requests"], slo["failed"] / slo["requests"]
    most = 1 - slo["percentile"] / 100
    parts = []
    if slow > most:
        parts.append(f"{slow:.2%} later than {format_duration(slo['latency'])} (promised: {most * 100:.6g}%)")
    if failed > slo["errors"]:
        parts.append(f"{failed:.2%} failed (promised: {slo['errors'] * 100:.6g}%)")
    return f"of {slo['requests']:,} requests at {side['pool']} so far {', '.join(parts)}" if parts else ""


def _note(route: Answer) -> str:
    """What an operator has changed for a while, and what promise was not kept; "" for nothing."""
    notes = []
    if route["read_only"]:
        notes.append(f"serves no changes for another {route['read_only']:.0f} s")
    notes += filter(None, map(_missed, route["sides"]))
    gate = route["gate"]
    if gate is not None:
        notes.append(f"new weights {gate_in_words(gate)}")
    return "; ".join(notes)
