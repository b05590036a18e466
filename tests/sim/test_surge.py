"""A traffic surge without a limit, and with a limit set by an operator who knows the capacity."""

import pytest

from tests.sim.arrivals import Open
from tests.sim.figures import End, least
from tests.sim.replicas import spreads
from tests.sim.scenes import OVERLOAD, Fleet, Scene, play
from tests.sim.scenes import surge as make_surge
from tests.sim.seeds import SEEDS

pytestmark = pytest.mark.slow

UNLIMITED = {"adaptive": False}
BRIEF = Scene(3.0, [Open(((1.0, 300.0), (2.0, 1200.0)))])
TUNED = {"max_inflight": 2, "queue_timeout": 0.5, "adaptive": False}


def test_the_same_seed_gives_the_same_records() -> None:
    first, again, other = (play(BRIEF, seed).records for seed in (7, 7, 8))
    assert first == again
    assert first != other


@pytest.mark.parametrize("notices", [False, True], ids=["works in vain", "notices who left"])
@pytest.mark.parametrize("seed", SEEDS)
def test_without_a_limit_goodput_collapses(seed: int, notices: bool) -> None:
    """Behind other proxies, real servers that notice departures reached 9 to 14/s of 400."""
    figures = play(make_surge(3.0, fleet=Fleet(notices=notices)).having(**UNLIMITED), seed)
    assert figures.came(0.0, 3.0).keys() == {End.SERVED}
    assert max(figures.goodput(9, 19)) < 40
    assert len(figures.probes_late) > 20


def test_replicas_busy_with_wasted_work_do_not_recover_soon() -> None:
    assert max(play(OVERLOAD.having(**UNLIMITED), seed=1).goodput(19, 27)) == 0


@pytest.mark.parametrize("workers", [1, 2], ids=["one worker", "two workers"])
@pytest.mark.parametrize("seed", SEEDS)
def test_with_a_limit_set_by_hand_most_requests_are_served(seed: int, workers: int) -> None:
    figures = play(OVERLOAD.having(**TUNED, workers=workers), seed)
    assert figures.came(0.0, 3.0).keys() == {End.SERVED}
    assert sum(figures.goodput(6, 19)) / 13 >= 380
    assert least(figures.goodput(6, 19)) >= 370
    assert figures.latency(0.99) < 0.6
    assert figures.came(19.1, 27.0).keys() == {End.SERVED}
    assert figures.probes_late == []


def test_a_limit_set_by_hand_keeps_replicas_with_varying_service_times_busy() -> None:
    fleet = Fleet(service=spreads(0.02, 1.0))
    figures = play(make_surge(3.0, fleet=fleet).having(**TUNED), seed=1)
    assert sum(figures.goodput(6, 19)) / 13 >= 370
