"""Which build is under test: all of it, and made from the sources of this checkout."""

import importlib
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

import balancer
from balancer import build
from tests.conftest import EXPECTED
from tests.hot_rooms import PACKAGE, hot_files, module_of

HOT = {module_of(file): file for file in hot_files()}
IS_COMPILED = EXPECTED == build.COMPILED


@pytest.mark.parametrize("name", HOT)
def test_each_hot_module_is_of_the_build_under_test(name: str) -> None:
    origin = importlib.import_module(name).__file__
    assert origin is not None
    assert origin.endswith(tuple(EXTENSION_SUFFIXES)) is IS_COMPILED


def test_nothing_else_is_compiled() -> None:
    """So the list in pyproject.toml means the same to setup.py and to the tests of the rules."""
    top = Path(balancer.__file__).parent
    found = {
        ".".join(["balancer", *file.relative_to(top).parts]).partition(".cpython")[0]
        for suffix in EXTENSION_SUFFIXES
        for file in top.rglob(f"*{suffix}")
    }
    assert found == (set(HOT) if IS_COMPILED else set())


def test_the_build_is_made_from_this_checkout() -> None:
    top = Path(balancer.__file__).parent
    stale = [
        str(file)
        for file in hot_files()
        if (top / file.relative_to(PACKAGE)).read_bytes() != file.read_bytes()
    ]
    assert stale == [], "run: make compiled"


def test_a_child_runs_the_same_build() -> None:
    """As workers do. Without -P the checkout would come first on the path."""
    code = "from balancer import build; print(build.kind())"
    run = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == f"{EXPECTED}\n"


def test_finding_the_build_imports_none_of_it() -> None:
    code = "import sys; from balancer import build; build.kind(); print(*sys.modules)"
    run = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert [name for name in run.stdout.split() if name.startswith("balancer")] == [
        "balancer",
        "balancer.build",
    ]
