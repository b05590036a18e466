"""The constants of the adaptive limits in docs/overload.md are those of the code."""

import re
from importlib import import_module
from pathlib import Path

import pytest

_DOCS = Path(__file__).parents[2] / "docs/overload.md"
_ROW = re.compile(r"^\| `(\w+)\.(_[A-Z_]+)` \| ([\d.]+) \| ([^|]+) \|$", re.MULTILINE)
ROWS = {
    f"{module}.{name}": (value, text) for module, name, value, text in _ROW.findall(_DOCS.read_text("utf-8"))
}


@pytest.mark.parametrize("constant", ROWS)
def test_each_constant_has_its_documented_value(constant: str) -> None:
    module, _, name = constant.partition(".")
    assert str(getattr(import_module(f"balancer.limits.{module}"), name)) == ROWS[constant][0]


@pytest.mark.parametrize("constant", [one for one in ROWS if one.endswith("_SECONDS")])
def test_seconds_are_documented_as_seconds(constant: str) -> None:
    assert re.search(r"\bseconds\b|\bthe same\b", ROWS[constant][1])


@pytest.mark.parametrize("module", ["backlog", "concurrency_limit", "trial", "wasted_work"])
def test_every_module_is_documented(module: str) -> None:
    assert any(constant.startswith(f"{module}.") for constant in ROWS)
