"""Patience: the age at which clients give up, and which departures do not count."""

from dataclasses import dataclass, field

import pytest

from balancer.edges import DEFAULT as BUCKETS
from balancer.queueing.patience import Patience

SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Second:
    """The events of one second: age in seconds -> how many."""

    left: dict[float, int] = field(default_factory=dict)
    stayed: dict[float, int] = field(default_factory=dict)
    waiting: dict[float, int] = field(default_factory=dict)  # at the end of the second
    first_bytes: dict[float, int] = field(
        default_factory=dict
    )  # by bucket, of requests that did not wait here
    others: int = 0  # requests that wait at other workers
    requests: int = 100


class Bench:
    def __init__(self) -> None:
        self.patience = Patience()
        self.now = 1000 * SECOND
        self.requests = 0
        self.totals = dict.fromkeys(BUCKETS, 0)
        self.live(Second(), 1)

    def live(self, second: Second, times: int) -> None:
        for _ in range(times):
            self.now += SECOND
            self.requests += second.requests
            for age, count in second.stayed.items():
                for _ in range(count):
                    self.patience.stayed(round(age * SECOND))
            for age, count in second.left.items():
                for _ in range(count):
                    self.patience.left(round(age * SECOND), self.now)
            for bucket, count in second.first_bytes.items():
                self.totals[bucket] += count
            ages = [round(age * SECOND) for age, count in second.waiting.items() for _ in range(count)]
            totals = list(self.totals.values())
            self.patience.learn(self.now, self.requests, totals, ages, second.others)

    def give_up(self, later: float = 0.0) -> float:
        return self.patience.give_up_ns(self.now + round(later * SECOND)) / SECOND


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        pytest.param(Second(), 0.0, id="no departures"),
        pytest.param(Second(left={2.0: 60}, stayed={0.01: 40}), 2.0, id="all leave after 2 s"),
        pytest.param(Second(left={2.0: 60, 0.03: 5}, stayed={0.01: 40}), 2.0, id="and a few scanners"),
        pytest.param(Second(left={2.0: 30, 0.03: 20}, stayed={0.01: 40}), 2.0, id="and many scanners"),
        pytest.param(Second(left={0.03: 20}, stayed={1.0: 80}), 0.0, id="scanners, others are refused"),
        pytest.param(Second(left={0.03: 20}, waiting={1.5: 500}), 0.0, id="scanners, others wait"),
        pytest.param(Second(left={0.03: 20}, others=300), 0.0, id="scanners, others wait elsewhere"),
        pytest.param(Second(left={0.5: 20}, first_bytes={2.5: 80}), 0.0, id="few clients of a slow route"),
        pytest.param(Second(left={0.5: 70}, first_bytes={2.5: 30}), 0.5, id="most clients of a slow route"),
        pytest.param(Second(left={0.5: 9}), 0.0, id="fewer than one in ten"),
        pytest.param(Second(left={1.2: 20, 1.8: 20, 2.4: 20, 2.9: 20}), 1.5, id="patience varies"),
        pytest.param(Second(left={30.0: 60}), 30.0, id="long polling"),
    ],
)  # fmt: skip
def test_patience_is_the_age_at_which_half_of_the_clients_have_left(second: Second, expected: float) -> None:
    bench = Bench()
    bench.live(second, 3)
    assert bench.give_up() == pytest.approx(expected)


def test_a_few_departures_teach_nothing() -> None:
    bench = Bench()
    bench.live(Second(left={2.0: 12}, requests=20), 1)
    assert bench.give_up() == 0.0
    bench.live(Second(left={2.0: 12}, requests=20), 1)
    assert bench.give_up() == pytest.approx(2.0)


@pytest.mark.parametrize(("count", "known_for"), [(40, 30.0), (1000, 170.0)])
def test_learned_patience_is_forgotten_when_it_is_old(count: int, known_for: float) -> None:
    bench = Bench()
    bench.live(Second(left={2.0: count}, requests=count), 1)
    assert bench.give_up(known_for) == pytest.approx(2.0)
    assert bench.give_up(known_for * 2) == 0.0


@pytest.mark.parametrize(("before", "after"), [(2.0, 0.4), (0.4, 2.0)])
def test_a_change_of_patience_is_learned_in_seconds(before: float, after: float) -> None:
    bench = Bench()
    bench.live(Second(left={before: 800}, requests=1200), 60)
    bench.live(Second(left={after: 800}, requests=1200), 3)
    assert bench.give_up() == pytest.approx(after, rel=0.01)


def test_learning_is_due_at_most_twice_a_second() -> None:
    patience = Patience()
    now = 1000 * SECOND
    patience.learn(now, 0, [], [], 0)
    assert not patience.left(SECOND, now + SECOND // 2 - 1)
    assert patience.left(SECOND, now + SECOND // 2)


def test_a_removed_upstream_takes_its_counts_with_it() -> None:
    bench = Bench()
    bench.live(Second(left={2.0: 60}, first_bytes={0.01: 40}), 1)
    bench.totals = dict.fromkeys(BUCKETS, 0)
    bench.live(Second(left={2.0: 60}), 1)
    assert bench.give_up() == pytest.approx(2.0)


def test_a_client_that_leaves_after_a_week_counts_like_any_other() -> None:
    bench = Bench()
    week = 7 * 86_400.0
    bench.live(Second(left={week: 100}, stayed={week: 10}, waiting={week: 1}), 1)
    assert bench.give_up() == week
