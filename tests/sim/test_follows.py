"""Under an overload an adaptive limit follows the capacity of the replicas within ten seconds."""

from collections.abc import Callable, Sequence

import pytest

from tests.sim.arrivals import Open
from tests.sim.balancer import Worker
from tests.sim.clients import waits
from tests.sim.figures import End, least
from tests.sim.replicas import Replica, Service, spreads, takes
from tests.sim.scenes import Fleet, Happening, Scene, play

pytestmark = pytest.mark.slow  # some minutes of simulated time each

CHANGES = 20.0  # seconds: when the replicas change
FOLLOWED = 30  # seconds: by then the limits have followed


def all_of_them(*, at_once: int | None = None, slowness: float | None = None) -> Happening:
    def happens(replicas: Sequence[Replica]) -> None:
        for one in replicas:
            one.change(at_once=at_once, slowness=slowness)

    return CHANGES, happens


class Limits:
    """The limits in force every tenth of a second, summed over workers, for each upstream."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, list[int]]] = []

    def __call__(self, now: float, workers: Sequence[Worker]) -> None:
        limits = [[one.concurrency_limit for one in worker.upstreams] for worker in workers]
        self.seen.append((now, [sum(one) for one in zip(*limits, strict=True)]))

    def between(self, begin: float, end: float, upstream: int | None = None) -> list[int]:
        """All limits that were in force in that time."""
        return [
            limit
            for now, limits in self.seen
            if begin <= now < end
            for limit in (limits if upstream is None else limits[upstream : upstream + 1])
        ]


def overload(service: Service, at_once: int, rates: tuple[float, float], change: Happening) -> Scene:
    """Three quarters of the initial capacity, and two and a half times the larger one from 5 s on; `rates`
    are the capacities before and after the change."""
    loads = [Open(((5.0, 0.75 * rates[0]), (34.0, 2.5 * max(rates))), waits(2.0))]
    return Scene(40.0, loads, Fleet(at_once=at_once, service=service), happenings=[change])


# The scene, the capacity after its change, and how many requests a replica then works on at a time: the
# lowest limit allowed in the end. The highest is MOST times that: more if a request took longer before, or if
# times vary so much that chance looks like a rise.
MOST, MOST_OF = 6, {"twice as fast": 8, "half, where times differ": 20}
CASES = {
    "twice as many at a time": (overload(takes(0.02), 2, (400, 800), all_of_them(at_once=4)), 800, 4),
    "half as many at a time": (overload(takes(0.02), 4, (800, 400), all_of_them(at_once=2)), 400, 2),
    "half of many": (overload(takes(0.04), 16, (1600, 800), all_of_them(at_once=8)), 800, 8),
    "twice as slow": (overload(takes(0.02), 2, (400, 200), all_of_them(slowness=2.0)), 200, 2),
    "many, twice as slow": (overload(takes(0.04), 8, (800, 400), all_of_them(slowness=2.0)), 400, 8),
    "many, four times as slow": (overload(takes(0.04), 8, (800, 200), all_of_them(slowness=4.0)), 200, 8),
    "twice as fast": (overload(takes(0.04), 4, (400, 800), all_of_them(slowness=0.5)), 800, 4),
    "half, where times differ": (
        overload(spreads(0.02, 1.0), 4, (800, 400), all_of_them(at_once=2)),
        400,
        2,
    ),
}  # fmt: skip


@pytest.mark.parametrize("workers", [1, 2], ids=["one worker", "two workers"])
@pytest.mark.parametrize("name", CASES)
def test_limits_follow_when_all_replicas_change(name: str, workers: int) -> None:
    scene, rate, at_once = CASES[name]
    for seed in (1, 2)[: 3 - workers]:
        limits = Limits()
        figures = play(scene.having(workers=workers), seed, limits)
        assert sum(figures.goodput(FOLLOWED, 39)) / 9 >= 0.88 * rate
        assert least(figures.goodput(FOLLOWED, 39)) >= 0.75 * rate
        assert at_once <= min(limits.between(FOLLOWED, 39))
        in_force = limits.between(FOLLOWED, 39)
        assert max(in_force) <= MOST_OF.get(name, MOST) * at_once + 2 * workers
        assert sum(in_force) / len(in_force) <= 12 * at_once


def members(counts: tuple[int, int], limits: Limits) -> Callable[[float, Sequence[Worker]], None]:
    """The pool has the first `counts[0]` replicas, and `counts[1]` after the change."""
    told = 0

    def watch(now: float, workers: Sequence[Worker]) -> None:
        nonlocal told
        count = counts[now >= CHANGES]
        if count != told:
            told = count
            for worker in workers:
                worker.pool.set_members(worker.upstreams[:count])
        limits(now, workers)

    return watch


@pytest.mark.parametrize("workers", [1, 2], ids=["one worker", "two workers"])
@pytest.mark.parametrize(
    "counts", [(2, 4), (4, 2), (1, 8)], ids=["twice as many", "half as many", "eight for one"]
)
def test_limits_follow_when_replicas_are_added_and_removed(counts: tuple[int, int], workers: int) -> None:
    """A new replica starts with the limit of the others."""
    before, after = (count * 100 for count in counts)
    loads = [Open(((5.0, 0.75 * before), (34.0, 2.5 * max(before, after))), waits(2.0))]
    scene = Scene(40.0, loads, Fleet(replicas=max(counts))).having(workers=workers)
    for seed in (1, 2)[: 3 - workers]:
        limits = Limits()
        figures = play(scene, seed, members(counts, limits))
        assert least(figures.goodput(FOLLOWED, 39)) >= 0.93 * after
        for upstream in range(counts[1]):
            assert min(limits.between(FOLLOWED, 39, upstream)) >= 2
            assert max(limits.between(FOLLOWED, 39, upstream)) <= 12 + 2 * workers


@pytest.mark.parametrize("workers", [1, 2], ids=["one worker", "two workers"])
@pytest.mark.parametrize("slowness", [2.0, 4.0, 10.0])
def test_a_degraded_replica_alone_is_limited(slowness: float, workers: int) -> None:
    def degrades(replicas: Sequence[Replica]) -> None:
        replicas[0].change(slowness=slowness)

    loads = [Open(((5.0, 300.0), (34.0, 1000.0)), waits(2.0))]
    scene = Scene(40.0, loads, happenings=[(CHANGES, degrades)]).having(workers=workers)
    for seed in (1, 2)[: 3 - workers]:
        limits = Limits()
        figures = play(scene, seed, limits)
        assert least(figures.goodput(FOLLOWED, 39)) >= 0.9 * (300 + 100 / slowness)
        for others in (1, 2, 3):
            assert min(limits.between(FOLLOWED, 39, others)) >= 2
            assert max(limits.between(FOLLOWED, 39, others)) <= 12 + 2 * workers


def test_a_degraded_replica_stays_limited_even_if_others_have_free_slots() -> None:
    """No request waits then: without a slot there it goes to another replica. But round robin still picks the
    degraded one, so without a limit a quarter of all requests would stand in its backlog."""

    def degrades(replicas: Sequence[Replica]) -> None:
        replicas[0].change(slowness=4.0)

    fleet = Fleet(at_once=8, service=spreads(0.03, 0.5))
    scene = Scene(40.0, [Open(((39.0, 400.0),))], fleet, happenings=[(10.0, degrades)])
    scene = scene.having(policy="round_robin")
    for seed in (1, 2):
        limits = Limits()
        figures = play(scene, seed, limits)
        assert figures.came(0.0, 39.0).keys() == {End.SERVED}
        assert min(limits.between(24, 39, 0)) > 0
        assert max(max(limits.between(24, 39, others)) for others in (1, 2, 3)) == 0
        unlimited = play(scene.having(adaptive=False), seed)
        assert figures.latency(0.99, 25, 39) < unlimited.latency(0.99, 25, 39) / 2


@pytest.mark.parametrize("workers", [1, 2], ids=["one worker", "two workers"])
@pytest.mark.parametrize(
    ("at_once", "rate"), [(1, 300.0), (1, 380.0)], ids=["at three quarters", "just below capacity"]
)
def test_limits_are_found_after_capacity_halves_at_usual_traffic(
    at_once: int, rate: float, workers: int
) -> None:
    """There was no limit before, and arrivals do not grow: an app that is only slower must not be taken for
    an overloaded one, so this takes a while, and then the backlogs have to be worked off."""
    loads = [Open(((39.0, rate),), waits(2.0))]
    scene = Scene(40.0, loads, happenings=[all_of_them(at_once=at_once)]).having(workers=workers)
    for seed in (1, 2)[: 3 - workers]:
        limits = Limits()
        figures = play(scene, seed, limits)
        assert figures.came(0.0, CHANGES - 1).keys() == {End.SERVED}
        assert min(limits.between(28, 39)) > 0
        assert least(figures.goodput(31, 39)) >= 180


@pytest.mark.parametrize("workers", [1, 2], ids=["one worker", "two workers"])
def test_a_limit_that_is_no_longer_reached_is_removed(workers: int) -> None:
    scene = Scene(30.0, [Open(((4.0, 300.0), (10.0, 1200.0), (15.0, 200.0)), waits(2.0))])
    for seed in (1, 2)[: 3 - workers]:
        limits = Limits()
        figures = play(scene.having(workers=workers), seed, limits)
        assert min(limits.between(6.0, 14.0)) > 0
        assert max(limits.between(20.0, 29.0)) == 0
        assert figures.last_failure < 15.0
