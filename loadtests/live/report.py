"""The output: a table of all parts."""

from collections import Counter

from rich.table import Table

from loadtests.live.performance import Run

_COLUMNS = (
    "changes",
    "a change, s",
    "requests",
    "failed",
    "WebSockets cut",
    "downloads cut",
    "own",
    "p99, ms",
    "slowest, ms",
    "late, ms",
)
LEGEND = (
    "a change: median / slowest. own: what a killed worker had, and what was sent there before its client "
    "saw the reset. late: p99 / maximum of how late the load sent its requests, which is part of their times."
)


def table(run: Run) -> Table:
    """One row for each part."""
    result = Table(title=run.balancer, title_justify="left", caption=LEGEND, caption_justify="left")
    result.add_column("part", no_wrap=True)
    for column in _COLUMNS:
        result.add_column(column, justify="right")
    for one in run.parts:
        took = sorted(one.part.took)
        result.add_row(
            one.part.name,
            str(len(took)) if took else "-",
            f"{took[len(took) // 2]:.2f} / {took[-1]:.2f}" if took else "-",
            f"{one.requests:,}",
            counted(one.failed),
            counted(one.websockets_cut),
            counted(one.downloads_cut),
            counted(one.own),
            f"{one.latency.p99 * 1e3:.0f}",
            f"{one.latency.max * 1e3:.0f}",
            f"{one.lag.p99 * 1e3:.0f} / {one.lag.max * 1e3:.0f}",
        )
    return result


def counted(counts: Counter[str]) -> str:
    """`0`, or the number with the kinds."""
    if not counts.total():
        return "0"
    return f"{counts.total()}: " + ", ".join(f"{count} {kind}" for kind, count in counts.most_common())
