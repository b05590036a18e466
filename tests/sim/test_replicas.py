"""The simulation's own parts: replicas, clients and time."""

from collections.abc import Sequence
from random import Random

import pytest

from tests.sim.arrivals import Burst, Closed, Load, Open
from tests.sim.balancer import Settings
from tests.sim.clients import mostly, waits, waits_between
from tests.sim.engine import Engine
from tests.sim.figures import End
from tests.sim.replicas import UNLIMITED, Service, by_chance, by_route, ranges, spreads, takes
from tests.sim.scenes import Fleet, Happening, Scene, play

ONE = Fleet(replicas=1, at_once=1, service=takes(0.1), checked=False)
DIRECT = Settings(wire=0.0)


def test_events_run_in_order_of_time_and_then_of_request() -> None:
    engine = Engine()  # type: ignore[abstract]  # it has what is used, not all of asyncio
    seen: list[str] = []
    engine.after(0.2, seen.append, "late")
    engine.call_later(0.1, seen.append, "first")
    engine.after(0.1, seen.append, "second")
    engine.call_later(0.1, seen.append, "never").cancel()
    engine.call_soon(seen.append, "now")
    engine.run(0.15)
    assert (seen, engine.passed) == (["now", "first", "second"], 0.15)
    engine.run(1.0)
    assert seen[-1] == "late"


def test_a_bug_in_a_callback_ends_the_simulation() -> None:
    engine = Engine()  # type: ignore[abstract]  # it has what is used, not all of asyncio
    engine.call_soon(int, "x")
    with pytest.raises(ValueError, match="invalid literal"):
        engine.run(1.0)


def _took(scene: Scene) -> list[float]:
    return [round(one.took, 3) for one in play(scene, seed=1).records if one.end is End.SERVED]


def _scene(
    loads: Sequence[Load], fleet: Fleet = ONE, happenings: Sequence[Happening] = (), seconds: float = 10.0
) -> Scene:
    return Scene(seconds, loads, fleet, DIRECT, happenings)


def test_a_replica_serves_its_requests_one_after_another() -> None:
    assert _took(_scene([Burst(0.0, 3)])) == [0.1, 0.2, 0.3]


def test_a_replica_works_on_requests_whose_clients_have_left() -> None:
    scene = _scene([Burst(0.0, 1), Burst(0.01, 1, waits(0.05)), Burst(0.02, 1)])
    assert _took(scene) == [0.1, 0.28]


def test_a_replica_that_notices_departures_skips_those_requests() -> None:
    fleet = Fleet(replicas=1, at_once=1, service=takes(0.1), checked=False, notices=True)
    assert _took(_scene([Burst(0.0, 1), Burst(0.01, 1, waits(0.05)), Burst(0.02, 1)], fleet)) == [0.1, 0.18]


@pytest.mark.parametrize(
    ("happening", "took"),
    [
        pytest.param((0.05, lambda all: all[0].pause(0.2)), [0.25, 0.35, 0.45], id="a pause"),
        pytest.param((0.05, lambda all: all[0].change(slowness=2.0)), [0.1, 0.3, 0.5], id="slower"),
        pytest.param((0.05, lambda all: all[0].change(at_once=2)), [0.1, 0.15, 0.2], id="more at a time"),
        pytest.param((0.15, lambda all: all[0].change(at_once=0)), [0.1, 0.2], id="stopped"),
    ],
)
def test_happenings_change_a_replica(happening: Happening, took: list[float]) -> None:
    assert _took(_scene([Burst(0.0, 3)], happenings=[happening])) == took


def test_a_body_keeps_the_replica_busy_after_the_first_byte() -> None:
    fleet = Fleet(replicas=1, at_once=1, service=takes(0.1, body=0.4), checked=False)
    assert _took(_scene([Burst(0.0, 2)], fleet)) == [0.5, 1.0]


def test_checks_wait_in_the_same_backlog() -> None:
    fleet = Fleet(replicas=1, at_once=1, service=takes(0.1))
    assert play(_scene([Burst(0.0, 5)], fleet), seed=1).probes_late == []
    assert len(play(_scene([Burst(0.0, 40)], fleet), seed=1).probes_late) >= 1


@pytest.mark.parametrize(
    ("load", "came"),
    [
        pytest.param(Open(((4.0, 100.0), (4.0, 25.0)), evenly=True), [100] * 4 + [25] * 4, id="even"),
        pytest.param(Closed(5, 0.0, begins=1.0, ends=3.0), [0, 50, 50, 0, 0, 0, 0, 0], id="closed"),
        pytest.param(Burst(2.5, 30), [0, 0, 30, 0, 0, 0, 0, 0], id="burst"),
    ],
)
def test_loads_produce_their_arrivals(load: Load, came: list[int]) -> None:
    fleet = Fleet(replicas=1, at_once=UNLIMITED, service=takes(0.099), checked=False)
    figures = play(_scene([load], fleet), seed=1)
    counted = [figures.came(second - 1e-6, second + 1 - 1e-6).total() for second in range(8)]
    assert counted == pytest.approx(came, abs=1)


def test_an_open_load_at_random_has_its_rate() -> None:
    fleet = Fleet(at_once=UNLIMITED, checked=False)
    figures = play(_scene([Open(((10.0, 1000.0),))], fleet), seed=1)
    assert figures.came(0.0, 10.0).total() == pytest.approx(10_000, rel=0.04)


@pytest.mark.parametrize(
    ("service", "mean"),
    [
        pytest.param(takes(0.3), 0.3, id="takes"),
        pytest.param(spreads(0.3, 0.5), 0.3, id="spreads"),
        pytest.param(ranges(0.0, 0.6), 0.3, id="ranges"),
        pytest.param(by_chance((0.9, takes(0.1)), (0.1, takes(2.1))), 0.3, id="by chance"),
        pytest.param(by_route({"a": takes(0.3)}), 0.3, id="by route"),
    ],
)
def test_service_times_have_their_mean(service: Service, mean: float) -> None:
    random = Random(1)
    assert sum(service("a", random)[0] for _ in range(10_000)) / 10_000 == pytest.approx(mean, rel=0.05)


def test_patience_is_drawn_from_its_distribution() -> None:
    random = Random(1)
    patience = mostly(waits_between(1.0, 3.0), 0.1, waits(0.01))
    drawn = [patience(random) for _ in range(10_000)]
    assert sum(one < 1.0 for one in drawn) == pytest.approx(1000, rel=0.1)
    assert sum(drawn) / len(drawn) == pytest.approx(1.8, rel=0.02)
