"""Each published algorithm behaves here as it is known to; otherwise a comparison with it proves nothing."""

from collections.abc import Callable
from itertools import pairwise
from random import Random

import pytest

from tests.sim.arrivals import Burst, Open
from tests.sim.balancer import Settings
from tests.sim.clients import waits
from tests.sim.figures import End, Figures, least
from tests.sim.published import BY_HAND, LIMITS
from tests.sim.published_limits import EnvoyGradient, Gradient2, Vegas
from tests.sim.scenes import Scene, play, surge


def _gradient2(*windows: tuple[int, float]) -> Gradient2:
    """The limit after these windows (count, mean latency), with all slots taken."""
    limit = Gradient2(Random(1))
    for count, seconds in windows:
        for _ in range(count):
            limit.window(seconds, limit.limit)
    return limit


@pytest.mark.parametrize(
    ("windows", "least", "most"),
    [
        pytest.param([(50, 0.1)], 59, 60, id="four fifths of a slot more a window"),
        pytest.param([(50, 0.1), (5, 0.14)], 63, 64, id="a little slower is tolerated"),
        pytest.param([(50, 0.1), (5, 0.3)], 38, 41, id="much slower lowers the limit"),
        pytest.param([(50, 0.1), (300, 0.3)], 100, 300, id="a wait that lasts becomes the usual one"),
    ],
)
def test_gradient2_compares_with_the_long_run_mean(
    windows: list[tuple[int, float]], least: int, most: int
) -> None:
    assert least <= _gradient2(*windows).limit <= most


def test_gradient2_does_not_grow_while_half_of_its_slots_are_used() -> None:
    limit = _gradient2()
    for _ in range(50):
        limit.window(0.1, 9)
    assert limit.limit == 20


def _gradient2_takes_windows(answers: int) -> float:
    limit = Gradient2(Random(1))
    for turn in range(answers):
        limit.ended(100.0 + turn / answers * 3, 0.1, 20, dropped=False)
    return limit.long_run


def test_gradient2_ignores_windows_with_few_answers() -> None:
    assert _gradient2_takes_windows(answers=20) == 0.0
    assert _gradient2_takes_windows(answers=100) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("answers", "limit"),
    [
        pytest.param([(10, 0.1, False)], 20 + 9 * 6, id="no backlog: six slots more with each answer"),
        pytest.param([(1, 0.1, False), (50, 0.2, False)], 12, id="a backlog of half of them: fewer"),
        pytest.param([(1, 0.1, False), (50, 0.12, False)], 20, id="a backlog of four: enough"),
        pytest.param(
            [(1, 0.1, False), (5, 0.1, True)], 15, id="a dropped request counts, whatever its latency"
        ),
    ],
)
def test_vegas_estimates_the_backlog(answers: list[tuple[int, float, bool]], limit: int) -> None:
    vegas = Vegas(Random(1))
    for count, took, dropped in answers:
        for _ in range(count):
            vegas.ended(0.0, took, vegas.limit, dropped)
    assert vegas.limit == limit


def test_vegas_eventually_takes_a_backlog_for_the_least_time() -> None:
    vegas = Vegas(Random(1))
    vegas.ended(0.0, 0.1, 20, dropped=False)
    for _ in range(600):
        vegas.ended(0.0, 0.2, vegas.limit, dropped=False)
    assert vegas.least_time == 0.2


def _envoy(
    seconds: float, took: Callable[[float], float], make: Callable[[Random], EnvoyGradient]
) -> list[int]:
    """The limit at the end of each tenth of a second, with 100 answers in each."""
    limit = make(Random(1))
    limits = []
    for beat in range(1, round(seconds * 10) + 1):
        for turn in range(100):
            now = beat / 10 - 0.099 + turn / 1010
            limit.ended(now, took(now), limit.limit, dropped=False)
        limit.beat(beat / 10)
        limits.append(limit.limit)
    return limits


def test_envoy_measures_with_three_in_flight_and_again_after_a_minute() -> None:
    limit = EnvoyGradient(Random(1))
    assert limit.limit == 3
    for _ in range(49):
        limit.ended(1.0, 0.02, 3, dropped=False)
    limit.beat(1.0)
    assert (limit.limit, limit.floor) == (3, 0.0)
    limit.ended(1.0, 0.02, 3, dropped=False)
    limit.ended(1.0, 0.02, 3, dropped=False)
    limit.beat(1.1)
    assert (limit.limit, limit.floor) == (5, 0.02)
    for turn in range(20):
        limit.ended(2.0, 0.02, 3, dropped=False)
        limit.beat(2.0 + turn / 10)
    assert limit.limit > 100
    limit.beat(61.0 + 60 * 0.15)
    assert limit.limit == 3


def test_envoy_halves_its_limit_at_most() -> None:
    limits = _envoy(6.0, lambda now: 0.02 if now < 3 else 1.0, EnvoyGradient)
    assert max(limits) == 1000
    falls = limits[limits.index(1000) :]
    falls = falls[next(at for at, one in enumerate(falls) if one < 1000) :]
    assert falls[:3] == [522, 277, 150]


def test_envoy_ignores_dropped_requests() -> None:
    limit = EnvoyGradient(Random(1))
    for _ in range(1000):
        limit.ended(1.0, 2.0, 3, dropped=True)
    limit.beat(1.0)
    assert (limit.limit, limit.floor) == (3, 0.0)


@pytest.mark.slow
@pytest.mark.parametrize("name", LIMITS)
def test_each_finds_a_limit_at_3x_capacity(name: str) -> None:
    figures = play(surge(3.0).having(limit=LIMITS[name], queue_size=0), seed=1)
    assert least(figures.goodput(7, 19)) >= 370
    assert figures.came(0.0, 3.0).keys() == {End.SERVED}


def _by_hand(name: str, scene: Scene) -> Figures:
    return play(scene.having(**BY_HAND[name]), seed=1)


@pytest.mark.plain  # a queue of its own stands in for the compiled one
def test_codel_drops_at_ever_shorter_intervals_during_a_long_wait() -> None:
    """Above capacity: a drop after 100 ms, then further ones 100 ms over the root of 1, 2, 3 later."""
    scene = Scene(2.0, [Burst(0.0, 100), Open(((2.0, 400.0),), evenly=True)])
    dropped = [one.ended for one in _by_hand("limit 2, CoDel", scene).records if one.end is End.REFUSED]
    pauses = [after - before for before, after in pairwise(dropped[:6])]
    assert dropped[0] == pytest.approx(0.105, abs=0.03)
    assert pauses == pytest.approx([0.1, 0.1 / 2**0.5, 0.1 / 3**0.5, 0.05, 0.1 / 5**0.5], abs=0.03)


@pytest.mark.slow
def test_facebooks_codel_bounds_every_wait() -> None:
    figures = _by_hand("limit 2, Facebook's CoDel", surge(3.0))
    waited = [one.took for one in figures.records if one.end is End.REFUSED]
    assert max(waited) == pytest.approx(0.1)
    assert sorted(waited)[len(waited) // 2] == pytest.approx(0.005)


@pytest.mark.plain  # a queue of its own stands in for the compiled one
def test_dagor_admits_5_percent_fewer_each_second() -> None:
    scene = Scene(20.0, [Open(((20.0, 1200.0),), waits(2.0))], settings=Settings())
    figures = _by_hand("limit 2, DAGOR", scene)
    for second in (5, 10, 15):
        came = figures.came(second, second + 1)
        at_once = sum(
            one.reason == "queue_would_time_out" for one in figures.records if second <= one.came < second + 1
        )
        assert 1 - at_once / came.total() == pytest.approx(0.95**second, abs=0.07)
