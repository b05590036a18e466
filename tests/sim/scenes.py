"""Scenes: replicas, loads and events. With the same seed each gives the same figures every time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import TypeAlias

from tests.sim.arrivals import Load, Open
from tests.sim.balancer import Exchange, Settings, Worker
from tests.sim.checks import Checks
from tests.sim.clients import waits
from tests.sim.engine import Engine
from tests.sim.figures import Figures
from tests.sim.replicas import Replica, Service, takes

# A change of the replicas, and when, in seconds from the start.
Happening: TypeAlias = tuple[float, Callable[[Sequence[Replica]], None]]


@dataclass(frozen=True, slots=True)
class Fleet:
    """`replicas` equal ones, or one for each entry of `at_once` and `services`."""

    replicas: int = 4
    at_once: int | Sequence[int] = 2
    service: Service | Sequence[Service] = field(default=takes(0.02))
    notices: bool = False  # that the client of a request in its backlog has left
    checked: bool = True

    def make(self, engine: Engine, random: Random) -> list[Replica]:
        """The replicas of one play."""
        at_once = [self.at_once] * self.replicas if isinstance(self.at_once, int) else self.at_once
        services = [self.service] * self.replicas if callable(self.service) else self.service
        return [
            Replica(engine, service, Random(random.random()), number, notices=self.notices)
            for service, number in zip(services, at_once, strict=True)
        ]


_FLEET = Fleet()
_SETTINGS = Settings()


@dataclass(frozen=True, slots=True)
class Scene:
    """`loads` run at the same time; `happenings` change the replicas."""

    seconds: float
    loads: Sequence[Load]
    fleet: Fleet = _FLEET
    settings: Settings = _SETTINGS
    happenings: Sequence[Happening] = ()

    def having(self, **settings: object) -> "Scene":
        """The same with other settings."""
        return replace(self, settings=replace(self.settings, **settings))  # type: ignore[arg-type]  # by name


def play(scene: Scene, seed: int, watch: Callable[[float, Sequence[Worker]], None] | None = None) -> Figures:
    """Play the scene; returns its figures. `watch` is called with the workers every tenth of a second."""
    engine = Engine()  # type: ignore[abstract]  # it has what is used, not all of asyncio
    figures = Figures()
    random = Random(seed)
    replicas = scene.fleet.make(engine, random)
    workers = [
        Worker(engine, scene.settings, slot, replicas, Random(random.random()))
        for slot in range(scene.settings.workers)
    ]
    for worker in workers:
        worker.meet(workers)
    chance = Random(random.random())

    def ask(route: str, patience: float, on_end: Callable[[], None] | None) -> None:
        Exchange(chance.choice(workers), figures, route, on_end).begin(patience)

    for load in scene.loads:
        load.begin(engine, Random(random.random()), ask)
    if scene.fleet.checked:
        checks = Checks(engine, Random(random.random()), figures)
        for replica in replicas:
            engine.after(random.uniform(0.0, 2.0), checks.begin, replica)
    for at, happens in scene.happenings:
        engine.after(at, happens, replicas)
    if watch is None:
        engine.run(scene.seconds)
    else:
        for _ in range(round(scene.seconds * 10)):
            engine.run(0.1)
            watch(engine.passed, workers)
    return figures


# --- a traffic surge: four replicas with a capacity of 400/s in all


def surge(times: float, fleet: Fleet = _FLEET) -> Scene:
    """300/s for 4 s, then for 15 s `times` the capacity, then 200/s; clients leave after 2 s."""
    phases = ((4.0, 300.0), (15.0, 400.0 * times), (8.0, 200.0))
    return Scene(27.0, [Open(phases, waits(2.0))], fleet)


OVERLOAD = surge(3.0)
TENFOLD = surge(10.0)
