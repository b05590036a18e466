"""When requests arrive: at random, at a rate that is exact over the whole, whatever becomes of them."""

from dataclasses import dataclass
from random import Random

POST_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request to be made, `at` seconds after the start of the load."""

    at: float
    method: str


def arrivals(rate: int, seconds: float, rng: Random) -> list[Arrival]:
    """`rate * seconds` arrivals in order: a Poisson process of which the number is known is just that."""
    moments = sorted(rng.uniform(0.0, seconds) for _ in range(round(rate * seconds)))
    return [Arrival(at, "POST" if rng.random() < POST_SHARE else "GET") for at in moments]
