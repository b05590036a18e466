"""The table of `balancer top` (L7): a row for each pool and each upstream, for any width."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from balancer.console.sides import QUANTILES, quantile
from balancer.console.status import COLOURS
from balancer.console.top_rates import MIXED, Figures, PoolRow, Row, UpstreamRow

NOTHING = "-"
HEADINGS = ("state", "rps", "err/s", "p50", "p95", "p99", "inflight", "queue")
# Widths that rarely grow, so that columns stay where they are from one look to the next.
_WIDTHS = {"state": 8, "rps": 6, "err/s": 5, "p50": 6, "p95": 6, "p99": 6, "inflight": 8, "queue": 5}
_LESS = ("p50", "queue", "p95", "state")  # left out in this order if the console is too narrow
_NAME = 16  # columns for names, at least
_INDENT = "  "
_CURSOR = "reverse"


@dataclass(frozen=True, slots=True)
class Line:
    """A row of the table: its cells by heading, and the upstream that it is about, None for a pool."""

    name: Text
    cells: dict[str, Text]
    upstream: UpstreamRow | None


def lines(rows: Sequence[Row], bounds: Sequence[float]) -> list[Line]:
    """What the table has of these."""
    return [_of_pool(row, bounds) if isinstance(row, PoolRow) else _of_upstream(row, bounds) for row in rows]


def _of_pool(pool: PoolRow, bounds: Sequence[float]) -> Line:
    eligible, count = pool.eligible(), len(pool.upstreams)
    style = "green" if count and eligible == count else "yellow" if eligible else "bold red"
    cells = {
        "state": Text(f"{eligible} of {count}", style=style),
        **_figures(pool.total, bounds),
        "queue": Text(
            f"{pool.queue:,}", style="bold red" if pool.overloaded else "yellow" if pool.queue else ""
        ),
    }
    return Line(Text(pool.name, style="bold"), {name: _bold(cell) for name, cell in cells.items()}, None)


def _of_upstream(upstream: UpstreamRow, bounds: Sequence[float]) -> Line:
    state = upstream.state()
    shown = Text(state, style=COLOURS[upstream.worst() if state == MIXED else state])
    cells = {"state": shown, **_figures(upstream.total, bounds), "queue": Text("")}
    return Line(Text(_INDENT + upstream.id), cells, upstream)


def _figures(figures: Figures, bounds: Sequence[float]) -> dict[str, Text]:
    quantiles = [quantile(bounds, figures.buckets, share) for share in QUANTILES]
    inflight = f"{figures.inflight:,}/{figures.limit:,}" if figures.limit else f"{figures.inflight:,}"
    is_full = figures.limit and figures.inflight >= figures.limit
    return {
        "rps": Text(rate(figures.requests) if figures.known else NOTHING),
        "err/s": Text(
            rate(figures.errors) if figures.known else NOTHING, style="bold red" if figures.errors else ""
        ),
        **{name: Text(value) for name, value in zip(("p50", "p95", "p99"), quantiles, strict=True)},
        "inflight": Text(inflight, style="yellow" if is_full else ""),
    }


def _bold(cell: Text) -> Text:
    cell.stylize("bold")
    return cell


def rate(per_second: float) -> str:
    """Per second, with a digit behind the point where that says something."""
    return f"{per_second:.1f}" if 0 < per_second < 10 else f"{per_second:,.0f}"


def table(
    shown: Sequence[Line], width: int, cursor: tuple[str, str] | None = None, dim: bool = False
) -> Table:
    """These lines for a console of that width; the one of the upstream `cursor` is marked."""
    widths = {
        heading: max([_WIDTHS[heading], *(len(line.cells[heading]) for line in shown)])
        for heading in HEADINGS
    }
    headings = list(HEADINGS)
    for heading in _LESS:
        if _NAME + sum(widths[each] + 1 for each in headings) > width:
            headings.remove(heading)
    room = max(_NAME, width - sum(widths[each] + 1 for each in headings))
    longest = max([_NAME, *(len(line.name) for line in shown)])
    made = Table(
        box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold", style="dim" if dim else ""
    )
    made.add_column("pool, upstream", width=min(room, longest), no_wrap=True)
    for heading in headings:
        made.add_column(
            heading, justify="left" if heading == "state" else "right", width=widths[heading], no_wrap=True
        )
    for line in shown:
        is_marked = cursor is not None and line.upstream is not None and line.upstream.key == cursor
        made.add_row(
            elided(line.name, min(room, longest)),
            *(line.cells[heading] for heading in headings),
            style=_CURSOR if is_marked else None,
        )
    return made


def elided(name: Text, width: int) -> Text:
    """A name without its middle, if it is too long: its begin and its end tell it from others."""
    text = name.plain
    if len(text) <= width:
        return name
    end = (width - 1) // 2
    return Text(f"{text[: width - 1 - end]}\u2026{text[len(text) - end :]}", style=name.style)
