"""The output of the benchmark: a line per round, the table at the end, and the JSON file."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.table import Table

from loadtests.figures import DISTURBED, SATURATED, Round, Summary


def round_line(number: int, total: int, one: Round) -> str:
    """One finished round in one line."""
    return (
        f"round {number}/{total}  {one.proxy:<8} {one.requests_per_second:>9,.0f} requests/s"
        f"  {one.cpu_per_request * 1e6:>7.1f} µs CPU/request"
        f"  {one.core_share:>4.0%} of its core, others {one.others_share:.0%}"
    )


def table(summaries: Sequence[Summary], title: str) -> Table:
    """The medians, one row per proxy."""
    result = Table(title=title, title_justify="left")
    result.add_column("proxy")
    for column in (
        "CPU µs/request",
        "x nginx",
        "(rounds)",
        "requests/s",
        "core",
        "others",
        "p50 ms",
        "p99 ms",
    ):
        result.add_column(column, justify="right")
    for one in summaries:
        rate = f"{one.requests_per_second:,.0f}"
        result.add_row(
            one.proxy,
            f"{one.cpu_per_request * 1e6:.1f}",
            f"{one.ratio:.2f}" if one.ratio is not None else "-",
            "{:.2f}-{:.2f}".format(*one.ratio_range) if one.ratio_range is not None else "-",
            rate if one.is_saturated else f"{rate} invalid",
            f"{one.core_share:.0%}",
            f"{one.others_share:.0%}",
            f"{one.p50 * 1e3:.2f}",
            f"{one.p99 * 1e3:.2f}",
        )
    return result


def remarks(summaries: Sequence[Summary]) -> list[str]:
    """Notes on the validity of the figures in the table."""
    found = []
    unsaturated = [one.proxy for one in summaries if not one.is_saturated]
    if unsaturated:
        found.append(
            f"{', '.join(unsaturated)}: used less than {SATURATED:.0%} of the core, so requests/s and "
            "latency are invalid as figures of saturation; CPU per request is valid."
        )
    disturbed = [one.proxy for one in summaries if one.is_disturbed]
    if disturbed:
        found.append(
            f"{', '.join(disturbed)}: others used more than {DISTURBED:.0%} of the core; measure again when "
            "the machine is quiet."
        )
    return found


def write_json(
    path: Path, settings: dict[str, int], rounds: Sequence[Round], summaries: Sequence[Summary]
) -> None:
    """Settings, medians and every round; times in seconds."""
    medians = [asdict(one) | {"is_saturated": one.is_saturated} for one in summaries]
    document = {"settings": settings, "medians": medians, "rounds": [asdict(one) for one in rounds]}
    path.write_text(json.dumps(document, indent=2) + "\n")
