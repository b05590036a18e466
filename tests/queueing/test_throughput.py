"""Throughput: how fast a queue is worked off, and whether it grows, by invented arrivals and slots."""

import pytest

from balancer.queueing.throughput import Throughput

MS = 1_000_000


class Bench:
    """A queue into which and out of which requests go at even rates."""

    def __init__(self) -> None:
        self.throughput = Throughput()
        self.now = 1_000_000 * MS
        self.throughput.begins(self.now)

    def run(
        self, seconds: float, came: float, served: float, refused: float = 0.0, left: float = 0.0
    ) -> None:
        """Rates per second."""
        throughput = self.throughput
        waited = [0.0, 0.0, 0.0, 0.0]
        for _ in range(round(seconds * 100)):
            self.now += 10 * MS
            for index, rate in enumerate((came, served, refused, left)):
                waited[index] += rate / 100
            throughput.came += int(waited[0] + 1e-9)
            throughput.refused += int(waited[2] + 1e-9)
            throughput.left += int(waited[3] + 1e-9)
            if waited[1] > 1 - 1e-9:
                throughput.has_news(self.now)
            throughput.served += int(waited[1] + 1e-9)
            waited = [one - int(one + 1e-9) for one in waited]


def test_nothing_is_known_at_first() -> None:
    bench = Bench()
    bench.run(0.2, 1200, 400)
    assert (bench.throughput.per_second, bench.throughput.is_growing, bench.throughput.is_steady) == (
        0.0,
        False,
        False,
    )


@pytest.mark.parametrize(
    ("seconds", "came", "served", "growing", "steady"),
    [
        pytest.param(0.6, 1200, 400, True, False, id="three times"),
        pytest.param(0.6, 600, 400, True, False, id="half as much again"),
        pytest.param(0.3, 1200, 400, False, False, id="for a moment"),
        pytest.param(0.6, 400, 400, False, True, id="as much"),
        pytest.param(0.6, 100, 400, False, True, id="less"),
        pytest.param(3.0, 4, 1, False, False, id="too few to tell"),
        pytest.param(9.0, 20, 1, True, False, id="slow work"),
    ],
)
def test_whether_more_comes_than_goes(
    seconds: float, came: float, served: float, growing: bool, steady: bool
) -> None:
    bench = Bench()
    bench.run(seconds, came, served)
    assert (bench.throughput.is_growing, bench.throughput.is_steady) == (growing, steady)


@pytest.mark.parametrize(
    ("left", "growing"),
    [
        pytest.param(120, True, id="many"),
        pytest.param(40, False, id="one in ten"),
        pytest.param(0, False, id="nobody"),
    ],
)
def test_who_leaves_has_not_been_served_though_the_slot_went_to_the_next(left: float, growing: bool) -> None:
    bench = Bench()
    bench.run(0.8, 400, 380, left=left)
    assert (bench.throughput.is_growing, bench.throughput.is_steady) == (growing, not growing)


def test_the_rate_and_the_refused() -> None:
    bench = Bench()
    bench.run(2.0, 1200, 400, refused=800)
    assert bench.throughput.per_second == pytest.approx(400, rel=0.05)
    assert bench.throughput.refused_per_second == pytest.approx(800, rel=0.05)
    bench.run(1.0, 600, 200, refused=400)
    assert bench.throughput.per_second == pytest.approx(200, rel=0.1)
    bench.run(0.3, 1200, 400, refused=800)
    assert bench.throughput.per_second == pytest.approx(400, rel=0.1)


def test_a_rate_is_believed_when_it_has_shown_for_a_while() -> None:
    bench = Bench()
    bench.run(0.4, 300, 30)
    assert bench.throughput.per_second == 0.0
    bench.run(0.6, 300, 400)
    assert bench.throughput.per_second == pytest.approx(400, rel=0.05)


def test_time_in_which_nobody_waits_does_not_count() -> None:
    bench = Bench()
    for _ in range(20):
        bench.run(0.05, 400, 400)
        bench.throughput.ends(bench.now)
        bench.now += 500 * MS
        bench.throughput.begins(bench.now)
    assert bench.throughput.per_second == pytest.approx(400, rel=0.25)
    assert not bench.throughput.is_growing


def test_slots_that_were_not_to_be_had_at_first_are_no_rate() -> None:
    bench = Bench()
    bench.run(1.0, 1200, 0)
    bench.run(0.01, 1200, 400)
    assert bench.throughput.is_growing
    bench.run(0.8, 1200, 400)
    assert bench.throughput.per_second == pytest.approx(400, rel=0.1)


@pytest.mark.parametrize(("pause", "known"), [(1_900, True), (2_100, False)])
def test_after_a_pause_nothing_is_known(pause: int, known: bool) -> None:
    bench = Bench()
    bench.run(1.0, 1200, 400)
    bench.throughput.ends(bench.now)
    bench.now += pause * MS
    bench.throughput.begins(bench.now)
    assert (bench.throughput.is_growing, bench.throughput.per_second > 0) == (known, known)
