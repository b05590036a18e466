"""The pages about alerts name what there is: alerts, settings, commands, kinds of events and reasons."""

import re
from collections import defaultdict

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from balancer.cli import app
from balancer.errors import FAILURES
from balancer.telemetry import columns as c
from tests.prometheus.rules import ROOT, RUNBOOK, alerts

ALERTS = ROOT / "docs/alerts.md"
PAGE = RUNBOOK.read_text("utf-8")
_ROW = re.compile(r"^\| \[(Balancer\w+)\]\(runbook\.md#(\w+)\) \| ([a-z, ]+) \|", re.MULTILINE)
_SETTING = re.compile(r"`([A-Z]+(?:_[A-Z]+)*(?:__[A-Z_]+)*)(?:=\w+)?`")
_CODE = re.compile(r"`balancer ([^`]*)`|(?:^|-- |exec balancer )balancer ([a-z][^\n#`]*)", re.MULTILINE)
_ENTRY = re.compile(r"^## (Balancer\w+)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)


def test_the_table_has_each_alert_with_its_severity_and_entry() -> None:
    severities = defaultdict(set)
    for alert in alerts():
        severities[alert.name].add(alert.labels["severity"])
    rows = {
        name: (anchor, set(text.split(", ")))
        for name, anchor, text in _ROW.findall(ALERTS.read_text("utf-8"))
    }
    assert rows == {name: (name.lower(), found) for name, found in severities.items()}


@pytest.mark.parametrize("name", sorted(set(_SETTING.findall(PAGE))))
def test_settings_in_the_runbook_exist(name: str) -> None:
    settings = (ROOT / "docs/settings.md").read_text("utf-8")
    assert f"`BALANCER_{name}`" in settings


@pytest.mark.parametrize("command", sorted({one or other for one, other in _CODE.findall(PAGE)}))
def test_commands_in_the_runbook_exist(command: str) -> None:
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    name, *arguments = command.split()
    found = group.get_command(group.make_context("balancer", [], resilient_parsing=True), name)
    assert found is not None
    known = {option for parameter in found.params for option in parameter.opts}
    assert {one for one in arguments if one.startswith("--")} <= known


@pytest.mark.parametrize(("alert", "text"), _ENTRY.findall(PAGE))
def test_an_entry_says_how_to_see_it_and_what_to_do(alert: str, text: str) -> None:
    assert re.search(r"\*\*See it\*\*", text)
    assert re.search(r"\*\*[Dd]o\*\*:", text)
    assert "```promql" in text


def test_reasons_of_retries_are_those_that_exist() -> None:
    ((_, text),) = [entry for entry in _ENTRY.findall(PAGE) if entry[0] == "BalancerRetries"]
    named = {
        each
        for found in re.findall(r"^\d\. \*([\w, ]+)\*:", text, re.MULTILINE)
        for each in found.split(", ")
    }
    assert named <= set(c.RETRY_REASONS)


def test_reasons_of_failures_are_those_that_exist() -> None:
    reasons = {failure.reason for failure in FAILURES}
    ((_, text),) = [entry for entry in _ENTRY.findall(PAGE) if entry[0] == "BalancerErrorBudgetBurn"]
    for named in ("queue_", "no_upstream", "connect_", "first_byte_timeout"):
        assert f"`{named}" in text
        assert any(reason.startswith(named) for reason in reasons)
