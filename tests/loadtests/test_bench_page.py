"""docs/bench.md, written from results."""

import json
from pathlib import Path

from loadtests.bench import page
from loadtests.bench.cases import CASES
from loadtests.bench.figures import Figure, Sample
from loadtests.bench.machine import version
from loadtests.bench.report import Result, read_json, result, write_json

FACTS = {"commit": "0123abcd", "nginx": "1.22.1"}


def measured(name: str, **cpu: float) -> Result:
    samples = [
        Sample(row, {Figure.CPU: own, Figure.RATE: 1 / own, Figure.CORE: 1.0, Figure.OTHERS: 0.0})
        for row, own in cpu.items()
    ]
    return result(CASES[name], 5, 5, samples)


RESULTS = [
    measured("small", nginx=40e-6, haproxy=36e-6, ours=34e-6, plain=60e-6),
    result(CASES["log"], 5, 5, [Sample("nginx", {Figure.CPU: 40e-6}), Sample("ours", {}, "it broke")]),
    measured("upstreams=2", nginx=40e-6, ours=34e-6),
    measured("upstreams=10", nginx=41e-6, ours=35e-6),
]


def test_the_page_has_facts_ratios_bars_and_failures(tmp_path: Path) -> None:
    page.write(tmp_path / "bench.md", FACTS, RESULTS)
    text = (tmp_path / "bench.md").read_text()
    times = "\N{MULTIPLICATION SIGN}"
    assert "| commit | 0123abcd |" in text
    row = next(line for line in text.splitlines() if line.startswith("| `small`"))
    assert row.split(" | ")[2:] == [
        "40.0", f"0.90 {times}", "", "", f"0.85 {times}", f"1.50 {times}",
        f"0.92 {times} nginx / 1.25 {times} nginx **missed** |",
    ]  # fmt: skip
    log = next(line for line in text.splitlines() if line.startswith("| `log`"))
    assert "| failed |" in log
    assert "ours failed: it broke" in text
    assert "![CPU time per request against upstreams](bench/upstreams.svg)" in text
    assert "Not measured this time: `another`" in text


def test_absolute_figures_have_no_ratio(tmp_path: Path) -> None:
    samples = [
        Sample(row, {Figure.STARTED: own, Figure.MEMORY: 1e6}) for row, own in (("nginx", 0.1), ("ours", 0.7))
    ]
    page.write(tmp_path / "bench.md", FACTS, [result(CASES["start"], 1, 1, samples)])
    row = next(
        line for line in (tmp_path / "bench.md").read_text().splitlines() if line.startswith("| `start`")
    )
    assert row.split(" | ")[2:7] == ["0.10", "", "", "", "0.70"]


def test_the_pictures_data_is_by_axis_and_proxy() -> None:
    drawn = json.loads(page.series(RESULTS))["series"]
    assert list(drawn) == ["upstreams"]
    assert [x for x, _ in drawn["upstreams"]["ours"]] == [2, 10]


def test_what_was_written_is_read_again_and_the_last_file_counts(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", FACTS, RESULTS)
    write_json(tmp_path / "b.json", {"commit": "4567"}, [measured("small", nginx=1.0)])
    facts, results = read_json([tmp_path / "a.json", tmp_path / "b.json"])
    assert facts == FACTS | {"commit": f"{FACTS['commit']}; 4567"}
    assert [one.case.name for one in results] == [one.case.name for one in RESULTS]
    assert [row.name for row in results[0].rows] == ["nginx"]
    assert results[1] == RESULTS[1]


def test_versions_are_found_in_what_programs_print() -> None:
    assert version("nginx version: nginx/1.22.1\n") == "1.22.1"
    assert version("HAProxy version 2.6.12-1+deb12u3 2024/01/01 - https://haproxy.org/") == "2.6.12-1+deb12u3"
    assert version("wrk debian/4.1.0-3+b2 [epoll]") == "4.1.0-3+b2"
    assert version("") == "unknown"
