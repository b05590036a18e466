"""The output: a line for each run, the table at the end, and the JSON file."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from rich.table import Table

from loadtests.faults.figures import Run
from loadtests.open_loop.figures import Latency

_COLUMNS = ("requests", "GET failed", "POST failed", "last, s", "before, ms", "during, ms", "ill", "twice")
LEGEND = (
    "before, during: p50 / p99 / max in ms, from when a request should have been sent. last: when the last "
    "failed request was begun, in seconds after the onset. ill: share of the fault's requests that the ill "
    "replica has read. twice: POST requests that replicas have read twice."
)


def run_line(number: int, total: int, run: Run) -> str:
    """One finished run in one line."""
    invalid = "" if run.is_valid else f"  INVALID: the load was late by {run.lag * 1e3:.0f} ms"
    return (
        f"{number}/{total}  {run.balancer:<8}  {run.fault:<17}  GET failed: {failures(run.gets)}"
        f"  POST failed: {failures(run.posts)}  p99 {run.during.p99 * 1e3:.0f} ms{invalid}"
    )


def table(runs: Sequence[Run], title: str) -> Table:
    """One row for each fault and balancer."""
    result = Table(title=title, title_justify="left", caption=LEGEND, caption_justify="left")
    result.add_column("fault", no_wrap=True)
    result.add_column("balancer", no_wrap=True)
    for column in _COLUMNS:
        result.add_column(column, justify="right")
    for run in runs:
        result.add_row(
            run.fault,
            run.balancer if run.is_valid else f"{run.balancer} invalid",
            f"{run.requests:,}",
            failures(run.gets),
            failures(run.posts),
            "-" if run.last_failure is None else f"{run.last_failure:.1f}",
            milliseconds(run.before),
            milliseconds(run.during),
            "-" if run.ill_share is None else f"{run.ill_share:.1%}",
            str(run.posts_read_twice),
        )
    return result


def failures(counts: Counter[str]) -> str:
    """`0`, or the number with the kinds: `12: 10 status 503, 2 reset`."""
    if not counts.total():
        return "0"
    return f"{counts.total()}: " + ", ".join(f"{count} {kind}" for kind, count in counts.most_common())


def milliseconds(latency: Latency) -> str:
    """p50, p99 and the maximum."""
    return " / ".join(f"{one * 1e3:.0f}" for one in (latency.p50, latency.p99, latency.max))


def write_json(path: Path, settings: dict[str, int | str], rows: Sequence[Run], runs: Sequence[Run]) -> None:
    """Settings, the table's rows and every run; times in seconds."""
    document = {
        "settings": settings,
        "table": [_plain(one) for one in rows],
        "runs": [_plain(one) for one in runs],
    }
    path.write_text(json.dumps(document, indent=2) + "\n")


def _plain(run: Run) -> dict[str, object]:
    counts = {"gets": dict(run.gets), "posts": dict(run.posts)}
    # asdict would rebuild a Counter from pairs, and count the pairs.
    return asdict(replace(run, gets=Counter(), posts=Counter())) | counts | {"is_valid": run.is_valid}
