"""Arrivals: at random, at a rate that is exact over each phase, whatever happens to the requests."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class Sort:
    """One kind of request: its target is `path` and the request's number. `share` of all, from 0 to 1."""

    path: str
    share: float = 1.0
    method: str = "GET"


@dataclass(frozen=True, slots=True)
class Phase:
    """`rate` requests a second for some seconds, and `burst` more at its start, all at once.

    The shares of `sorts` add up to 1.
    """

    rate: float
    seconds: float
    sorts: tuple[Sort, ...]
    burst: int = 0


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request to be made, `at` seconds after the start of the load."""

    at: float
    sort: Sort


def arrivals(phases: Sequence[Phase], rng: Random) -> list[Arrival]:
    """All phases' arrivals in order: uniform times are a Poisson process with a given number of events."""
    found = []
    begins = 0.0
    for phase in phases:
        moments = [begins] * phase.burst
        moments += sorted(rng.uniform(0.0, phase.seconds) + begins for _ in range(_count(phase)))
        shares = [sort.share for sort in phase.sorts]
        sorts = rng.choices(phase.sorts, shares, k=len(moments))
        found += [Arrival(at, sort) for at, sort in zip(moments, sorts, strict=True)]
        begins += phase.seconds
    return found


def _count(phase: Phase) -> int:
    return round(phase.rate * phase.seconds)
