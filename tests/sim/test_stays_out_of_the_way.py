"""Without an overload adaptive limits change nothing: every request ends as it does without them."""

from collections.abc import Sequence
from statistics import mean

import pytest

from tests.sim.arrivals import Burst, Closed, Open
from tests.sim.clients import waits, waits_between
from tests.sim.figures import End
from tests.sim.replicas import UNLIMITED, Replica, by_chance, by_route, ranges, spreads, takes
from tests.sim.scenes import Fleet, Happening, Scene, play

pytestmark = pytest.mark.slow  # some minutes of simulated time each

FAST_OR_SLOW = by_route({"fast": takes(0.005), "slow": takes(2.0), "check": takes(0.005)})


def fleet(**changes: object) -> Fleet:
    return Fleet(checked=False, **changes)  # type: ignore[arg-type]  # by name


def steady(rate: float, route: str = "any", seconds: float = 30.0) -> Open:
    return Open(((seconds, rate),), route=route)


def change(at: float, slowness: float) -> Happening:
    """From then on all replicas take `slowness` times as long."""

    def happens(replicas: Sequence[Replica]) -> None:
        for one in replicas:
            one.change(slowness=slowness)

    return at, happens


def gradually(begin: float, seconds: float, slowness: float) -> list[Happening]:
    """All replicas become slower in twenty steps."""
    return [change(begin + seconds * step / 20, 1 + (slowness - 1) * step / 20) for step in range(1, 21)]


def pause(at: float, who: int) -> Happening:
    """A collector stops one replica for 200 ms."""
    return at, lambda replicas: replicas[who].pause(0.2)


def pauses(every: float, together: bool) -> list[Happening]:
    """The collector stops each of four replicas, again and again."""
    apart = 0.0 if together else every / 4
    return [
        pause(3.0 + turn * every + who * apart, who) for turn in range(int(25 / every)) for who in range(4)
    ]


ASYNC = fleet(at_once=UNLIMITED, service=spreads(0.5, 0.05))
GUNICORN = fleet(service=spreads(0.02, 0.1))
SCENES = {
    "an async app with 2,000 requests in flight at 500 ms": Scene(7.0, [steady(4000, seconds=6)], ASYNC),
    "the same, all of a sudden": Scene(11.0, [Open(((5.0, 100.0), (5.0, 4000.0)))], ASYNC),
    "an async app whose traffic swells": Scene(
        30.0, [Open(tuple((0.5, 100.0 * 1.1**step) for step in range(40)))], ASYNC
    ),
    "long polling beside quick requests": Scene(
        60.0,
        [
            Open(((59.0, 100.0),), waits(25.0), "poll"),
            Open(((59.0, 60.0),), waits(25.0), "fast"),
        ],
        fleet(at_once=UNLIMITED, service=by_route({"poll": ranges(0.0, 30.0), "fast": takes(0.01)})),
    ),
    "nothing but long polling, and clients who leave": Scene(
        60.0,
        [Open(((59.0, 200.0),), waits_between(1.0, 25.0))],
        fleet(at_once=UNLIMITED, service=ranges(0.0, 30.0)),
    ),
    "streams": Scene(
        40.0,
        [Open(((39.0, 20.0),), route="stream"), Open(((39.0, 100.0),), route="fast")],
        fleet(at_once=UNLIMITED, service=by_route({"stream": takes(0.01, 60.0), "fast": takes(0.02)})),
    ),
    "downloads that take all of a threaded app's slots": Scene(
        30.0, [steady(40)], fleet(at_once=16, service=takes(0.02, 1.0))
    ),
    "bimodal routes, and threads enough": Scene(
        40.0, [steady(70, "fast", 39), steady(30, "slow", 39)], fleet(at_once=64, service=FAST_OR_SLOW)
    ),
    "bimodal without a route to tell": Scene(
        40.0,
        [steady(200, seconds=39)],
        fleet(at_once=UNLIMITED, service=by_chance((0.8, takes(0.005)), (0.2, takes(2.0)))),
    ),
    "bimodal routes whose shares change slots": Scene(
        60.0,
        [
            Open(((10.0, 180.0), (10.0, 20.0)) * 3, route="fast"),
            Open(((10.0, 20.0), (10.0, 180.0)) * 3, route="slow"),
        ],
        fleet(at_once=UNLIMITED, service=FAST_OR_SLOW),
    ),
    "now only fast ones, now only slow ones": Scene(
        60.0,
        [
            Open(((10.0, 200.0), (10.0, 0.0)) * 3, route="fast"),
            Open(((10.0, 0.0), (10.0, 200.0)) * 3, route="slow"),
        ],
        fleet(at_once=UNLIMITED, service=FAST_OR_SLOW),
    ),
    "a cold cache makes the first minute four times slower": Scene(
        80.0,
        [steady(200, seconds=79)],
        fleet(at_once=8, service=spreads(0.02, 1.0)),
        happenings=[change(0.0, 4.0), change(60.0, 1.0)],
    ),
    "a cache is lost, which makes it four times slower": Scene(
        60.0,
        [steady(200, seconds=59)],
        fleet(at_once=8, service=spreads(0.02, 1.0)),
        happenings=[change(10.0, 4.0), change(40.0, 1.0)],
    ),
    "an async app becomes twenty times slower at once": Scene(
        40.0,
        [steady(600, seconds=34)],
        fleet(at_once=UNLIMITED, service=spreads(0.02, 1.0)),
        happenings=[change(10.0, 20.0), change(30.0, 1.0)],
    ),
    "an async app becomes twenty times slower within a second": Scene(
        40.0,
        [steady(600, seconds=34)],
        fleet(at_once=UNLIMITED, service=spreads(0.02, 1.0)),
        happenings=gradually(10.0, 1.0, 20.0),
    ),
    "an async app becomes ten times slower within ten seconds": Scene(
        40.0,
        [steady(600, seconds=34)],
        fleet(at_once=UNLIMITED, service=spreads(0.02, 0.3)),
        happenings=gradually(10.0, 10.0, 10.0),
    ),
    "a burst of 300 onto an idle pool": Scene(20.0, [Burst(5.0, 300), Burst(12.0, 300)], GUNICORN),
    "a burst of 300 onto a pool with little to do": Scene(
        30.0, [steady(20, seconds=29), Burst(5.0, 300), Burst(12.0, 300), Burst(20.0, 300)], GUNICORN
    ),
    "a burst of 300 onto a pool with something to do": Scene(
        30.0, [steady(200, seconds=29), Burst(5.0, 300), Burst(20.0, 300)], GUNICORN
    ),
    "pauses of 200 ms, one replica after another": Scene(
        30.0, [steady(200, seconds=29)], GUNICORN, happenings=pauses(1.7, together=False)
    ),
    "pauses of 200 ms, all replicas together": Scene(
        30.0, [steady(300, seconds=29)], GUNICORN, happenings=pauses(3.0, together=True)
    ),
    "replicas of unequal speed": Scene(
        30.0,
        [steady(280, seconds=29)],
        fleet(at_once=4, service=[spreads(mean, 1.0) for mean in (0.02, 0.02, 0.04, 0.08)]),
    ),
    "two requests a second": Scene(
        120.0,
        [steady(2, seconds=119)],
        fleet(at_once=1, service=by_chance((0.4, takes(0.02)), (0.3, takes(0.3)), (0.3, takes(1.5)))),
    ),
    "two requests a second for one replica": Scene(
        120.0, [steady(2, seconds=119)], fleet(replicas=1, at_once=2, service=spreads(0.5, 1.0))
    ),
    "nine tenths of what can be done": Scene(
        60.0, [steady(360, seconds=59)], fleet(service=spreads(0.02, 1.0))
    ),
    "300 clients who each wait for their answer": Scene(30.0, [Closed(300, 0.0, ends=29.0)], GUNICORN),
}


@pytest.mark.parametrize("workers", [1, 2], ids=["one worker", "two workers"])
@pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES.keys())
def test_adaptive_limits_refuse_and_delay_nothing_without_an_overload(scene: Scene, workers: int) -> None:
    for seed in (1, 2)[: 3 - workers]:
        limited = play(scene.having(workers=workers), seed)
        assert End.REFUSED not in limited.came(0.0, scene.seconds)
        assert limited.records == play(scene.having(workers=workers, adaptive=False), seed).records


def test_a_needless_limit_during_a_burst_only_moves_the_waiting() -> None:
    """The first moments of a burst look like the start of an overload. The queue may serve the newest first
    then, so some requests wait longer and most do not; the average is the same."""
    bursts = [Open(((at, 0.0), (0.25, 1200.0))) for at in (5.0, 15.0, 25.0)]
    loads = [steady(100, seconds=29), *bursts]
    for seed in range(1, 6):
        limited = play(Scene(30.0, loads, GUNICORN), seed)
        free = play(Scene(30.0, loads, GUNICORN).having(adaptive=False), seed)
        assert limited.came(0.0, 30.0).keys() == {End.SERVED}
        assert limited.latency(0.5) < free.latency(0.5) + 0.005
        assert mean(one.took for one in limited.records) < 1.05 * mean(one.took for one in free.records)
        assert limited.latency(0.99) < 2 * free.latency(0.99)


@pytest.mark.parametrize("spread", [0.3, 0.5, 1.0])
@pytest.mark.parametrize(
    ("takes_then", "rate", "times", "replicas"),
    [(0.2, 60, 10, 1), (0.2, 60, 20, 1), (0.5, 100, 10, 4), (0.5, 400, 10, 4), (0.1, 200, 20, 2)],
)
def test_an_async_app_with_growing_and_varying_latency_is_never_refused(
    takes_then: float, rate: float, times: float, replicas: int, spread: float
) -> None:
    """Answers that take 2 to 5 s are late for long before it is certain that none is missing."""
    slows = [*gradually(10.0, 3.0, times), change(25.0, 1.0)]
    scene = Scene(
        45.0,
        [steady(rate, seconds=40)],
        fleet(replicas=replicas, at_once=UNLIMITED, service=spreads(takes_then, spread)),
        happenings=slows,
    )
    for seed in (1, 2):
        assert play(scene, seed).came(0.0, 45.0).keys() == {End.SERVED}
