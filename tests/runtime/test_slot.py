"""The state of one worker slot, with the test's time."""

import pytest

from balancer.runtime.generation import Generation
from balancer.runtime.slot import Backoff, Life, Slot
from balancer.runtime.watchdog import Watchdog
from tests.fakes.messages import start_message
from tests.fakes.worker_process import FakeSpawn

GENERATION = Generation(
    workers=1,
    slots=1,
    addresses=(80,),
    start_message=lambda slot, page: start_message(slot=slot, page=page),
    spawn=FakeSpawn(),
    drain=3600.0,
)


def life() -> Life:
    return Life(GENERATION, 1, Watchdog(lambda: 0))


@pytest.mark.parametrize(
    ("lives", "delays"),
    [
        pytest.param([0.0] * 9, [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0], id="doubles up to 30 s"),
        pytest.param([0.0, 0.0, 59.9, 60.0, 0.0], [0.0, 0.5, 1.0, 0.0, 0.5], id="a good minute resets"),
        pytest.param([3600.0, 3600.0], [0.0, 0.0], id="rare crashes are replaced at once"),
    ],
)
def test_backoff(lives: list[float], delays: list[float]) -> None:
    backoff = Backoff()
    assert [backoff.ended(life) for life in lives] == delays


def test_life_counts_from_ready_not_from_the_start() -> None:
    slot = Slot(0)
    slot.started(life())
    assert slot.vacated(100.0) == 0.0
    slot.started(life())
    assert slot.vacated(300.0) == 0.5  # it took 200 s to start, and was never ready


def test_a_slot_is_due_when_its_delay_has_passed() -> None:
    slot = Slot(0)
    for _ in range(2):
        slot.started(life())
        slot.vacated(100.0)
    assert [slot.is_due(now) for now in (100.0, 100.49, 100.5)] == [False, False, True]


def test_a_queue_without_a_worker_for_a_second_lingers() -> None:
    slot = Slot(0)
    slot.started(life())
    assert not slot.is_lingering(1e9, 1.0)  # at first start there is no queue yet to wait in
    slot.became_ready(10.0)
    slot.vacated(20.0)
    slot.started(life())
    assert [slot.is_lingering(now, 1.0) for now in (20.9, 21.1)] == [False, True]
    slot.adopted_by = 1
    assert not slot.is_lingering(25.0, 1.0)
