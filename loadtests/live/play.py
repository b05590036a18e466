"""Plays the parts of a run: changes under load, and the times between in which all comes to rest."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from loadtests.live import counters
from loadtests.live.figures import Part
from loadtests.live.processes import Holdings, holdings
from loadtests.live.stage import LiveStage

WEBSOCKETS, DOWNLOADS = 20, 5
SETTLES = 150.0  # seconds: idle connections of clients live for 75 s
STEADY = 5.0  # seconds of load before memory is read
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
    is_settled: bool = False  # before it, former workers have ended
    begins_counters_anew: bool = False


@dataclass(frozen=True, slots=True)
class Held:
    """What the balancer held at one moment; at rest, if no former workers were left."""

    when: str
    holdings: Holdings
    at_rest: bool


class Play:
    """Plays parts, one after the other."""

    def __init__(self, stage: LiveStage, changed: Changed, say: Say) -> None:
        self._stage = stage
        self._changed = changed
        self._say = say
        self.parts: list[Part] = []
        self.held: list[Held] = []

    def warm_up(self, seconds: float) -> None:
        """A part without changes; what is held after it is what later parts are compared with."""
        begun = time.monotonic()
        self._stage.open_long_lived(WEBSOCKETS, DOWNLOADS)
        time.sleep(seconds)
        self._end("warm-up", begun)
        self._hold("after the warm-up", at_rest=True)

    def change(self, change: Change, act: Callable[[int], None]) -> None:
        """All changes of one kind, with WebSockets and downloads that the present workers have at first."""
        if change.is_settled:
            self.settle(f"before {change.name}")
        self._stage.close_long_lived()
        self._stage.open_long_lived(WEBSOCKETS, DOWNLOADS)
        begun, took = time.monotonic(), list[float]()
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
        self._end(change.name, begun, took)
        self._hold(f"after {change.name}", at_rest=False)

    def settle(self, name: str) -> None:
        """Let what is long-lived end, wait until former workers have ended, and see what is held."""
        begun = time.monotonic()
        self._stage.close_long_lived()
        self._changed.settles(SETTLES)
        self._say(f"former workers have ended {time.monotonic() - begun:.0f} s after what was long-lived")
        self._stage.open_long_lived(WEBSOCKETS, DOWNLOADS)
        time.sleep(STEADY)
        self._end(f"rest {name}", begun)
        self._hold(f"at rest {name}", at_rest=True)

    def _hold(self, when: str, at_rest: bool) -> None:
        held = Held(when, holdings(self._changed.pid), at_rest)
        self.held.append(held)
        self._say(f"{when}: {held.holdings}")

    def _end(self, name: str, begun: float, took: Sequence[float] = ()) -> None:
        self.parts.append(Part(name, begun, time.monotonic(), took))
