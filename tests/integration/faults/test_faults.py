"""Each fault for a second, over real processes: outcomes, not times. `make faults` measures under full load.

Here the black hole is a full backlog, which needs no privileges.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from loadtests.balancers import OURS
from loadtests.faults.balancers import BALANCERS
from loadtests.faults.catalogue import FAULTS
from loadtests.faults.figures import Timeline
from loadtests.faults.performance import perform
from loadtests.open_loop.records import Kind

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.alone]

TIMELINE = Timeline(warm_up=0.2, before=0.3, fault=1.0, after=0.5)
SEED = 1
RATE = 150  # requests per second: error answers alone would use up the retry budget
# Errors are fast and would attract more than a quarter of the requests. An ejected replica gets none.
ERRORS = ("500-sick-check", "500-healthy-check", "503", "half")
MOST_SHARE = 0.15


@pytest.mark.parametrize("name", FAULTS)
def test_no_idempotent_request_fails_that_could_be_retried(name: str) -> None:
    fault = FAULTS[name]
    run = perform(BALANCERS[OURS], fault, TIMELINE, RATE, SEED, namespaces=False)
    kinds = set(run.gets)
    assert kinds <= ({Kind.CUT} if fault.may_break_responses else set()), run
    assert Kind.WRONG not in run.posts, run
    if name in ERRORS:
        assert run.ill_share is not None
        assert run.ill_share <= MOST_SHARE, run
    assert run.posts_read_twice == 0, run


def test_the_command_prints_and_writes_its_results(tmp_path: Path) -> None:
    file = tmp_path / "faults.json"
    arguments = ["--only", "kill", "--seconds", "2", "--runs", "1", "--rate", "50", "--json", str(file)]
    command = [sys.executable, "-m", "loadtests.faults", *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert "1/1  balancer  kill" in done.stdout
    assert json.loads(file.read_text())["runs"][0]["requests"] == 100
    # A busy machine may be too slow for the load, which is reported.
    assert done.returncode == 0 or "invalid" in done.stdout, done
