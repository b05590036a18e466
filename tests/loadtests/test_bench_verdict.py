"""The bars: kept, missed, and missed because nothing was measured."""

import pytest

from loadtests.bench.__main__ import main
from loadtests.bench.cases import CASES
from loadtests.bench.figures import Figure, Sample
from loadtests.bench.report import Result, result, write_json
from loadtests.bench.verdict import judge


def measured(name: str, **figures: dict[Figure, float]) -> Result:
    """A case with one sample for each row; `_` in a row's name is a space."""
    return result(CASES[name], 1, 1, [Sample(row.replace("_", " "), own) for row, own in figures.items()])


def kept(found: Result) -> dict[tuple[str, str], bool]:
    return {(one.build, one.bar.figure.name): one.is_kept for one in judge(found.case, found.rows)}


def test_both_builds_are_compared_with_nginx() -> None:
    found = measured("small", nginx={Figure.CPU: 1.0}, ours={Figure.CPU: 0.92}, plain={Figure.CPU: 1.26})
    assert kept(found) == {("ours", "CPU"): True, ("plain", "CPU"): False}


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param({"nginx": {Figure.CPU: 1.0}}, id="ours did not run"),
        pytest.param({"ours": {Figure.CPU: 0.1}}, id="nginx did not run"),
        pytest.param({"nginx": {Figure.CPU: 0.0}, "ours": {Figure.CPU: 0.1}}, id="nothing was counted"),
        pytest.param({"nginx": {Figure.CPU: 1.0}, "ours": {}}, id="ours failed"),
    ],
)
def test_what_was_not_measured_is_not_kept(rows: dict[str, dict[Figure, float]]) -> None:
    samples = [Sample(row, own, "" if own else "it broke") for row, own in rows.items()]
    found = result(CASES["small"], 1, 1, samples)
    assert kept(found)["ours", "CPU"] is False


def test_variants_are_compared_within_a_build() -> None:
    found = measured("workers", ours_one={Figure.CPU: 1.0}, ours_two={Figure.CPU: 1.14})
    assert kept(found) == {("ours", "CPU"): True}
    assert found.rows[1].ratio == pytest.approx(1.14)


def test_absolute_bars_and_those_against_haproxy() -> None:
    own = {Figure.ALL_SERVED: 1.4, Figure.REFUSED: 1.0}
    found = measured("burst", haproxy={Figure.ALL_SERVED: 1.0, Figure.REFUSED: 0.0}, ours=own)
    assert kept(found) == {("ours", "ALL_SERVED"): True, ("ours", "REFUSED"): False}


def test_a_missed_bar_is_a_sentence_with_both_figures() -> None:
    found = measured("small", nginx={Figure.CPU: 1.0}, ours={Figure.CPU: 0.93})
    ours, plain = judge(found.case, found.rows)
    assert str(ours) == "small: CPU µs/request of ours is 0.93 x nginx; the bar is 0.92 x nginx"
    assert str(plain) == "small: CPU µs/request of plain was not measured; the bar is 1.25 x nginx"


@pytest.mark.parametrize(
    ("own", "argv", "status"),
    [
        pytest.param(0.9, ["--check"], 0, id="kept"),
        pytest.param(0.93, ["--check"], 1, id="missed"),
        pytest.param(0.93, [], 0, id="missed, without --check"),
        pytest.param(0.93, ["--max-ratio", "0.9"], 1, id="above --max-ratio"),
    ],
)
def test_the_exit_code(
    own: float, argv: list[str], status: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("bench") / "small.json"
    rows = {"nginx": {Figure.CPU: 1.0}, "ours": {Figure.CPU: own}, "plain": {Figure.CPU: 1.0}}
    write_json(file, {"commit": "0123"}, [measured("small", **rows)])
    assert main(["--read", str(file), *argv]) == status


def test_every_case_with_bars_runs_what_they_compare() -> None:
    for case in CASES.values():
        for bar in case.bars:
            rows = {bar.judged("ours"), bar.base("ours")} - {""}
            assert {row.partition(" ")[0] for row in rows} <= set(case.proxies)
            variants = {row.partition(" ")[2] for row in rows if row.startswith("ours")}
            assert variants <= set(case.variants)
