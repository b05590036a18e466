"""The beat, and our own lag: the sum of the loop's stalls."""

import pytest

from balancer.health.beat import BEAT, Beat
from tests.fakes.loop import FakeClock, FakeLoop

# Spans of time, each followed by one turn of the loop; the total lag in seconds.
CASES = {
    "on time": ([BEAT] * 20, 0.0),
    "one stall": ([BEAT, BEAT + 0.3, BEAT], 0.3),
    "stalls add up": ([BEAT + 0.1, BEAT, BEAT + 0.2], 0.3),
    "a stall between two beats is not seen": ([BEAT / 2, BEAT / 2], 0.0),
}


class Harness:
    """A beat that counts its swings."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.loop = FakeLoop(self.clock)  # type: ignore[abstract]  # the rest of asyncio's loop is not used
        self.swings = 0
        self.beat = Beat(self.clock, self.loop, self.swing)
        self.beat.start()

    def swing(self) -> None:
        self.swings += 1

    def turn(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.loop.settle()


@pytest.mark.parametrize("case", CASES)
def test_lag_is_the_sum_of_late_swings(case: str) -> None:
    spans, expected = CASES[case]
    harness = Harness()
    for span in spans:
        harness.turn(span)
    assert harness.beat.lag_ns() / 1e9 == pytest.approx(expected, abs=1e-6)


def test_reading_the_lag_includes_an_overdue_swing() -> None:
    harness = Harness()
    harness.clock.advance(BEAT + 1.0)
    before = harness.beat.lag_ns()
    harness.loop.settle()
    assert before == harness.beat.lag_ns() == 1_000_000_000


def test_a_stall_is_one_swing_and_stopping_stops() -> None:
    harness = Harness()
    harness.turn(BEAT)
    harness.turn(10 * BEAT)
    assert harness.swings == 2
    harness.beat.stop()
    assert harness.loop.armed_timers == 0
    harness.turn(1.0)
    assert harness.swings == 2
