"""Shares of the sides of a split, in words and in the short form (L1), without the models of the settings."""

from collections.abc import Mapping

MOST_WEIGHT = 1_000_000


def in_words(sides: Mapping[str, int]) -> str:
    """`stable 90, canary 10`."""
    return ", ".join(f"{pool} {weight}" for pool, weight in sides.items())


def in_short(sides: Mapping[str, int]) -> str:
    """`stable:90|canary:10`."""
    return "|".join(f"{pool}:{weight}" for pool, weight in sides.items())
