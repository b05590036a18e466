"""The queue under overload, with each replica limited to its capacity, and clients of all kinds."""

from collections.abc import Sequence

import pytest

from tests.sim.arrivals import Burst, Closed, Load, Open
from tests.sim.balancer import Settings, Worker
from tests.sim.clients import Patience, mostly, waits, waits_between
from tests.sim.figures import End, Figures, least
from tests.sim.scenes import Scene, play
from tests.sim.scenes import surge as make_surge
from tests.sim.seeds import SEEDS

pytestmark = pytest.mark.slow

LIMITED = Settings(max_inflight=2)


@pytest.mark.parametrize("workers", [1, 2], ids=["one worker", "two workers"])
@pytest.mark.parametrize("times", [1.5, 3.0, 10.0])
@pytest.mark.parametrize("seed", SEEDS)
def test_in_a_surge_replicas_work_for_clients_that_still_wait(seed: int, times: float, workers: int) -> None:
    figures = play(make_surge(times).having(max_inflight=2, workers=workers), seed)
    assert figures.came(0.0, 3.0).keys() == {End.SERVED}
    assert least(figures.goodput(5, 19)) >= 370
    assert figures.latency(0.99, 4.0) < 1.0
    assert figures.latency(0.5, 4.0, 19.0) < 0.05
    assert figures.last_failure < 20.0
    assert figures.probes_late == []


@pytest.mark.parametrize(
    ("patience", "deadline"),
    [
        pytest.param(waits(2.0), (0.75, 0.85), id="equal patience"),
        pytest.param(waits_between(1.0, 3.0), (0.5, 1.0), id="patience varies"),
        pytest.param(mostly(waits(2.0), 0.05, waits_between(0.0, 0.1)), (0.75, 0.85), id="a few scanners"),
        pytest.param(mostly(waits(2.0), 0.3, waits_between(0.0, 0.1)), (0.75, 0.85), id="many scanners"),
        pytest.param(waits(60.0), (5.0, 5.0), id="very patient"),
        pytest.param(waits(0.6), (0.49, 0.51), id="impatient"),
    ],
)
@pytest.mark.parametrize("seed", SEEDS)
def test_the_deadline_is_learned_from_the_clients_patience(
    patience: Patience, deadline: tuple[float, float], seed: int
) -> None:
    waited: list[float] = []

    def watch(now: float, workers: Sequence[Worker]) -> None:
        queue = workers[0].pool.queue
        assert queue is not None
        if now > 9.0 and queue.waiting:
            oldest = workers[0].engine.monotonic_ns() - next(iter(queue.waiting.values()))
            waited.append(oldest / 1e9)

    phases = ((3.0, 300.0), (15.0, 1200.0))
    figures = play(Scene(18.0, [Open(phases, patience)], settings=LIMITED), seed, watch)
    assert least(figures.goodput(6, 18)) >= 340
    assert deadline[0] - 0.15 <= max(waited) <= deadline[1] + 0.01


def _play(loads: Sequence[Load], seconds: float = 10.0) -> Figures:
    return play(Scene(seconds, loads, settings=LIMITED), seed=1)


@pytest.mark.parametrize(
    ("loads", "slowest"),
    [
        pytest.param([Burst(0.5, 300), Open(((5.0, 100.0),))], 0.8, id="a burst"),
        pytest.param([Closed(400, 0.0, ends=8.0)], 1.1, id="closed loop"),
        pytest.param([Closed(800, 0.5, ends=8.0)], 5.0, id="closed loop with think time"),
        pytest.param([Open(((10.0, 380.0),))], 0.5, id="just below capacity"),
    ],
)
def test_patient_clients_are_all_served(loads: Sequence[Load], slowest: float) -> None:
    figures = _play(loads)
    assert figures.came(0.0, 4.9).keys() == {End.SERVED}
    assert figures.reasons() == {}
    assert figures.latency(1.0) < slowest


def test_a_few_clients_that_leave_at_once_cause_no_refusals() -> None:
    scanners = Open(((10.0, 40.0),), waits(0.015))
    figures = _play([scanners, Open(((10.0, 200.0),)), Burst(5.0, 500)])
    assert figures.ended(0.0, 10.0)[End.SERVED] >= 2400
    assert figures.reasons() == {}
