"""Clients: how long they wait before they leave."""

from collections.abc import Callable
from random import Random
from typing import TypeAlias

Patience: TypeAlias = Callable[[Random], float]  # in seconds
FOREVER = float("inf")


def waits(seconds: float) -> Patience:
    """All clients leave after `seconds`."""
    return lambda random: seconds


def waits_between(least: float, most: float) -> Patience:
    """People: each has their own patience."""
    return lambda random: random.uniform(least, most)


def mostly(patience: Patience, share: float, others: Patience) -> Patience:
    """A `share` of the clients are `others`: port scanners, external health checks, cancelled page loads."""
    return lambda random: others(random) if random.random() < share else patience(random)
