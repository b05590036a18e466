"""Every example of docs/slo.md is valid, and promises what the page says."""

import re
from pathlib import Path

from balancer.config.loader import load_with_origins
from balancer.runtime.blueprint import instance_spec
from balancer.runtime.gate import parse_conditions

_PAGE = (Path(__file__).parents[2] / "docs/slo.md").read_text(encoding="utf-8")
UPSTREAMS = {"BALANCER_UPSTREAMS": "app1:8000"}


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", _PAGE, re.MULTILINE | re.DOTALL)


def _variables(text: str) -> dict[str, str]:
    return dict(re.findall(r"(BALANCER_[A-Z_]+)=([^\s`;]+)", text))


def test_the_variables_are_those_of_the_table_with_its_defaults() -> None:
    environ = {**UPSTREAMS, **_variables(_blocks("sh")[0])}
    loaded = load_with_origins(environ)
    assert loaded.warnings == ()
    alone = load_with_origins({**UPSTREAMS, "BALANCER_SLO__LATENCY": "300ms"})
    assert loaded.settings == alone.settings


def test_the_file_is_valid_and_promises_what_it_seems_to(tmp_path: Path) -> None:
    (text,) = _blocks("yaml")
    file = tmp_path / "balancer.yaml"
    file.write_text(text)
    environ = {"BALANCER_POOLS__WEB__UPSTREAMS": "app1:8000"}
    loaded = load_with_origins(environ, str(file))
    assert loaded.warnings == ()
    slos = instance_spec(loaded.settings, via="", max_connections=10).slos
    assert [(slo.route, slo.latency, slo.percentile) for slo in slos] == [
        ("web", 5.0, 0.9),
        ("web-3", 0.3, 0.95),
    ]


def test_the_buckets_are_valid() -> None:
    environ = {**UPSTREAMS, "BALANCER_METRICS__BUCKETS": _variables(_PAGE)["BALANCER_METRICS__BUCKETS"]}
    assert load_with_origins(environ).settings.metrics.buckets == (0.05, 0.1, 0.3, 1.0)


def test_the_conditions_of_the_gate_are_known() -> None:
    found = re.findall(r"--abort-if '?([^'\s`]+)", _PAGE)
    assert len(found) == 2
    for text in found:
        assert parse_conditions(text)[0].text == "slo"


def test_the_figures_about_budgets_are_right() -> None:
    month = 30 * 86_400
    assert f"about {round(50 * month * 0.01, -5):,.0f} requests" in _PAGE
    rows = re.findall(r"^\| ([\d.]+) \| (an hour|six hours|three days) \| (\d+) %", _PAGE, re.MULTILINE)
    assert len(rows) == 3
    for rate, time, share in rows:
        seconds = {"an hour": 3600, "six hours": 6 * 3600, "three days": 3 * 86_400}[time]
        assert round(float(rate) * seconds / month * 100) == int(share)
