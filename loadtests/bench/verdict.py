"""Whether the bars of a case are kept. What was not measured is not kept."""

from collections.abc import Sequence
from dataclasses import dataclass

from loadtests.bench.case import OURS, Bar, Case
from loadtests.bench.figures import Row


@dataclass(frozen=True, slots=True)
class Verdict:
    """A bar of one build with what was measured: a ratio, or a figure in its unit. None: it was not."""

    case: str
    build: str
    bar: Bar
    limit: float
    measured: float | None

    @property
    def is_kept(self) -> bool:
        return self.measured is not None and self.measured <= self.limit

    def __str__(self) -> str:
        measured = "was not measured" if self.measured is None else f"is {self.bar_text(self.measured)}"
        return (
            f"{self.case}: {self.bar.figure.heading} of {self.bar.judged(self.build)} {measured}; "
            f"the bar is {self.bar_text(self.limit)}"
        )

    def bar_text(self, number: float) -> str:
        """A number of this bar's kind."""
        if self.bar.against:
            return f"{number:.2f} x {self.bar.base(self.build)}"
        return self.bar.figure.text(number)


def judge(case: Case, rows: Sequence[Row], builds: Sequence[str] = OURS) -> list[Verdict]:
    """The verdicts on all bars of a case, for these builds of ours."""
    by_name = {row.name: row for row in rows}
    found = []
    for bar in case.bars:
        for build in builds:
            limit = bar.limit(build)
            if limit is not None:
                found.append(Verdict(case.name, build, bar, limit, _measured(bar, build, by_name)))
    return found


def _measured(bar: Bar, build: str, by_name: dict[str, Row]) -> float | None:
    row = by_name.get(bar.judged(build))
    if row is None or bar.figure not in row.figures:
        return None
    if not bar.against:
        return row.figures[bar.figure]
    base = by_name.get(bar.base(build))
    if base is None or base.figures.get(bar.figure, 0.0) <= 0.0:
        return None
    return row.figures[bar.figure] / base.figures[bar.figure]
