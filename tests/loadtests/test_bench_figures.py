"""Medians, the ratio to nginx, and the validity of figures."""

import json
from pathlib import Path

import pytest

from loadtests import report
from loadtests.figures import Round, summarise


def one(proxy: str, cpu: float, others: float = 0.0) -> Round:
    return Round(proxy, requests=10_000, seconds=1.0, cpu=cpu, others=others, p50=0.001, p99=0.002)


ROUNDS = [
    one("nginx", 0.50), one("ours", 0.60),
    one("nginx", 0.40), one("ours", 0.98),
    one("nginx", 0.90), one("ours", 0.99),
]  # fmt: skip


def test_the_ratio_is_of_medians_and_its_range_of_neighbouring_rounds() -> None:
    nginx, ours = summarise(ROUNDS)
    assert (nginx.proxy, ours.proxy) == ("nginx", "ours")
    assert nginx.cpu_per_request == pytest.approx(50e-6)
    assert nginx.ratio == pytest.approx(1.0)
    assert ours.ratio == pytest.approx(98 / 50)
    assert ours.ratio_range == pytest.approx((99 / 90, 98 / 40))


def test_without_nginx_there_is_no_ratio() -> None:
    (ours,) = summarise([one("ours", 0.5)])
    assert ours.ratio is None
    assert ours.ratio_range is None


@pytest.mark.parametrize(("cpu", "saturated"), [(0.94, False), (0.95, True), (1.0, True)])
def test_the_rate_counts_only_at_saturation(cpu: float, saturated: bool) -> None:
    (summary,) = summarise([one("ours", cpu)])
    assert summary.is_saturated is saturated
    assert any("invalid" in remark for remark in report.remarks([summary])) is not saturated


@pytest.mark.parametrize(("others", "disturbed"), [(0.0, False), (0.10, False), (0.3, True)])
def test_a_machine_that_is_not_quiet_is_reported(others: float, disturbed: bool) -> None:
    (summary,) = summarise([one("ours", 0.99, others)])
    assert summary.is_disturbed is disturbed
    assert any("quiet" in remark for remark in report.remarks([summary])) is disturbed


def test_the_json_file_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    report.write_json(path, {"rounds": 3}, ROUNDS, summarise(ROUNDS))
    document = json.loads(path.read_text())
    assert len(document["rounds"]) == 6
    assert [entry["proxy"] for entry in document["medians"]] == ["nginx", "ours"]
    assert document["medians"][1]["is_saturated"] is True
