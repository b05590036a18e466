"""One client sends ten times the rate of each of nine others: these are served as without it."""

import pytest

from tests.sim.arrivals import Load, Open
from tests.sim.balancer import Settings
from tests.sim.clients import waits
from tests.sim.figures import End, Figures
from tests.sim.scenes import Scene, play
from tests.sim.seeds import SEEDS

pytestmark = pytest.mark.slow

OTHERS = 9
WITHIN = (7.0, 15.0)


def _played(rate: float, greedy: float, settings: Settings, seed: int) -> Figures:
    """The capacity is 400/s. From second 4 on each of the others sends `rate`, one client `greedy`."""
    loads: list[Load] = [
        Open(((15.0, rate),), waits(2.0), route=f"other {number}") for number in range(OTHERS)
    ]
    loads.append(Open(((4.0, 0.0), (11.0, greedy)), waits(2.0), route="greedy"))
    return play(Scene(18.0, loads, settings=settings), seed)


def _served(figures: Figures, others: bool) -> tuple[float, float]:
    """Arrivals per second, and how many of them were served."""
    came = [
        one
        for one in figures.records
        if WITHIN[0] <= one.came < WITHIN[1] and (one.route != "greedy") is others
    ]
    seconds = WITHIN[1] - WITHIN[0]
    return len(came) / seconds, sum(one.end is End.SERVED for one in came) / seconds


@pytest.mark.parametrize(
    "settings",
    [Settings(max_inflight=2), Settings(), Settings(max_inflight=4, workers=2)],
    ids=["limit set", "limit found", "two workers"],
)
@pytest.mark.parametrize("greedy", [300.0, 3000.0], ids=["ten times", "a hundred times"])
@pytest.mark.parametrize("seed", SEEDS)
def test_clients_below_their_share_are_fully_served(seed: int, greedy: float, settings: Settings) -> None:
    figures = _played(30.0, greedy, settings, seed)
    came, served = _served(figures, others=True)
    assert served >= 0.99 * came
    assert _served(figures, others=False)[1] >= 100  # capacity that they leave is used


@pytest.mark.parametrize("seed", SEEDS)
def test_if_all_exceed_their_share_each_gets_its_share(seed: int) -> None:
    figures = _played(60.0, 600.0, Settings(max_inflight=2), seed)
    assert _served(figures, others=True)[1] >= 0.95 * 360
    assert 30 <= _served(figures, others=False)[1] <= 60
    by_client = [
        sum(
            one.route == f"other {number}" and one.end is End.SERVED and one.came >= WITHIN[0]
            for one in figures.records
        )
        for number in range(OTHERS)
    ]
    assert max(by_client) < 1.15 * min(by_client)
