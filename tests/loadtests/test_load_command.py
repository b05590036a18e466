"""`make load` without Locust: a stand-in shows the target of the load, and the use of its exit code."""

import sys
from pathlib import Path

import pytest

from loadtests.load import main

pytestmark = pytest.mark.integration

# Asks its --host once, as Locust would many times; 7 stands for a verdict.
STAND_IN = """#!{python}
import sys, urllib.request
host = sys.argv[sys.argv.index("--host") + 1]
with urllib.request.urlopen(host + "/items/1", timeout=10) as response:
    print("answered by", response.headers["X-Replica"], flush=True)
sys.exit(7)
"""


@pytest.fixture
def locust(tmp_path: Path) -> str:
    path = tmp_path / "locust"
    path.write_text(STAND_IN.format(python=sys.executable))
    path.chmod(0o755)
    return str(path)


@pytest.mark.slow
@pytest.mark.alone
def test_a_demo_is_started_for_the_load(locust: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--locust", locust]) == 7
    assert "answered by app" in capfd.readouterr().out


def test_a_missing_program_is_reported(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["http://127.0.0.1:1", "--locust", "/nowhere/locust"]) == 1
    assert capfd.readouterr().err == "load: /nowhere/locust is not installed; `make load` installs it\n"
