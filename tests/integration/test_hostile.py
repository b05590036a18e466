"""Short runs of every attack of `make hostile`: no good request fails, and no worker ends."""

import pytest

from loadtests.balancers import OURS
from loadtests.hostile.attacks import ATTACKS, Attack, Target
from loadtests.hostile.performance import Pauses, perform

pytestmark = [pytest.mark.integration, pytest.mark.slow]

RATE = 50  # good requests a second
SECONDS = 2
PAUSES = Pauses(warm_up=0.5, calm=0.5, after=0.5)
# Latency needs a dedicated machine. But a stalled loop is late on any.
MOST_P50 = 1.0  # seconds
# KiB kept of each response that its client does not read, and of each upload that its app does not; and what
# each peer of the admin listener makes aiohttp hold, which was 30,000 and more.
MOST_KIB = {"reads-nothing": 64.0, "untaken": 64.0, "admin-heads": 1024.0}


# A probe of /readyz has a second, also behind 2,000 connections that are opened at once: so those run alone.
CASES = [
    pytest.param(one, id=one.name, marks=[pytest.mark.alone] if one.target is Target.ADMIN else [])
    for one in ATTACKS.values()
]


@pytest.mark.parametrize("attack", CASES)
def test_good_clients_are_served_during_every_attack(attack: Attack) -> None:
    run = perform(OURS, attack, RATE, SECONDS, seed=1, pauses=PAUSES)
    assert run.requests > 0
    assert not run.failures
    assert not run.replaced
    assert not run.unready
    assert run.during.p50 < MOST_P50
    if attack.name in MOST_KIB:
        assert run.kib_each < MOST_KIB[attack.name]
