"""Plays the parts of a run: changes under load, and the times between in which all comes to rest."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from loadtests.live import counters
from loadtests.live.figures import Part
from loadtests.live.processes import Holdings, holdings
from loadtests.live.stage import LiveStage

WEBSOCKETS, DOWNLOADS = 20, 5
SETTLES = 150.0  # seconds: idle connections of clients live for 75 s
LONGEST = 1800.0  # seconds of load without a rest, at most
EVERY = 10  # changes per line of progress

Say = Callable[[str], None]


class Changed(Protocol):
    """A running balancer that is changed. `problems` are sentences about wrong answers."""

    problems: list[str]

    @property
    def pid(self) -> int:
        """The process over all its others."""

    def counters(self) -> dict[str, float]:
        """Its counters, which must not fall."""

    def settles(self, limit: float) -> None:
        """Wait until former workers have ended. `BenchError` if they do not within `limit` seconds."""


@dataclass(frozen=True, slots=True)
class Change:
    """A kind of change: how often, and the pause after each in seconds."""

    name: str
    summary: str
    count: int
    pause: float
    is_rested: bool = False  # before it, former workers have ended
    begins_counters_anew: bool = False


@dataclass(frozen=True, slots=True)
class Held:
    """What the balancer held at one moment; at rest, if no former workers were left."""

    when: str
    holdings: Holdings
    at_rest: bool


@dataclass(frozen=True, slots=True)
class Load:
    """`rate` in requests per second; seconds of the warm-up, and of each rest before memory is read. By
    default upstreams' idle connections are closed after 4 s."""

    rate: int
    warm_up: int
    rest: int


class Play:
    """Plays parts, one after the other. Each ends where the next one begins, so that no failure is missed."""

    def __init__(self, stage: LiveStage, changed: Changed, load: Load, say: Say) -> None:
        self._stage = stage
        self._changed = changed
        self._load = load
        self._say = say
        self._since = 0.0
        self.parts: list[Part] = []
        self.held: list[Held] = []

    def warm_up(self) -> None:
        """A part without changes; what is held after it is what later parts are compared with."""
        self._since = time.monotonic()
        self._begin()
        time.sleep(self._load.warm_up)
        self._end("warm-up")
        self.rest("after the warm-up")

    def change(self, change: Change, act: Callable[[int], None]) -> None:
        """All changes of one kind, with WebSockets and downloads that the present workers have at first."""
        if change.is_rested and not self.held[-1].at_rest:
            self.rest(f"before {change.name}")
        self._begin()
        took = list[float]()
        before = self._changed.counters()
        for number in range(change.count):
            at = time.monotonic()
            act(number)
            took.append(time.monotonic() - at)
            after = self._changed.counters()
            if not change.begins_counters_anew:
                self._changed.problems += counters.fallen(before, after)
            before = after
            time.sleep(change.pause)
            if (number + 1) % EVERY == 0 or number + 1 == change.count:
                self._say(f"{change.name}: {number + 1} of {change.count}, the last one in {took[-1]:.2f} s")
        self._hold(f"after {change.name}", at_rest=False)
        self._end(change.name, took)

    def rest(self, when: str) -> None:
        """Let all clients end, wait until former workers have ended, and see what is held."""
        begun = time.monotonic()
        self._stage.end_requests()
        self._stage.close_long_lived()
        self.parts[-1] = replace(self.parts[-1], ended=time.monotonic())
        self._changed.settles(SETTLES)
        self._say(f"clients and former workers have ended within {time.monotonic() - begun:.0f} s")
        time.sleep(self._load.rest)
        self._since = time.monotonic()
        self._hold(f"at rest {when}", at_rest=True)

    def _begin(self) -> None:
        """Requests, and what is long-lived anew."""
        self._stage.begin_requests(self._load.rate, LONGEST)
        self._stage.close_long_lived()
        self._stage.open_long_lived(WEBSOCKETS, DOWNLOADS)

    def _hold(self, when: str, at_rest: bool) -> None:
        held = Held(when, holdings(self._changed.pid), at_rest)
        self.held.append(held)
        self._say(f"{when}: {held.holdings}")

    def _end(self, name: str, took: Sequence[float] = ()) -> None:
        ended = time.monotonic()
        self.parts.append(Part(name, self._since, ended, took))
        self._since = ended
