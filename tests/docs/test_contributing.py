"""CONTRIBUTING.md: every target of the Makefile is there, and the tests that it shows pass."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.proxy.conftest import MakeHarness, make_harness

__all__ = ["make_harness"]  # a fixture

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def _test_in(source: str) -> Callable[..., Any]:
    namespace: dict[str, Any] = {}
    exec(compile(source, "CONTRIBUTING.md", "exec"), namespace)
    (found,) = [each for name, each in namespace.items() if name.startswith("test_")]
    function: Callable[..., Any] = found
    return function


def test_every_target_of_the_makefile_is_listed() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z0-9-]+):.*## ", makefile, re.MULTILINE)) - {"help"}
    assert set(re.findall(r"^\| `make ([\w-]+)` \|", TEXT, re.MULTILINE)) == targets


def test_the_example_with_the_harness_passes(make_harness: MakeHarness) -> None:
    _test_in(EXAMPLES[0])(make_harness)


@pytest.mark.integration
async def test_the_example_with_real_sockets_passes() -> None:
    await _test_in(EXAMPLES[1])()
