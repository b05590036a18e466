"""Each alert fires when it should and not otherwise, by `promtool test rules`; each is in the runbook."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.tools import run, tool
from tests.prometheus.rules import FILES, FOLDER, ROOT, RUNBOOK, alerts, anchor, read

CASES = sorted((Path(__file__).parent / "rules").glob("*.yml"))
NAMES = sorted({alert.name for alert in alerts()})
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_HEADING = re.compile(r"^## (Balancer\w+)$", re.MULTILINE)
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


def every_test() -> Iterator[dict[str, Any]]:
    for file in CASES:
        yield from read(file)["tests"]


def fire() -> set[tuple[str, str, str]]:
    """Name, severity and window of each alert that a case expects to fire."""
    found = set()
    for test in every_test():
        for case in test.get("promql_expr_test", ()):
            for sample in case["exp_samples"]:
                labels = dict(_LABEL.findall(sample["labels"]))
                if "alertname" in labels:
                    found.add((labels["alertname"], labels["severity"], labels.get("window", "")))
    return found


def keep_quiet() -> set[str]:
    """Names of the alerts that a case expects not to fire."""
    cases = (case for test in every_test() for case in test.get("alert_rule_test", ()))
    return {case["alertname"] for case in cases if not case["exp_alerts"]}


@pytest.mark.integration
@pytest.mark.parametrize("file", CASES, ids=lambda path: path.stem)
async def test_cases(file: Path) -> None:
    done = await run(tool("prometheus", "promtool"), "test", "rules", str(file))
    assert (done.code, done.text) == (0, done.text), done.text


async def test_promtool_finds_no_fault_with_the_files() -> None:
    promtool = tool("prometheus", "promtool")
    done = await run(promtool, "check", "config", str(FOLDER / "prometheus.yml"))
    assert done.code == 0, done.text
    assert f"{len(FILES)} rule files found" in done.text


async def test_amtool_finds_no_fault_with_the_file() -> None:
    amtool = tool("prometheus-alertmanager", "amtool")
    done = await run(amtool, "check-config", str(ROOT / "config/alertmanager.yml"))
    assert done.code == 0, done.text


def test_each_alert_has_a_case_in_which_it_fires() -> None:
    rules = {(one.name, one.labels["severity"], one.labels.get("window", "")) for one in alerts()}
    assert rules - fire() == set()


def test_each_alert_has_a_case_in_which_it_does_not() -> None:
    assert set(NAMES) - keep_quiet() == set()


def test_inhibitions_name_alerts_that_exist() -> None:
    for rule in read(ROOT / "config/alertmanager.yml")["inhibit_rules"]:
        for matcher in (*rule["source_matchers"], *rule["target_matchers"]):
            label, _, pattern = re.split(r"(=~|=)", matcher, maxsplit=1)
            if label == "alertname":
                for each in pattern.strip('"').split("|"):
                    assert any(re.fullmatch(each, name) for name in NAMES), matcher


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: f"{alert.name}-{alert.labels['severity']}")
def test_an_alert_says_how_bad_it_is_and_where_the_remedy_is(alert: Any) -> None:
    assert alert.name.startswith("Balancer")
    assert alert.labels["severity"] in ("critical", "warning")
    assert set(alert.annotations) == {"summary", "description", "runbook"}
    assert alert.annotations["runbook"] == f"docs/runbook.md#{anchor(alert.name)}"


def test_the_runbook_has_an_entry_for_each_alert_and_for_nothing_else() -> None:
    assert sorted(_HEADING.findall(RUNBOOK.read_text("utf-8"))) == NAMES


def test_what_is_promised_is_in_no_rule() -> None:
    """Numbers beside a burn rate, or a gauge of an SLO, are shares of a budget and counts, not objectives."""
    allowed = {"0", "0.02", "0.05", "0.1", "3600", "6", "72", "1", "0.5", "100", "1000"}
    for file in FILES:
        for group in read(file)["groups"]:
            for rule in group["rules"]:
                if "balancer_slo_" in rule["expr"]:
                    bare = re.sub(r"\[\w+\]|offset \w+|[a-z_]+:[\w:]+|\w*[a-z_]\w*", "", rule["expr"])
                    assert set(_NUMBER.findall(bare)) <= allowed, rule
