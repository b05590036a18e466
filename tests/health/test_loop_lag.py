"""Our own lag: what stalls of the loop add up to."""

import pytest

from balancer.health.loop_lag import TICK, LoopLag
from tests.fakes.loop import FakeClock, FakeLoop

# Spans of time, each followed by one turn of the loop; lag in all, in seconds.
CASES = {
    "on time": ([TICK] * 20, 0.0),
    "one stall": ([TICK, TICK + 0.3, TICK], 0.3),
    "stalls add up": ([TICK + 0.1, TICK, TICK + 0.2], 0.3),
    "a stall within a tick is not seen": ([TICK / 2, TICK / 2], 0.0),
}


@pytest.mark.parametrize("case", CASES)
def test_lag_is_how_late_the_ticks_were(case: str) -> None:
    spans, expected = CASES[case]
    clock = FakeClock()
    loop = FakeLoop(clock)  # type: ignore[abstract]  # the rest of asyncio's loop is not used
    lag = LoopLag(clock, loop)
    lag.start()
    for span in spans:
        clock.advance(span)
        loop.settle()
    assert lag.total_ns() / 1e9 == pytest.approx(expected, abs=1e-6)
    lag.stop()
    assert loop.armed_timers == 0


def test_a_reading_takes_in_a_tick_that_is_overdue() -> None:
    clock = FakeClock()
    loop = FakeLoop(clock)  # type: ignore[abstract]  # the rest of asyncio's loop is not used
    lag = LoopLag(clock, loop)
    lag.start()
    clock.advance(TICK + 1.0)
    before = lag.total_ns()
    loop.settle()
    assert before == lag.total_ns() == 1_000_000_000
    lag.stop()
