"""Three times the capacity of four replicas for some seconds, with default settings: outcomes, not times.

`make overload` measures.
"""

import subprocess
import sys

import pytest

from loadtests.balancers import OURS
from loadtests.overload import scenes
from loadtests.overload.balancers import BALANCERS
from loadtests.overload.performance import perform
from loadtests.overload.scenes import CAPACITY

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.alone]

SEED = 1
SCENE = scenes.overload("short", "a few seconds", 3 * CAPACITY, CAPACITY / 2, scale=0.4)


def test_goodput_is_at_capacity_and_the_rest_is_refused() -> None:
    run = perform(BALANCERS[OURS], SCENE, SEED)
    assert run.warm is not None
    assert run.goodput is not None
    assert run.warm[0] == run.warm[1], run
    assert run.ejections == 0, run
    assert run.goodput.least >= CAPACITY / 2, run  # allows for a busy machine
    assert run.refused > run.timeouts, run
    assert not run.others, run
    assert run.recovery is not None
    assert run.recovery < SCENE.phases[-1].seconds / 2, run


def test_the_command_compares_two_balancers_without_refusals() -> None:
    command = [sys.executable, "-m", "loadtests.overload", "--only", "trickle"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=90)
    assert "1/2  balancer, trickle: 0 refused, 0 timeouts, 0 others" in done.stdout
    assert "2/2  without limit, trickle: 0 refused, 0 timeouts, 0 others" in done.stdout
