"""Who asks: how long clients wait before they leave."""

from collections.abc import Callable
from random import Random
from typing import TypeAlias

Patience: TypeAlias = Callable[[Random], float]  # in seconds
FOREVER = float("inf")


def waits(seconds: float) -> Patience:
    """Everybody leaves after `seconds`."""
    return lambda random: seconds


def waits_between(least: float, most: float) -> Patience:
    """People: each has a patience of its own."""
    return lambda random: random.uniform(least, most)


def mostly(patience: Patience, share: float, others: Patience) -> Patience:
    """A `share` of the clients are `others`: port scanners, somebody's health checks, pages called off."""
    return lambda random: others(random) if random.random() < share else patience(random)
