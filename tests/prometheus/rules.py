"""The shipped rules of Prometheus, as data."""

from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "config/prometheus"
FILES = sorted(FOLDER.glob("alerts*.yml"))
RUNBOOK = ROOT / "docs/runbook.md"


class Alert(NamedTuple):
    """One alert rule; several may have the same name, with other labels."""

    name: str
    expr: str
    labels: dict[str, str]
    annotations: dict[str, str]


def read(path: Path) -> Any:
    """A file of YAML."""
    return yaml.safe_load(path.read_text("utf-8"))


def rules() -> list[dict[str, Any]]:
    """All rules of all files."""
    return [rule for file in FILES for group in read(file)["groups"] for rule in group["rules"]]


def alerts() -> list[Alert]:
    """The rules that alert."""
    return [
        Alert(rule["alert"], rule["expr"], rule["labels"], rule["annotations"])
        for rule in rules()
        if "alert" in rule
    ]


def recorded() -> dict[str, str]:
    """The series that rules make, and their expressions."""
    return {rule["record"]: rule["expr"] for rule in rules() if "record" in rule}


def anchor(name: str) -> str:
    """That of an alert's entry in the runbook."""
    return name.lower()
