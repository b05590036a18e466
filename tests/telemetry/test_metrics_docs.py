"""The documented metrics are the exposed ones, and Prometheus' own tool finds no fault with them."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.telemetry.harness import Harness

_DOCS = Path(__file__).parents[2] / "docs/metrics.md"
_PROMISES = _DOCS.with_name("slo.md")
_ROW = re.compile(r"^\| `(balancer_\w+)` \| (\w+) \| ([^|]*) \| ([^|]+) \|$", re.MULTILINE)
_OF_HISTOGRAMS = re.compile(r"_(bucket|sum|count)$")

Metric = tuple[str, frozenset[str]]  # type and labels


def documented() -> dict[str, Metric]:
    rows = _ROW.findall(_DOCS.read_text(encoding="utf-8"))
    assert len({name for name, *_ in rows}) == len(rows), "a metric is there twice"
    return {name: (kind, frozenset(re.findall(r"`(\w+)`", labels))) for name, kind, labels, _ in rows}


def exposed(text: str) -> dict[str, Metric]:
    kinds = dict(re.findall(r"^# TYPE (\S+) (\w+)$", text, re.MULTILINE))
    labels: dict[str, set[str]] = {}
    for name, inner in re.findall(r"^(\w+)(?:\{(.*)\})? \S+$", text, re.MULTILINE):
        family = name if name in kinds else _OF_HISTOGRAMS.sub("", name)
        labels.setdefault(family, set()).update(re.findall(r'(\w+)="', inner))
    return {name: (kind, frozenset(labels[name] - {"le"})) for name, kind in kinds.items()}


def test_the_table_in_the_docs_matches_the_exposed_metrics(harness: Harness) -> None:
    harness.count_everything()
    assert documented() == exposed(harness.text().decode())


def queries_of(page: Path) -> list[str]:
    return re.findall(r"```promql\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize(("page", "least"), [(_DOCS, 5), (_PROMISES, 3)], ids=["metrics", "slo"])
def test_the_queries_in_the_docs_use_existing_metrics(page: Path, least: int) -> None:
    queries = queries_of(page)
    assert len(queries) >= least
    used = {name for query in queries for name in re.findall(r"balancer_\w+", query)}
    known = documented()
    assert {name for name in used if name not in known and _OF_HISTOGRAMS.sub("", name) not in known} == set()


@pytest.fixture
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        missing = "promtool is not installed (Debian: apt-get install --no-install-recommends prometheus)"
        if os.environ.get("REQUIRE_ALL_TESTS") == "1":
            pytest.fail(missing)
        pytest.skip(missing)
    return found


def test_promtool_finds_no_fault(harness: Harness, promtool: str) -> None:
    harness.count_everything()
    done = subprocess.run(
        [promtool, "check", "metrics"], input=harness.text(), capture_output=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_the_queries_about_promises_say_what_they_are_said_to(promtool: str, tmp_path: Path) -> None:
    labels = '{route="web",pool="apps",instance="a"}'
    series = [
        {"series": f"balancer_slo_{name}_total{labels}", "values": f"0+{each}x120"}
        for name, each in (("requests", 1000), ("failed_requests", 30), ("slow_requests", 200))
    ]
    for name, value in (("errors_ratio", 0.01), ("percentile_ratio", 0.95)):
        series.append({"series": f"balancer_slo_{name}{labels}", "values": f"{value}+0x120"})
    expected = (3, 4, -2)  # burn rates, and what is left of the budget
    tests = [
        {
            "expr": f"round({query}, 0.001)",
            "eval_time": "2h",
            "exp_samples": [{"labels": '{route="web",pool="apps"}', "value": value}],
        }
        for query, value in zip(queries_of(_PROMISES), expected, strict=True)
    ]
    file = tmp_path / "tests.yml"
    group = {"interval": "1m", "input_series": series, "promql_expr_test": tests}
    file.write_text(json.dumps({"evaluation_interval": "1m", "tests": [group]}))  # JSON is YAML
    done = subprocess.run([promtool, "test", "rules", file], capture_output=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
