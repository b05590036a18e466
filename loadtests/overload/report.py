"""The output: lines for each run, the table at the end, and the JSON file."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.table import Table

from loadtests.overload.figures import Run
from loadtests.overload.scenes import SCENES, Scene

NEVER = 0.5  # seconds before the end: failures in them mean no recovery
_COLUMNS = (
    "warm",
    "least/s",
    "last 5 s",
    "refused",
    "timeouts",
    "others",
    "p50 / p99, ms",
    "ejected",
    "recovered, s",
    "CPU served / refused, µs",
)
LEGEND = (
    "warm: served of those before the overload. least/s: answers of 200 within the clients' patience in the "
    "worst second that counts; last 5 s: their mean at the overload's end. p50 / p99: of what was served "
    "during the overload, from when it should have been sent. recovered: when after the overload the last "
    "failed request was begun. CPU: of the balancer's processes, for one request."
)


def run_lines(number: int, total: int, run: Run) -> str:
    """One finished run: what failed, and the goodput of every second."""
    invalid = "" if run.is_valid else f"  INVALID: the load was late by {run.lag * 1e3:.0f} ms"
    seconds = " ".join(str(one) for one in run.by_second)
    return (
        f"{number}/{total}  {run.balancer}, {run.scene}: {run.refused} refused, {run.timeouts} timeouts, "
        f"{run.others.total()} others{invalid}\n     200 by second: {seconds}"
    )


def table(runs: Sequence[Run], title: str) -> Table:
    """One row for each run."""
    result = Table(title=title, title_justify="left", caption=LEGEND, caption_justify="left")
    result.add_column("scene", no_wrap=True)
    result.add_column("balancer", no_wrap=True)
    for column in _COLUMNS:
        result.add_column(column, justify="right")
    for run in runs:
        result.add_row(
            run.scene,
            run.balancer if run.is_valid else f"{run.balancer} invalid",
            "-" if run.warm is None else "{:,}/{:,}".format(*run.warm),
            "-" if run.goodput is None else str(run.goodput.least),
            "-" if run.goodput is None else f"{run.goodput.last:.0f}",
            f"{run.refused:,}",
            f"{run.timeouts:,}",
            ", ".join(f"{count} {what}" for what, count in run.others.most_common()) or "0",
            f"{run.served.p50 * 1e3:.0f} / {run.served.p99 * 1e3:.0f}",
            "-" if run.ejections is None else str(run.ejections),
            _recovery(run, SCENES[run.scene]),
            f"{_microseconds(run.cpu_served)} / {_microseconds(run.cpu_refused)}",
        )
    return result


def _recovery(run: Run, scene: Scene) -> str:
    if run.recovery is None or scene.window is None or scene.window.ends >= scene.seconds:
        return "-"
    return "never" if run.recovery > scene.seconds - scene.window.ends - NEVER else f"{run.recovery:.1f}"


def _microseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1e6:.0f}"


def write_json(path: Path, runs: Sequence[Run]) -> None:
    """Every run; times in seconds."""
    path.write_text(json.dumps([_plain(one) for one in runs], indent=2) + "\n")


def _plain(run: Run) -> dict[str, object]:
    # asdict would rebuild a Counter from pairs, and count the pairs.
    return asdict(run) | {"others": dict(run.others), "is_valid": run.is_valid}
