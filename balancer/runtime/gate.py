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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple

from balancer.telemetry.columns import BUCKETS

LOOK = 0.5  # seconds between two samples
# Requests that both sides must have had for a verdict; in the window, which is the last WINDOW seconds or, if
# these had too few, as far back as needed. With 100 requests a share of errors is known to about a percent.
LEAST = 100
WINDOW = 5.0
MOST_HOLD = 7 * 24 * 3600.0  # seconds
MOST_SAMPLES = 1000  # kept while there are too few requests; then the oldest but the first are forgotten
# A share is in breach only if there are so many more errors than the other side's share would have made:
# one error in 100 requests is one percent.
LEAST_EXCESS = 3

_CONDITION = re.compile(
    r"(errors|p50|p95|p99)\s*>\s*(\+)?([0-9]{1,6}(?:\.[0-9]{1,3})?)\s*(%|x|ms|s)", re.ASCII
)
_EXAMPLE = "errors>+0.5%,p95>1.3x"


class Tally(NamedTuple):
    """Counts of one side so far: requests, errors (5xx, and responses that broke off), and times to the first
    byte by bucket."""

    requests: int
    errors: int
    buckets: tuple[int, ...]

    def since(self, before: "Tally") -> "Tally":
        """What came after `before`."""
        pairs = zip(self.buckets, before.buckets, strict=True)
        return Tally(
            self.requests - before.requests, self.errors - before.errors, tuple(a - b for a, b in pairs)
        )

    @classmethod
    def of(cls, tallies: Sequence["Tally"]) -> "Tally":
        """All of these together."""
        columns = zip(*(one.buckets for one in tallies), strict=True)
        return cls(
            sum(one.requests for one in tallies),
            sum(one.errors for one in tallies),
            tuple(sum(column) for column in columns),
        )

    def share(self) -> float:
        """The share of errors."""
        return self.errors / self.requests if self.requests else 0.0

    def quantile(self, share: float) -> float:
        """Seconds in which this share of the responses began, interpolated within a bucket."""
        rank, seen, low = share * sum(self.buckets), 0, 0.0
        for high, count in zip((*BUCKETS, BUCKETS[-1] * 2), self.buckets, strict=True):
            if count and seen + count >= rank:
                return low + (high - low) * (rank - seen) / count
            seen += count
            low = high
        return low


class Verdict(Enum):
    """What a look at the sides has shown."""

    WATCHING = auto()
    HELD = auto()
    BREACHED = auto()


@dataclass(frozen=True, slots=True)
class Condition:
    """`errors>+0.5%`: half a percent more of the requests fail than on the other sides. `errors>2%`: two
    percent fail. `p95>1.3x`: the time to the first byte is as many times that of the other sides.
    `p95>500ms`: it is so long."""

    text: str
    figure: str
    is_relative: bool  # to the other sides
    limit: float  # a share, a factor, or seconds

    def breach(self, watched: Tally, others: Tally) -> str:
        """What is in breach, in words; "" for nothing."""
        if self.figure == "errors":
            share, base = watched.share(), others.share() if self.is_relative else 0.0
            excess = watched.errors - (base + self.limit) * watched.requests
            if share - base <= self.limit or excess < LEAST_EXCESS:
                return ""
            return f"{share:.1%} of its requests failed, {others.share():.1%} of the others"
        quantile = int(self.figure[1:]) / 100
        took, base = watched.quantile(quantile), others.quantile(quantile)
        if took <= (base * self.limit if self.is_relative else self.limit):
            return ""
        return f"its {self.figure} is {took * 1000:.3g} ms, that of the others {base * 1000:.3g} ms"


def parse_conditions(text: str) -> list[Condition]:
    """`errors>+0.5%,p95>1.3x`. Raises ValueError with the end of a sentence."""
    conditions = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        match = _CONDITION.fullmatch(part)
        if match is None:
            raise ValueError(f"has a condition that is not known ({part}); write {_EXAMPLE}")
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

    def __init__(self, watched: frozenset[str], conditions: Sequence[Condition], hold: float) -> None:
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
        for condition in self.conditions:
            if why := condition.breach(watched, others):
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

    def _since(self, first: Mapping[str, Tally], tallies: Mapping[str, Tally], watched: bool) -> Tally:
        chosen = [name for name in tallies if (name in self.watched) is watched]
        return Tally.of([tallies[name].since(first[name]) for name in chosen])
