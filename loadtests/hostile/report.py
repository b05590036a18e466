"""The output: a line for each run, the table at the end, and the JSON file."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from rich.table import Table

from loadtests.faults.report import failures, milliseconds
from loadtests.hostile.figures import Run

LEGEND = (
    "before, during: p50 / p99 / max in ms of good requests, from when they should have been sent. KiB each: "
    "growth of the balancer per connection of the attack; MiB: before, at most, and 3 s later."
)


def run_line(number: int, total: int, run: Run) -> str:
    """One finished run in one line."""
    ended = "  A WORKER HAS ENDED" if run.replaced else ""
    ended += f"  {run.unready} PROBES OF /readyz FAILED" if run.unready else ""
    return (
        f"{number}/{total}  {run.balancer:<8}  {run.attack:<17}  failed: {failures(run.failures)}"
        f"  p99 {run.during.p99 * 1e3:.0f} ms  {run.kib_each:.0f} KiB each  ({run.attacker}){ended}"
    )


def table(runs: Sequence[Run], title: str) -> Table:
    """One row for each attack and balancer."""
    result = Table(title=title, title_justify="left", caption=LEGEND, caption_justify="left")
    for column in ("attack", "balancer"):
        result.add_column(column, no_wrap=True)
    for column in ("good", "failed", "before, ms", "during, ms", "KiB each", "MiB"):
        result.add_column(column, justify="right")
    for run in runs:
        memory = run.memory
        result.add_row(
            run.attack,
            run.balancer,
            f"{run.requests:,}",
            failures(run.failures) + (", a worker ended" if run.replaced else ""),
            milliseconds(run.before),
            milliseconds(run.during),
            f"{run.kib_each:.1f}",
            " / ".join(f"{kib / 1024:.0f}" for kib in (memory.before, memory.peak, memory.after)),
        )
    return result


def write_json(path: Path, settings: dict[str, int], runs: Sequence[Run]) -> None:
    """Settings and every run; times in seconds, memory in KiB."""
    plain = [asdict(replace(run, failures=Counter())) | {"failures": dict(run.failures)} for run in runs]
    path.write_text(json.dumps({"settings": settings, "runs": plain}, indent=2) + "\n")
