"""What the benchmark prints: a line per sample, a table per case, remarks, and the JSON file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from loadtests.bench.case import Case
from loadtests.bench.cases import CASES
from loadtests.bench.figures import DISTURBED, SATURATED, Figure, Row, Sample, summarise
from loadtests.errors import BenchError

RATES = (Figure.RATE, Figure.MIB_RATE)
SEPARATOR = "; "  # of the values of a fact


@dataclass(frozen=True, slots=True)
class Result:
    """A case that ran: every sample, and their medians."""

    case: Case
    rounds: int
    seconds: int
    samples: Sequence[Sample]
    rows: Sequence[Row]


def result(case: Case, rounds: int, seconds: int, samples: Sequence[Sample]) -> Result:
    """The result of a case's samples."""
    return Result(case, rounds, seconds, samples, summarise(samples, case.main, case.base_of))


def sample_line(number: int, total: int, one: Sample) -> str:
    """One sample in one line."""
    if one.failure:
        return f"round {number}/{total}  {one.row:<10} failed: {one.failure}"
    words = (f"{figure.text(value)} {figure.heading}" for figure, value in one.figures.items())
    return f"round {number}/{total}  {one.row:<10} {', '.join(words)}"


def is_at_saturation(case: Case) -> bool:
    """Whether the proxies are loaded as much as they can take."""
    return case.main is not Figure.P99


def table(found: Result) -> Table:
    """The medians, one row per proxy or variant."""
    columns = _columns(found.rows)
    title = f"{found.case.name}: {found.case.text}; {found.rounds} rounds of {found.seconds} s"
    drawn = Table(title=title, title_justify="left")
    drawn.add_column("")
    for heading in headings(found.case, columns):
        drawn.add_column(heading, justify="right")
    for row in found.rows:
        drawn.add_row(row.name, *cells(found.case, row, columns))
    return drawn


def headings(case: Case, columns: Sequence[Figure]) -> list[str]:
    """The headings of a case's columns."""
    first, *rest = (figure.heading for figure in columns)
    ratio = [f"x {case.base.removeprefix('own:')}", "(rounds)"] if case.base else []
    return [first, *ratio, *rest]


def cells(case: Case, row: Row, columns: Sequence[Figure]) -> list[str]:
    """A row's cells, beside its name."""
    if row.failure:
        return ["failed", *["-"] * (len(headings(case, columns)) - 1)]
    texts = [figure.text(row.figures[figure]) if figure in row.figures else "-" for figure in columns]
    for figure in RATES:
        if figure in columns and is_at_saturation(case) and not row.is_saturated:
            texts[columns.index(figure)] += " invalid"
    if not case.base:
        return texts
    ratio = f"{row.ratio:.2f}" if row.ratio is not None else "-"
    spread = "{:.2f}-{:.2f}".format(*row.spread) if row.spread is not None else "-"
    return [texts[0], ratio, spread, *texts[1:]]


def remarks(found: Result) -> list[str]:
    """Notes on the validity of the figures in the table."""
    said = [f"{row.name} failed: {row.failure}" for row in found.rows if row.failure]
    unsaturated = [
        row.name for row in found.rows if not row.is_saturated and any(rate in row.figures for rate in RATES)
    ]
    if unsaturated and is_at_saturation(found.case):
        said.append(
            f"{', '.join(unsaturated)}: used less than {SATURATED:.0%} of the core, so requests/s and "
            "latency are invalid as figures of saturation; CPU per request is valid."
        )
    disturbed = [row.name for row in found.rows if row.is_disturbed]
    if disturbed:
        said.append(
            f"{', '.join(disturbed)}: others used more than {DISTURBED:.0%} of the core; measure again when "
            "the machine is quiet."
        )
    return said


def _columns(rows: Sequence[Row]) -> list[Figure]:
    return next((list(row.figures) for row in rows if row.figures), [Figure.CPU])


def write_json(path: Path, facts: Mapping[str, str], results: Sequence[Result]) -> None:
    """Facts and every sample by case; times in seconds, sizes in bytes."""
    cases = {
        one.case.name: {
            "rounds": one.rounds,
            "seconds": one.seconds,
            "medians": [
                {"row": row.name, "ratio": row.ratio, "spread": row.spread, **_named(row.figures)}
                for row in one.rows
            ],
            "samples": [
                {"row": sample.row, "failure": sample.failure, **_named(sample.figures)}
                for sample in one.samples
            ],
        }
        for one in results
    }
    path.write_text(json.dumps({"facts": facts, "cases": cases}, indent=1) + "\n")


def read_json(paths: Sequence[Path]) -> tuple[dict[str, str], list[Result]]:
    """What `write_json` wrote; of several files the last that has a case counts. A fact that differs has all
    its values, such as the commits. `BenchError` for others."""
    facts: dict[str, str] = {}
    cases: dict[str, Any] = {}
    for path in paths:
        try:
            document = json.loads(path.read_text())
            cases |= document["cases"]
            for name, value in document["facts"].items():
                values = facts.get(name, value).split(SEPARATOR)
                facts[name] = SEPARATOR.join(dict.fromkeys([*values, value]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BenchError(f"{path} is no file of the benchmark: {error}") from None
    return facts, [
        result(
            case,
            cases[name]["rounds"],
            cases[name]["seconds"],
            [_sample(one) for one in cases[name]["samples"]],
        )
        for name, case in CASES.items()
        if name in cases
    ]


def _named(figures: Mapping[Figure, float]) -> dict[str, float]:
    return {figure.name: value for figure, value in figures.items()}


def _sample(one: Mapping[str, Any]) -> Sample:
    figures = {Figure[name]: value for name, value in one.items() if name in Figure.__members__}
    return Sample(one["row"], figures, one["failure"])
