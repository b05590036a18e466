"""The worked example of docs/policies.md is a policy like any other, and its statements hold."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from balancer.policies import registry
from balancer.policies.base import Factory
from balancer.policies.conformance import CHECKS

DOCS = (Path(__file__).parents[2] / "docs/policies.md").read_text(encoding="utf-8")
EXAMPLE, OWN_TEST = re.findall(r"^```python\n(.*?)^```$", DOCS, re.MULTILINE | re.DOTALL)


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on Python's path that contains the example."""
    (tmp_path / "my_policies.py").write_text(EXAMPLE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_policies", raising=False)
    return tmp_path


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: str(check.__name__))
@pytest.mark.slow
@pytest.mark.usefixtures("example")
def test_the_example_conforms_with_its_option(check: Callable[[Factory], None]) -> None:
    """Without the option, the example's own test covers it."""
    check(lambda context: registry.build("my_policies:BestOf", {"choices": 2}, context))


@pytest.mark.slow
def test_the_test_of_the_example_passes(example: Path) -> None:
    (example / "test_best_of.py").write_text(OWN_TEST)
    command = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_best_of.py")
    done = _run(*command, folder=example, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    assert "1 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.integration
@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        pytest.param('{"choices": 4}', 0, "policy my_policies:BestOf", id="good"),
        pytest.param('{"choices": 1}', 1, "choices is 1; write 2 or more", id="value"),
        pytest.param('{"choices": "4"}', 1, "choices that is not a whole number", id="type"),
        pytest.param('{"choice": 4}', 1, "did you mean choices?", id="name"),
    ],
)
def test_balancer_check_takes_the_example(example: Path, options: str, code: int, said: str) -> None:
    settings = {
        "BALANCER_UPSTREAMS": "app1:8000,app2:8000",
        "BALANCER_POLICY": "my_policies:BestOf",
        "BALANCER_POLICY_OPTIONS": options,
    }
    done = _run("-m", "balancer", "check", folder=example, **settings)
    assert done.returncode == code
    told = done.stdout.splitlines()[-1] if code == 0 else done.stderr
    assert said in told
    assert code == 0 or told.startswith(f"balancer: BALANCER_POLICY_OPTIONS: {options}")


@pytest.mark.integration
def test_a_module_that_is_not_found_is_reported_with_its_remedy(tmp_path: Path) -> None:
    settings = {"BALANCER_UPSTREAMS": "app1:8000", "BALANCER_POLICY": "my_policies:BestOf"}
    done = _run("-m", "balancer", "check", folder=tmp_path, **settings)
    assert done.returncode == 1
    assert done.stderr == (
        'balancer: BALANCER_POLICY: "my_policies:BestOf" cannot be imported: there is no module my_policies; '
        "install it, or name its folder in PYTHONPATH\n"
    )


def _run(*arguments: str, folder: Path, **settings: str) -> "subprocess.CompletedProcess[str]":
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("BALANCER_")}
    inherited.pop("COLUMNS", None)  # the width of a terminal
    path = [inherited["PYTHONPATH"]] if "PYTHONPATH" in inherited else []
    return subprocess.run(
        [sys.executable, *arguments],
        env={**inherited, "PYTHONPATH": os.pathsep.join([str(folder), *path]), **settings},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_every_policy_and_option_is_described() -> None:
    for policy in registry.listing():
        assert f"| `{policy.name}`" in DOCS
        for option in policy.options:
            assert f"| `{policy.name}` | `{option.name}` | `{option.default}` |" in DOCS
