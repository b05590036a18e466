"""Arrivals: at random, evenly, all at once, or each after the one before has ended."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Protocol, TypeAlias

from tests.sim.clients import FOREVER, Patience, waits
from tests.sim.engine import Engine

# Called for each request as ask(route, patience in seconds, told when it has ended).
Ask: TypeAlias = Callable[[str, float, Callable[[], None] | None], None]


class Load(Protocol):
    """One source of requests."""

    def begin(self, engine: Engine, random: Random, ask: Ask) -> None:
        """Start the arrivals now."""


@dataclass(frozen=True, slots=True)
class Open:
    """`phases` follow one another: (seconds, requests per second). They arrive whether or not others have
    ended: at random (a Poisson process), or `evenly`."""

    phases: tuple[tuple[float, float], ...]
    patience: Patience = field(default=waits(FOREVER))
    route: str = "any"
    evenly: bool = False

    def begin(self, engine: Engine, random: Random, ask: Ask) -> None:
        begins = 0.0
        for seconds, rate in self.phases:
            if rate > 0:
                engine.after(begins, self._next, engine, random, ask, rate, engine.passed + begins + seconds)
            begins += seconds

    def _next(self, engine: Engine, random: Random, ask: Ask, rate: float, until: float) -> None:
        pause = 1.0 / rate if self.evenly else random.expovariate(rate)
        if engine.passed + pause < until:
            engine.after(pause, self._one, engine, random, ask, rate, until)

    def _one(self, engine: Engine, random: Random, ask: Ask, rate: float, until: float) -> None:
        ask(self.route, self.patience(random), None)
        self._next(engine, random, ask, rate, until)


@dataclass(frozen=True, slots=True)
class Burst:
    """`count` requests at `at` seconds, all at once."""

    at: float
    count: int
    patience: Patience = field(default=waits(FOREVER))
    route: str = "any"

    def begin(self, engine: Engine, random: Random, ask: Ask) -> None:
        engine.after(self.at, self._all, random, ask)

    def _all(self, random: Random, ask: Ask) -> None:
        for _ in range(self.count):
            ask(self.route, self.patience(random), None)


@dataclass(frozen=True, slots=True)
class Closed:
    """`clients` that each ask again `think` seconds (the mean of an exponential distribution) after their
    last request has ended, between `begins` and `ends`."""

    clients: int
    think: float
    begins: float = 0.0
    ends: float = FOREVER
    patience: Patience = field(default=waits(FOREVER))
    route: str = "any"

    def begin(self, engine: Engine, random: Random, ask: Ask) -> None:
        for _ in range(self.clients):
            engine.after(self.begins + self._pause(random), self._one, engine, random, ask)

    def _pause(self, random: Random) -> float:
        return random.expovariate(1.0 / self.think) if self.think else 0.0

    def _one(self, engine: Engine, random: Random, ask: Ask) -> None:
        if engine.passed < self.ends:
            ask(self.route, self.patience(random), lambda: self._again(engine, random, ask))

    def _again(self, engine: Engine, random: Random, ask: Ask) -> None:
        # A minimum: otherwise a refused request would be repeated in the same instant, for ever.
        engine.after(max(self._pause(random), 0.001), self._one, engine, random, ask)
