"""Slow start: the weights of readmitted upstreams, by a fake clock."""

from __future__ import annotations  # memoryview[int] is not subscriptable at run time in 3.11

import pytest

from balancer.pools.slow_start import SlowStart, ramp
from balancer.telemetry.columns import CELLS_PER_ROW
from balancer.upstreams.upstream import Upstream
from tests.fakes.loop import FakeClock

SECOND = 1_000_000_000
BEGAN = 7 * SECOND

SHARES = [
    pytest.param(0, 0.1, id="starts at a tenth"),
    pytest.param(1.4, 0.1, id="at least a tenth"),
    pytest.param(1.5, 0.15, id="then linear"),
    pytest.param(1.99, 0.15, id="in steps"),
    pytest.param(5, 0.5, id="half"),
    pytest.param(9.99, 0.95, id="nearly"),
    pytest.param(10, 1.0, id="full"),
    pytest.param(1e6, 1.0, id="full for ever"),
]


@pytest.mark.parametrize(("passed", "share"), SHARES)
def test_a_ramp_of_10s(passed: float, share: float) -> None:
    assert ramp(BEGAN, BEGAN + round(passed * SECOND), 10 * SECOND) == share


@pytest.mark.parametrize(("since", "duration"), [(0, 10 * SECOND), (BEGAN, 0)], ids=["none began", "off"])
def test_no_ramp_is_full_weight_at_once(since: int, duration: int) -> None:
    assert ramp(since, BEGAN, duration) == 1.0


class Bench:
    def __init__(self, *weights: int) -> None:
        self.clock = FakeClock()
        self.slow_start = SlowStart(10 * SECOND, self.clock)
        cells = memoryview(bytearray(CELLS_PER_ROW * 8)).cast("q")
        self.upstreams = [
            Upstream(f"app{number}:8000", "10.0.0.1", 8000, weight, cells)
            for number, weight in enumerate(weights)
        ]

    def readmit(self, number: int) -> None:
        self.upstreams[number].ramp_since_ns = self.clock.monotonic_ns()
        self.slow_start.begin(self.upstreams)

    @property
    def weights(self) -> list[float]:
        return [upstream.effective_weight for upstream in self.upstreams]


def test_weights_grow_during_a_ramp() -> None:
    bench = Bench(1, 4)
    bench.readmit(1)
    assert bench.weights == [1.0, 0.4]
    bench.clock.advance(5)
    assert bench.slow_start.step()
    assert bench.weights == [1.0, 2.0]
    bench.clock.advance(5)
    assert bench.slow_start.step()
    assert bench.weights == [1.0, 4.0]
    assert not bench.slow_start.step()


def test_most_sweeps_change_nothing() -> None:
    """Of 40 sweeps in ten seconds, only as many change weights as there are steps."""
    bench = Bench(1, 1)
    bench.readmit(0)
    changes = 0
    for _ in range(41):
        bench.clock.advance(0.25)
        changes += bench.slow_start.step()
    assert changes == 18  # from 2/20 to 20/20


def test_a_message_during_a_ramp_does_not_restart_it() -> None:
    bench = Bench(1, 1)
    bench.readmit(0)
    bench.clock.advance(5)
    bench.upstreams[0].weight = 2
    bench.slow_start.begin(bench.upstreams)
    assert bench.weights == [1.0, 1.0]
