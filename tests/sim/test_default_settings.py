"""The day traffic grows, with default settings: what an expert would have reached who knows the capacity."""

import pytest

from tests.sim.arrivals import Open
from tests.sim.clients import waits
from tests.sim.figures import End, Figures, least
from tests.sim.replicas import spreads
from tests.sim.scenes import Fleet, Scene, play
from tests.sim.scenes import surge as make_surge

pytestmark = pytest.mark.slow  # some minutes of simulated time each

BEGINS, ENDS = 4, 19  # of the overload, in seconds
FLEETS = {
    "works for those who left": Fleet(),
    "notices who left": Fleet(notices=True),
    "work that differs": Fleet(service=spreads(0.02, 0.5)),
}


def _check_what_surrounds_it(figures: Figures) -> None:
    assert figures.came(0.0, BEGINS - 2.0).keys() == {End.SERVED}
    assert figures.last_failure < ENDS + 1.0
    assert figures.came(ENDS + 1.0, 26.0).keys() == {End.SERVED}


@pytest.mark.parametrize("fleet", FLEETS.values(), ids=FLEETS.keys())
@pytest.mark.parametrize("seed", range(1, 6))
def test_three_times_what_the_replicas_can_do(seed: int, fleet: Fleet) -> None:
    figures = play(make_surge(3.0, fleet), seed)
    assert least(figures.goodput(BEGINS, ENDS)) >= 370
    assert figures.latency(0.99, BEGINS) < 1.0
    assert figures.latency(0.5, BEGINS + 3.0, ENDS) < 0.1
    assert figures.probes_late == []
    _check_what_surrounds_it(figures)


@pytest.mark.parametrize("notices", [False, True], ids=["works for those who left", "notices who left"])
@pytest.mark.parametrize("seed", range(1, 6))
def test_ten_times(seed: int, notices: bool) -> None:
    """In the moment that it takes to tell that it is too much they have been given work for seconds."""
    figures = play(make_surge(10.0, Fleet(notices=notices)), seed)
    assert least(figures.goodput(BEGINS + 3, ENDS)) >= 350
    assert figures.latency(0.99, BEGINS + 6.0) < 1.0
    _check_what_surrounds_it(figures)


@pytest.mark.parametrize("workers", [2, 4])
@pytest.mark.parametrize("seed", [1, 2])
def test_each_worker_finds_its_part(seed: int, workers: int) -> None:
    figures = play(make_surge(3.0).having(workers=workers), seed)
    assert least(figures.goodput(BEGINS + 3, ENDS)) >= 370
    assert figures.latency(0.99, BEGINS) < 1.0
    _check_what_surrounds_it(figures)


@pytest.mark.parametrize("workers", [2, 4])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_ten_times_among_workers_that_find_it_out_one_after_another(seed: int, workers: int) -> None:
    """Who is the last gets what the others do not take: the replicas have a second of work more."""
    figures = play(make_surge(10.0).having(workers=workers), seed)
    assert least(figures.goodput(BEGINS + 4, ENDS)) >= 350
    _check_what_surrounds_it(figures)


@pytest.mark.parametrize("notices", [False, True], ids=["works for those who left", "notices who left"])
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(("times", "patience", "served_from"), [(3.0, 0.3, 3), (3.0, 0.1, 4), (10.0, 0.5, 5)])
def test_clients_who_leave_soon(
    times: float, patience: float, served_from: int, workers: int, notices: bool
) -> None:
    """They are gone before a backlog has been worked off, and what most apps work on then is for nobody."""
    loads = [Open(((4.0, 300.0), (15.0, 400.0 * times), (8.0, 200.0)), waits(patience))]
    for seed in (1, 2):
        scene = Scene(27.0, loads, Fleet(notices=notices)).having(workers=workers)
        figures = play(scene, seed)
        assert least(figures.goodput(BEGINS + served_from, ENDS)) >= 350
        _check_what_surrounds_it(figures)
