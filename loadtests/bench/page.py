"""Writes docs/bench.md from results: the facts, all cases with their bars, and the pictures' data."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from loadtests.bench import report
from loadtests.bench.case import OURS, Bar
from loadtests.bench.cases import CASES, is_point
from loadtests.bench.contenders import NAMES
from loadtests.bench.figures import Figure
from loadtests.bench.report import Result
from loadtests.bench.verdict import judge
from loadtests.proxies import FileTemplate

SWEEPS = {"upstreams": "upstreams", "connections": "client connections", "body": "bytes of response body"}
_TEMPLATE = Path(__file__).with_name("page.md.template")
_TIMES = "\N{MULTIPLICATION SIGN}"


def write(path: Path, facts: Mapping[str, str], results: Sequence[Result]) -> None:
    """Write the page; its pictures are in a directory beside it with the same name."""
    rows = [one for one in results if not is_point(one.case.name)]
    pictures = _pictures(results, path.stem)
    text = FileTemplate(_TEMPLATE.read_text()).substitute(
        facts=_table(["measured", ""], [[name, value] for name, value in facts.items()]),
        cases=f"{_overview(rows)}{_missing(results)}",
        pictures=f"## Cost against size\n\n{pictures}" if pictures else "",
        details="\n".join(map(_details, rows)),
    )
    path.write_text(f"{text.strip()}\n")


def series(results: Sequence[Result]) -> str:
    """The sweeps as JSON for `pictures.py`: axis, then row, then [x, CPU µs/request] points."""
    drawn: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for found in results:
        name, _, value = found.case.name.partition("=")
        for row in found.rows:
            if value and Figure.CPU in row.figures:
                points = drawn.setdefault(name, {}).setdefault(row.name, [])
                points.append((int(value), row.figures[Figure.CPU] * 1e6))
    return json.dumps({"titles": SWEEPS, "series": drawn})


def _overview(results: Sequence[Result]) -> str:
    heads = ["case", "figure", *NAMES, "bar: ours / plain"]
    return _table(heads, [_row(one) for one in results], right=2)


def _row(found: Result) -> list[str]:
    case = found.case
    cells = []
    for name in NAMES:
        own = [row for row in found.rows if row.name.partition(" ")[0] == name]
        # Of variants the last one is the point of the case; the others are its base.
        row = own[-1] if own else None
        if row is None:
            cells.append("")
        elif row.failure:
            cells.append("failed")
        elif row.ratio is not None and row.name != case.base_of(row.name):
            cells.append(f"{row.ratio:.2f} {_TIMES}")
        else:
            cells.append(case.main.text(row.figures[case.main]))
    return [f"`{case.name}`: {case.text}", case.main.heading, *cells, _bars(found)]


def _bars(found: Result) -> str:
    ran = {row.name.partition(" ")[0] for row in found.rows}
    kept = {(one.bar, one.build): one.is_kept for one in judge(found.case, found.rows)}
    texts = []
    for bar in found.case.bars:
        limits = [
            f"{_limit(bar, build)}{'' if kept[bar, build] or build not in ran else ' **missed**'}"
            for build in OURS
            if bar.limit(build) is not None
        ]
        named = "" if bar.figure is found.case.main else f"{bar.figure.heading} "
        texts.append(named + " / ".join(limits))
    return "; ".join(texts)


def _limit(bar: Bar, build: str) -> str:
    limit = bar.limit(build) or 0.0
    return f"{limit:.2f} {_TIMES} {bar.base(build)}" if bar.against else bar.figure.text(limit)


def _missing(results: Sequence[Result]) -> str:
    ran = {one.case.name for one in results}
    missing = [f"`{name}`" for name in CASES if name not in ran]
    return f"\nNot measured this time: {', '.join(missing)}.\n" if missing else ""


def _pictures(results: Sequence[Result], stem: str) -> str:
    drawn = json.loads(series(results))["series"]
    return "".join(
        f"![CPU time per request against {SWEEPS[axis]}]({stem}/{axis}.svg)\n\n"
        + _table([SWEEPS[axis], *rows], _points(rows), right=0)
        + "\n"
        for axis, rows in drawn.items()
    )


def _points(rows: Mapping[str, Sequence[Sequence[float]]]) -> list[list[str]]:
    by_name = {name: {int(x): y for x, y in points} for name, points in rows.items()}
    values = sorted({value for points in by_name.values() for value in points})
    return [
        [f"{value:,}", *(f"{points[value]:.1f} µs" if value in points else "" for points in by_name.values())]
        for value in values
    ]


def _details(found: Result) -> str:
    columns = next((list(row.figures) for row in found.rows if row.figures), [found.case.main])
    heads = ["", *report.headings(found.case, columns)]
    rows = [[row.name, *report.cells(found.case, row, columns)] for row in found.rows]
    remarks = "".join(f"\n{remark}\n" for remark in report.remarks(found))
    title = f"### {found.case.name}\n\n{found.case.text[0].upper()}{found.case.text[1:]}. "
    return f"{title}{found.rounds} rounds of {found.seconds} s.\n\n{_table(heads, rows)}{remarks}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], right: int = 1) -> str:
    """A Markdown table; columns from `right` on are aligned to the right."""
    rule = ["---" if number < right else "---:" for number in range(len(heads))]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (heads, rule, *rows))
