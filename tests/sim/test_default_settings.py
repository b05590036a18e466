"""A traffic surge with default settings does as well as an expert who knows the capacity."""

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
def test_throughput_and_latency_hold_at_3x_capacity(seed: int, fleet: Fleet) -> None:
    figures = play(make_surge(3.0, fleet), seed)
    assert least(figures.goodput(BEGINS, ENDS)) >= 370
    assert figures.latency(0.99, BEGINS) < 1.0
    assert figures.latency(0.5, BEGINS + 3.0, ENDS) < 0.1
    assert figures.probes_late == []
    _check_what_surrounds_it(figures)


@pytest.mark.parametrize("notices", [False, True], ids=["works for those who left", "notices who left"])
@pytest.mark.parametrize("seed", range(1, 6))
def test_throughput_holds_at_10x_capacity(seed: int, notices: bool) -> None:
    """Before the overload is recognised the replicas have been given work for seconds."""
    figures = play(make_surge(10.0, Fleet(notices=notices)), seed)
    assert least(figures.goodput(BEGINS + 3, ENDS)) >= 350
    assert figures.latency(0.99, BEGINS + 6.0) < 1.0
    _check_what_surrounds_it(figures)


@pytest.mark.parametrize("workers", [2, 4])
@pytest.mark.parametrize("seed", [1, 2])
def test_each_worker_finds_its_share_of_the_limit(seed: int, workers: int) -> None:
    figures = play(make_surge(3.0).having(workers=workers), seed)
    assert least(figures.goodput(BEGINS + 3, ENDS)) >= 370
    assert figures.latency(0.99, BEGINS) < 1.0
    _check_what_surrounds_it(figures)


@pytest.mark.parametrize("workers", [2, 4])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_throughput_holds_at_10x_capacity_if_workers_find_the_limit_one_after_another(
    seed: int, workers: int
) -> None:
    """The last worker to limit gets the overflow of the others: the replicas have one more second of work."""
    figures = play(make_surge(10.0).having(workers=workers), seed)
    assert least(figures.goodput(BEGINS + 4, ENDS)) >= 350
    _check_what_surrounds_it(figures)


@pytest.mark.parametrize("notices", [False, True], ids=["works for those who left", "notices who left"])
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("times", "patience", "served_from", "mean", "probed"),
    [
        (3.0, 0.3, 3, 395, 350),
        # A limit is one or two requests a worker here: a probe doubles it, which nobody waits for.
        (3.0, 0.1, 4, 320, 150),
        (10.0, 0.5, 5, 395, 350),
    ],
)
def test_throughput_holds_with_impatient_clients(
    times: float, patience: float, served_from: int, mean: int, probed: int, workers: int, notices: bool
) -> None:
    """They leave before a backlog has been worked off, so most of the work in it is wasted. Goodput is
    `mean` on average, at least, and `probed` in a second with probes."""
    loads = [Open(((4.0, 300.0), (15.0, 400.0 * times), (8.0, 200.0)), waits(patience))]
    for seed in (1, 2, 3):
        scene = Scene(27.0, loads, Fleet(notices=notices)).having(workers=workers)
        figures = play(scene, seed)
        goodput = figures.goodput(BEGINS + served_from, ENDS)
        assert sum(goodput) / len(goodput) >= mean
        assert least(goodput) >= probed
        _check_what_surrounds_it(figures)
