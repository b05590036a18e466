"""Medians, ratios to a base, and the validity of figures."""

import pytest

from loadtests.bench.cases import CASES
from loadtests.bench.figures import Figure, Sample, summarise
from loadtests.bench.report import remarks, result


def one(row: str, cpu: float, others: float = 0.0, core: float = 1.0) -> Sample:
    figures = {Figure.CPU: cpu, Figure.RATE: 10_000.0, Figure.CORE: core, Figure.OTHERS: others}
    return Sample(row, figures)


SAMPLES = [
    one("nginx", 50e-6), one("ours", 60e-6),
    one("nginx", 40e-6), one("ours", 98e-6),
    one("nginx", 90e-6), one("ours", 99e-6),
]  # fmt: skip


def test_the_ratio_is_of_medians_and_its_spread_of_neighbouring_samples() -> None:
    nginx, ours = summarise(SAMPLES, Figure.CPU, lambda _: "nginx")
    assert (nginx.name, ours.name) == ("nginx", "ours")
    assert nginx.figures[Figure.CPU] == pytest.approx(50e-6)
    assert nginx.ratio == pytest.approx(1.0)
    assert ours.ratio == pytest.approx(98 / 50)
    assert ours.spread == pytest.approx((99 / 90, 98 / 40))


def test_without_the_base_there_is_no_ratio() -> None:
    (ours,) = summarise([one("ours", 50e-6)], Figure.CPU, lambda _: "nginx")
    assert ours.ratio is None
    assert ours.spread is None


def test_a_row_that_failed_once_has_no_figures_and_is_no_base() -> None:
    samples = [one("nginx", 50e-6), one("ours", 60e-6), Sample("nginx", {}, "it broke"), one("ours", 60e-6)]
    nginx, ours = summarise(samples, Figure.CPU, lambda _: "nginx")
    assert (nginx.figures, nginx.failure) == ({}, "it broke")
    assert ours.figures[Figure.CPU] == pytest.approx(60e-6)
    assert ours.ratio is None


@pytest.mark.parametrize(("core", "saturated"), [(0.94, False), (0.95, True), (1.0, True)])
def test_the_rate_counts_only_at_saturation(core: float, saturated: bool) -> None:
    found = result(CASES["small"], 1, 1, [one("plain", 50e-6, core=core)])
    assert found.rows[0].is_saturated is saturated
    assert any("invalid" in remark for remark in remarks(found)) is not saturated


@pytest.mark.parametrize(("others", "disturbed"), [(0.0, False), (0.10, False), (0.3, True)])
def test_a_machine_that_is_not_quiet_is_reported(others: float, disturbed: bool) -> None:
    found = result(CASES["small"], 1, 1, [one("plain", 50e-6, others)])
    assert found.rows[0].is_disturbed is disturbed
    assert any("quiet" in remark for remark in remarks(found)) is disturbed


def test_figures_are_shown_in_the_unit_of_their_heading() -> None:
    assert Figure.CPU.text(0.0000155) == "15.5"
    assert Figure.MEMORY.text(72 * 1024**2) == "72.0"
    assert Figure.CLIENT.text(3 * 1024) == "3.00"
