"""Throughput: how fast a queue is served and whether it grows, by invented arrivals and slots."""

import pytest

from balancer.queueing.throughput import Throughput

MS = 1_000_000


class Bench:
    """A queue that requests join and leave at even rates."""

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


def test_no_rate_is_known_at_first() -> None:
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
        pytest.param(0.6, 1200, 400, True, False, id="three times the served rate"),
        pytest.param(0.6, 600, 400, True, False, id="1.5 times the served rate"),
        pytest.param(0.3, 1200, 400, False, False, id="too short to tell"),
        pytest.param(0.6, 400, 400, False, True, id="arrivals match"),
        pytest.param(0.6, 100, 400, False, True, id="fewer arrivals"),
        pytest.param(3.0, 4, 1, False, False, id="too few to tell"),
        pytest.param(9.0, 20, 1, True, False, id="slow work"),
    ],
)
def test_is_growing_while_arrivals_exceed_the_served(
    seconds: float, came: float, served: float, growing: bool, steady: bool
) -> None:
    bench = Bench()
    bench.run(seconds, came, served)
    assert (bench.throughput.is_growing, bench.throughput.is_steady) == (growing, steady)


@pytest.mark.parametrize(
    ("left", "growing"),
    [
        pytest.param(120, True, id="many leave"),
        pytest.param(40, False, id="one in ten leaves"),
        pytest.param(0, False, id="none leave"),
    ],
)
def test_departures_do_not_count_as_served_although_their_slots_go_to_others(
    left: float, growing: bool
) -> None:
    bench = Bench()
    bench.run(0.8, 400, 380, left=left)
    assert (bench.throughput.is_growing, bench.throughput.is_steady) == (growing, not growing)


def test_the_rates_of_served_and_refused_requests() -> None:
    bench = Bench()
    bench.run(2.0, 1200, 400, refused=800)
    assert bench.throughput.per_second == pytest.approx(400, rel=0.05)
    assert bench.throughput.refused_per_second == pytest.approx(800, rel=0.05)
    bench.run(1.0, 600, 200, refused=400)
    assert bench.throughput.per_second == pytest.approx(200, rel=0.1)
    bench.run(0.3, 1200, 400, refused=800)
    assert bench.throughput.per_second == pytest.approx(400, rel=0.1)


def test_a_rate_counts_after_it_has_lasted() -> None:
    bench = Bench()
    bench.run(0.4, 300, 30)
    assert bench.throughput.per_second == 0.0
    bench.run(0.6, 300, 400)
    assert bench.throughput.per_second == pytest.approx(400, rel=0.05)


def test_time_without_waiting_requests_does_not_count() -> None:
    bench = Bench()
    for _ in range(20):
        bench.run(0.05, 400, 400)
        bench.throughput.ends(bench.now)
        bench.now += 500 * MS
        bench.throughput.begins(bench.now)
    assert bench.throughput.per_second == pytest.approx(400, rel=0.25)
    assert not bench.throughput.is_growing


def test_an_initial_lack_of_slots_is_not_a_rate() -> None:
    bench = Bench()
    bench.run(1.0, 1200, 0)
    bench.run(0.01, 1200, 400)
    assert bench.throughput.is_growing
    bench.run(0.8, 1200, 400)
    assert bench.throughput.per_second == pytest.approx(400, rel=0.1)


@pytest.mark.parametrize(("pause", "known"), [(1_900, True), (2_100, False)])
def test_a_pause_of_over_2s_resets_throughput(pause: int, known: bool) -> None:
    bench = Bench()
    bench.run(1.0, 1200, 400)
    bench.throughput.ends(bench.now)
    bench.now += pause * MS
    bench.throughput.begins(bench.now)
    assert (bench.throughput.is_growing, bench.throughput.per_second > 0) == (known, known)
