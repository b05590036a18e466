"""IdleTime: an upstream's own idle timeout, learned from its closes and from nothing else."""

import pytest

from balancer.connections.idle_time import IdleTime

MS = 1_000_000
TICK = 250  # ms between two sweeps, as in the worker


class Bench:
    """An IdleTime with a clock, in milliseconds."""

    def __init__(self) -> None:
        self.time = IdleTime()
        self.now = 10_000

    def hears(self, *ages: float, oldest: float = 0, after: float = 2000) -> bool:
        """After `after` more milliseconds connections of these ages are closed; one of age `oldest` stays
        open."""
        self.now += round(after)
        for age in ages:
            self.time.closed(round(age * MS))
        return self.time.judge(self.now * MS, round(oldest * MS))

    @property
    def learned(self) -> float:
        return self.time.learned_ns / MS


TEACHES: dict[str, tuple[list[list[float]], float]] = {
    "two that agree": ([[500], [503]], 500),
    "the shorter one counts": ([[520], [500]], 500),
    "several at each time": ([[500, 510, 505], [501, 502]], 500),
    "a server that looks once a second": ([[2900], [2100]], 2100),
    "the first was a restart": ([[130], [500], [500]], 500),
    "a restart between": ([[500], [100, 300, 480, 700], [502]], 500),
}


@pytest.mark.parametrize("case", TEACHES)
def test_closes_that_teach_an_idle_time(case: str) -> None:
    closes, learned = TEACHES[case]
    bench = Bench()
    for ages in closes:
        assert bench.learned == 0
        bench.hears(*ages)
    assert bench.learned == learned


TEACHES_NOTHING: dict[str, list[list[float]]] = {
    "one alone": [[500]],
    "a restart: any ages at once": [[5, 100, 900, 3000]],
    "restart upon restart": [[200, 900, 3000], [150, 700, 2000], [300, 1000, 3500]],
    "restarts of one connection": [[150], [2500], [400], [3900]],
    "too young to be a timeout": [[3], [4], [50], [99], [99]],
    "two that do not agree": [[500], [3000]],
}


@pytest.mark.parametrize("case", TEACHES_NOTHING)
def test_closes_that_teach_nothing(case: str) -> None:
    bench = Bench()
    for ages in TEACHES_NOTHING[case]:
        bench.hears(*ages)
        assert bench.learned == 0


def test_closes_of_one_restart_do_not_confirm_each_other() -> None:
    bench = Bench()
    bench.hears(500)
    bench.hears(510, after=TICK)
    bench.hears(520, after=TICK)
    assert bench.learned == 0
    bench.hears(530, after=1000)
    assert bench.learned == 500


def test_a_close_is_no_timeout_while_an_older_connection_is_open() -> None:
    bench = Bench()
    for _ in range(3):
        bench.hears(500, oldest=2000)
    assert bench.learned == 0


def test_an_unconfirmed_time_is_dropped_if_a_connection_outlives_it() -> None:
    bench = Bench()
    bench.hears(500)
    bench.hears(oldest=2000)
    bench.hears(500)
    assert bench.learned == 0


OUTLIVED: dict[str, tuple[list[float], float]] = {
    "still open": ([], 900),
    "closed at a greater age": ([900], 0),
}


@pytest.mark.parametrize("case", OUTLIVED)
def test_a_learned_time_is_forgotten_if_a_connection_outlives_it(case: str) -> None:
    ages, oldest = OUTLIVED[case]
    bench = Bench()
    bench.hears(500)
    assert bench.hears(500)
    assert not bench.hears(500)
    assert bench.hears(*ages, oldest=oldest)
    assert bench.learned == 0


def test_a_shorter_time_replaces_the_learned_one() -> None:
    bench = Bench()
    for age in (3000, 3000, 500):
        bench.hears(age)
    assert bench.learned == 3000
    bench.hears(500)
    assert bench.learned == 500


def test_a_restart_does_not_change_a_learned_time() -> None:
    bench = Bench()
    for ages in ([500], [500], [110, 120, 480], [130]):
        bench.hears(*ages)
    assert bench.learned == 500


def test_an_unconfirmed_time_is_forgotten() -> None:
    bench = Bench()
    bench.hears(500)
    bench.hears(500)
    bench.hears(500, after=599_000)
    assert bench.learned == 500
    bench.hears(after=599_000)
    assert bench.learned == 500
    assert bench.hears(after=2000)
    assert bench.learned == 0


def test_an_old_close_confirms_nothing() -> None:
    bench = Bench()
    bench.hears(500)
    bench.hears(500, after=601_000)
    assert bench.learned == 0


@pytest.mark.parametrize(
    ("learned", "usable", "careful"), [(100, 80, 0), (150, 120, 50), (500, 400, 250), (5000, 4000, 2500)]
)
def test_a_learned_time_has_a_margin_and_a_larger_one_for_careful_use(
    learned: float, usable: float, careful: float
) -> None:
    bench = Bench()
    bench.hears(learned)
    bench.hears(learned)
    assert bench.time.usable_ns() == usable * MS
    assert bench.time.surely_usable_ns() == careful * MS
