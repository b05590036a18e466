"""The state of one worker slot, with time in the test's hand."""

import pytest

from balancer.runtime.slot import SILENT_TICKS, STARTING_TICKS, Backoff, Slot, SlotState
from tests.fakes.worker_process import FakeProcess


def process() -> FakeProcess:
    return FakeProcess(1, {"slot": 0}, lambda message: None, lambda ended: None)


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


def test_life_counts_from_ready_not_from_start() -> None:
    slot = Slot(0)
    slot.started(process(), 1)
    assert slot.ended(100.0, 0.0) == 0.0
    slot.started(process(), 1)
    assert slot.ended(300.0, 0.0) == 0.5  # it took 200 s to start, and was never ready


def test_is_due_when_its_delay_is_over() -> None:
    slot = Slot(0)
    for _ in range(2):
        slot.started(process(), 1)
        slot.ended(100.0, 0.0)
    assert [slot.is_due(now) for now in (100.0, 100.49, 100.5)] == [False, False, True]


def test_lingers_when_nobody_accepts_for_a_second() -> None:
    slot = Slot(0)
    slot.started(process(), 1)
    assert not slot.is_lingering(1e9, 1.0)  # at first start there is no queue yet to wait in
    slot.became_ready(10.0)
    slot.ended(20.0, 0.0)
    slot.started(process(), 1)
    assert [slot.is_lingering(now, 1.0) for now in (20.9, 21.1)] == [False, True]
    slot.adopted_by = 1
    assert not slot.is_lingering(25.0, 1.0)


@pytest.mark.parametrize(
    ("ready", "limit"), [(True, SILENT_TICKS), (False, STARTING_TICKS)], ids=["ready", "starting"]
)
def test_is_silent_once_after_its_limit(ready: bool, limit: int) -> None:
    slot = Slot(0)
    slot.started(process(), 1)
    if ready:
        slot.became_ready(0.0)
    for _ in range(limit - 1):
        assert not slot.tick_is_silent()
    slot.heard()
    ticks = [slot.tick_is_silent() for _ in range(2 * limit)]
    assert [number for number, silent in enumerate(ticks, start=1) if silent] == [limit]


def test_an_empty_slot_is_never_silent() -> None:
    slot = Slot(0)
    assert not any(slot.tick_is_silent() for _ in range(2 * STARTING_TICKS))
    assert slot.state is SlotState.EMPTY


def test_cpu_time_of_all_lives_adds_up() -> None:
    slot = Slot(0)
    for seconds in (1.5, 2.0):
        slot.started(process(), 1)
        slot.ended(1.0, seconds)
    assert slot.cpu_seconds == 3.5
