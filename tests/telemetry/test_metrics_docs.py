"""The documented metrics are the exposed ones, and Prometheus' own tool finds no fault with them."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.telemetry.harness import Harness

_DOCS = Path(__file__).parents[2] / "docs/metrics.md"
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


def test_the_queries_in_the_docs_use_existing_metrics() -> None:
    queries = re.findall(r"```promql\n(.*?)```", _DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert len(queries) >= 5
    used = {name for query in queries for name in re.findall(r"balancer_\w+", query)}
    known = documented()
    assert {name for name in used if name not in known and _OF_HISTOGRAMS.sub("", name) not in known} == set()


def test_promtool_finds_no_fault(harness: Harness) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        missing = "promtool is not installed (Debian: apt-get install --no-install-recommends prometheus)"
        if os.environ.get("REQUIRE_ALL_TESTS") == "1":
            pytest.fail(missing)
        pytest.skip(missing)
    harness.count_everything()
    done = subprocess.run(
        [promtool, "check", "metrics"], input=harness.text(), capture_output=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
