"""The app replica's service time: a distribution written as text, such as `lognormal:20ms`."""

import re
from dataclasses import dataclass
from math import exp
from random import Random

from loadtests.app.errors import SwitchError

LONGEST = 3600.0  # seconds
# Shape of the lognormal distribution: with 0.8 its p99 is 4.7 times its mean, as in many real services.
SIGMA = 0.8
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|)")
_FORMS = "such as 20ms, fixed:20ms, uniform:5ms-40ms, exponential:20ms or lognormal:20ms"


def seconds(text: str) -> float:
    """A duration such as `0.5`, `20ms` or `2s` in seconds; `SwitchError` if it is none."""
    found = _DURATION.fullmatch(text.strip())
    value = float(found[1]) / (1000.0 if found[2] == "ms" else 1.0) if found else -1.0
    if not 0.0 <= value <= LONGEST:
        raise SwitchError(f"{text!r} is not a duration from 0 to 1 hour, such as 20ms or 1.5s")
    return value


@dataclass(frozen=True, slots=True)
class ServiceTime:
    """A distribution of service times. `low` and `high` are the bounds if `uniform`, otherwise both the
    mean."""

    kind: str
    low: float
    high: float

    def draw(self, rng: Random) -> float:
        """One service time in seconds."""
        match self.kind:
            case "uniform":
                return rng.uniform(self.low, self.high)
            case "exponential":
                return rng.expovariate(1.0 / self.low) if self.low else 0.0
            case "lognormal":
                # exp(N(mu, sigma)) has the mean exp(mu + sigma**2 / 2): divide by the part of the spread.
                return self.low * exp(rng.gauss(0.0, SIGMA) - SIGMA**2 / 2)
            case _:
                return self.low

    def __str__(self) -> str:
        bounds = f"{self.low:g}s-{self.high:g}s" if self.kind == "uniform" else f"{self.low:g}s"
        return f"{self.kind}:{bounds}"


def parse(text: str) -> ServiceTime:
    """Parse a distribution; `SwitchError` if it is none."""
    kind, colon, rest = text.partition(":")
    if not colon:
        kind, rest = "fixed", text
    if kind == "uniform":
        low, dash, high = rest.partition("-")
        if dash and seconds(low) <= seconds(high):
            return ServiceTime(kind, seconds(low), seconds(high))
    elif kind in ("fixed", "exponential", "lognormal"):
        return ServiceTime(kind, seconds(rest), seconds(rest))
    raise SwitchError(f"{text!r} is not a service time, {_FORMS}")
