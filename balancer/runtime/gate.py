"""Whether a change of a split holds (L7): compares the sides that got more traffic with the others. Pure.

```
          breach of a condition            -> BREACHED: the weights before the change come back
WATCHING  HOLD has passed without a breach -> HELD
          too few requests                 -> WATCHING: nothing is known, so time does not count
```
"""

import math
import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TypeAlias

from balancer.runtime.promise import in_words, judged
from balancer.runtime.tally import LEAST, Tally, exceeds
from balancer.spec.slo import SloSpec

LOOK = 0.5  # seconds between two samples
# Both sides must have had LEAST requests for a verdict; in the window, which is the last WINDOW seconds or,
# if these had too few, as far back as needed.
WINDOW = 5.0
MOST_HOLD = 7 * 24 * 3600.0  # seconds
MOST_SAMPLES = 1000  # kept while there are too few requests; then the oldest but the first are forgotten

_CONDITION = re.compile(
    r"(errors|p50|p95|p99)\s*>\s*(\+)?([0-9]{1,6}(?:\.[0-9]{1,3})?)\s*(%|x|ms|s)", re.ASCII
)
_EXAMPLE = "errors>+0.5%,p95>1.3x"
SLO = "slo"


class Verdict(Enum):
    """What a look at the sides has shown."""

    WATCHING = auto()
    HELD = auto()
    BREACHED = auto()


@dataclass(frozen=True, slots=True)
class Window:
    """What a gate compares: the sides that it watches, each and together, and the others."""

    sides: Mapping[str, Tally]
    watched: Tally
    others: Tally


@dataclass(frozen=True, slots=True)
class Condition:
    """`errors>+0.5%`: half a percent more of the requests fail than on the other sides. `errors>2%`: two
    percent fail. `p95>1.3x`: the time to the first byte is as many times that of the other sides.
    `p95>500ms`: it is so long."""

    text: str
    figure: str
    is_relative: bool  # to the other sides
    limit: float  # a share, a factor, or seconds

    def breach(self, window: Window) -> str:
        """What is in breach, in words; "" for nothing."""
        watched, others = window.watched, window.others
        if self.figure == "errors":
            share, base = watched.share(), others.share() if self.is_relative else 0.0
            if share - base <= self.limit or not exceeds(watched.errors, base + self.limit, watched.requests):
                return ""
            return f"{share:.1%} of its requests failed, {others.share():.1%} of the others"
        quantile = int(self.figure[1:]) / 100
        took, base = watched.quantile(quantile), others.quantile(quantile)
        if took <= (base * self.limit if self.is_relative else self.limit):
            return ""
        return f"its {self.figure} is {took * 1000:.3g} ms, that of the others {base * 1000:.3g} ms"


SloOf: TypeAlias = Callable[[str], SloSpec | None]


@dataclass(frozen=True, slots=True)
class Promised:
    """`slo`: a watched side does not keep what `slo_of` says is promised for its requests."""

    slo_of: SloOf = field(compare=False, repr=False)
    text: str = SLO

    def breach(self, window: Window) -> str:
        """What is in breach, in words; "" for nothing."""
        missed = []
        for side, tally in window.sides.items():
            slo = self.slo_of(side)
            if slo is not None and (words := in_words(judged(slo, tally))):
                missed.append(f"{side}: {words}")
        return "; ".join(missed)


def parse_conditions(text: str, slo_of: SloOf = lambda side: None) -> list[Condition | Promised]:
    """`errors>+0.5%,p95>1.3x`, or `slo`, which is what `slo_of` says of a side. Raises ValueError with the
    end of a sentence."""
    conditions: list[Condition | Promised] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        if part == SLO:
            conditions.append(Promised(slo_of))
            continue
        match = _CONDITION.fullmatch(part)
        if match is None:
            raise ValueError(f"has a condition that is not known ({part}); write {_EXAMPLE}, or {SLO}")
        figure, plus, number, unit = match.groups()
        is_share = unit == "%"
        if is_share != (figure == "errors") or (plus and not is_share):
            raise ValueError(f"has a condition whose unit does not fit ({part}); write {_EXAMPLE}")
        scale = {"%": 0.01, "x": 1.0, "ms": 0.001, "s": 1.0}[unit]
        conditions.append(Condition(part, figure, bool(plus) or unit == "x", float(number) * scale))
    if not conditions:
        raise ValueError(f"names no condition; write {_EXAMPLE}")
    return conditions


class Gate:
    """Watches the sides in `watched` for `hold` seconds, of which only those count that have had requests of
    these and of the others within the last WINDOW."""

    def __init__(
        self, watched: frozenset[str], conditions: Sequence[Condition | Promised], hold: float
    ) -> None:
        self.watched = watched
        self.conditions = conditions
        self.hold = hold
        self.passed = 0.0  # seconds that counted
        self.waiting = ""  # why time does not count, in words
        self._latest = {True: -math.inf, False: -math.inf}  # request of the watched sides, and of the others
        self._samples: deque[tuple[float, Mapping[str, Tally]]] = deque()

    def look(self, now: float, tallies: Mapping[str, Tally]) -> tuple[Verdict, str]:
        """`tallies` by side, at `now` in seconds. Returns the verdict, and what is in breach."""
        samples = self._samples
        samples.append((now, tallies))
        if len(samples) > MOST_SAMPLES:
            del samples[1]
        if len(samples) == 1:
            return Verdict.WATCHING, ""
        before, last = samples[-2]
        for side in self._latest:
            if self._since(last, tallies, side).requests:
                self._latest[side] = now
        first = self._window(now)
        watched, others = self._since(first, tallies, True), self._since(first, tallies, False)
        self.waiting = self._waiting(now, first)
        if watched.requests < LEAST or others.requests < LEAST:
            return Verdict.WATCHING, ""
        if not self.waiting:
            self.passed += now - before
        window = Window(self._each(first, tallies), watched, others)
        for condition in self.conditions:
            if why := condition.breach(window):
                return Verdict.BREACHED, f"{condition.text}: {why}"
        return (Verdict.HELD if self.passed >= self.hold else Verdict.WATCHING), ""

    def _waiting(self, now: float, first: Mapping[str, Tally]) -> str:
        """`first` are the counts at the begin of the window."""
        tallies = self._samples[-1][1]
        found = []
        for watched, latest in self._latest.items():
            names = ", ".join(name for name in tallies if (name in self.watched) is watched)
            requests = self._since(first, tallies, watched).requests
            if requests < LEAST:
                found.append(f"{names} {requests} of {LEAST} requests")
            elif now - latest > WINDOW:
                found.append(f"{names} no request for {now - latest:.0f} s")
        return "; ".join(found)

    def _window(self, now: float) -> Mapping[str, Tally]:
        """The counts at the begin of the window. Older ones that no later look can need are forgotten."""
        samples = self._samples
        tallies = samples[-1][1]
        while len(samples) > 2 and now - samples[1][0] >= WINDOW:
            later = samples[1][1]
            if any(self._since(later, tallies, side).requests < LEAST for side in (True, False)):
                break
            samples.popleft()
        return samples[0][1]

    def _each(self, first: Mapping[str, Tally], tallies: Mapping[str, Tally]) -> dict[str, Tally]:
        return {name: tallies[name].since(first[name]) for name in tallies if name in self.watched}

    def _since(self, first: Mapping[str, Tally], tallies: Mapping[str, Tally], watched: bool) -> Tally:
        chosen = [name for name in tallies if (name in self.watched) is watched]
        return Tally.of([tallies[name].since(first[name]) for name in chosen])
